"""What an engine is: it makes the shards that are missing, wherever it likes, and says which are done.

What is missing, in which order, and all that lies over the shards is the business of `CacheWriter`, in one process. A
new engine is one file with this protocol, and a line in `open_engine.py`.
"""

from collections.abc import Generator, Sequence
from typing import NamedTuple, Protocol

from ulfine_cache.encoding.shard_work import ShardDone, ShardWork
from ulfine_cache.progress import Progress


class Settled(NamedTuple):
    """What the process that gave the command, and encodes the prompts of the classes, is to run in.

    Attributes:
        device: As `ClipEncoder.load` takes it.
        precision: Likewise; that of the workers where it was left open.
        batch_size: Images that are encoded together where that was left open; None where it is to be measured here.
    """

    device: str
    precision: str
    batch_size: int | None = None


class Engine(Protocol):
    """Makes shards. It is a function of the call alone: the bytes of a shard are the same whichever engine made it."""

    def settle(self, device: str, precision: str, progress: Progress) -> Settled:
        """Get ready, and say what the encoder of this process is to run in.

        Args:
            device: As it was asked for, such as "auto".
            precision: As it was asked for, such as "auto".
            progress: Receives notes.

        Raises:
            UlfineError: There is nothing to work with, in one line.
        """
        ...

    def encode(self, work: ShardWork, todo: Sequence[int], progress: Progress) -> Generator[ShardDone, None, None]:
        """Make shards, each once. It returns when the work can begin.

        Args:
            work: How a shard is made.
            todo: The numbers of those to make.
            progress: Receives the stage "encoding" in images, and notes.

        Yields:
            What became of each, in any order, when its file is complete and can be seen from here.

        Raises:
            UlfineError: What stops it, in one line. The shards that are done stay.
        """
        ...

    def close(self) -> None:
        """Leave nothing behind, whatever happened; it may be called at any time, and again."""
        ...
