"""The engine of one process: its threads read, decode and encode, one shard after the other."""

from collections.abc import Generator, Sequence

from ulfine_cache.encoding.engines.engine import Settled
from ulfine_cache.encoding.shard_work import ShardDone, ShardWork
from ulfine_cache.progress import Progress


class LocalEngine:
    """Everything in this process."""

    def settle(self, device: str, precision: str, progress: Progress) -> Settled:
        """Take what was asked for."""
        return Settled(device, precision)

    def encode(self, work: ShardWork, todo: Sequence[int], progress: Progress) -> Generator[ShardDone, None, None]:
        """Make the shards in order, decoding ahead across their ends."""
        yield from work.encode(todo, progress)

    def close(self) -> None:
        """There is nothing to leave behind."""
