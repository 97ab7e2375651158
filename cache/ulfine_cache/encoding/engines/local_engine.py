"""The engine of one process: its threads read, decode and compute, one block after the other."""

from collections.abc import Generator, Sequence

from ulfine_cache.encoding.engines.engine import Done, Settled, Work
from ulfine_cache.progress import Progress


class LocalEngine:
    """Everything in this process."""

    def settle(self, device: str, precision: str, progress: Progress) -> Settled:
        """Take what was asked for."""
        return Settled(device, precision)

    def start(self, progress: Progress) -> None:
        """This process is there."""

    def make(self, work: Work[Done], todo: Sequence[int], progress: Progress) -> Generator[Done, None, None]:
        """Make the files in order, decoding ahead across the ends of blocks."""
        yield from work.make(todo, progress)

    def close(self) -> None:
        """There is nothing to leave behind."""
