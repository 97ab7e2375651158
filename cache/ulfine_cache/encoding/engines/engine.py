"""What an engine is: it makes the shards that are missing, wherever it likes, and says which are done.

What is missing, in which order, and all that lies over the shards is the business of `CacheWriter`, in one process. A
new engine is one file with this protocol, and a line in `open_engine.py`.
"""

from collections.abc import Generator, Sequence
from typing import Protocol

from ulfine_cache.encoding.shard_work import ShardDone, ShardWork
from ulfine_cache.progress import Progress


class Engine(Protocol):
    """Makes shards. It is a function of the call alone: the bytes of a shard are the same whichever engine made it."""

    def settle(self, device: str, precision: str, progress: Progress) -> tuple[str, str]:
        """Get ready, and say what the encoder of this process, which encodes the classes' prompts, is to run in.

        Args:
            device: As it was asked for, such as "auto".
            precision: As it was asked for, such as "auto".
            progress: Receives notes.

        Returns:
            Device and precision. Where "auto" depends on the machine, the precision is that of the workers.

        Raises:
            UlfineError: There is nothing to work with, in one line.
        """
        ...

    def encode(self, work: ShardWork, todo: Sequence[int], progress: Progress) -> Generator[ShardDone, None, None]:
        """Make shards, each once.

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
