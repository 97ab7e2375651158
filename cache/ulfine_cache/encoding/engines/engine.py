"""What an engine is: it makes the blocks that are missing, wherever it likes, and says which are done.

What a block is made into (a shard of a cache, a part of predictions), which ones are missing, and all that lies over
them is the business of the command, in one process. A new engine is one file with this protocol, and a line in
`open_engine.py`.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from ulfine_cache.progress import Progress

Done = TypeVar("Done")
_Done = TypeVar("_Done", covariant=True)


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


class Work(Protocol[_Done]):
    """Blocks of images, and how this process makes a file of each."""

    def make(self, todo: Sequence[int], progress: Progress) -> Iterator[_Done]:
        """Make the files of some blocks.

        Args:
            todo: The numbers of the blocks.
            progress: Receives how many images are done, and notes.

        Yields:
            What became of each, in order, when its file is complete.

        Raises:
            UlfineError: What stops it, in one line.
        """
        ...


class Job(Protocol[Done]):
    """The same work as it is given to workers elsewhere, which answer in small values.

    Attributes:
        word: What a block becomes, such as "shard".
        stage: The name of the work in progress lines, such as "encoding".
        worker: The class that runs there, a `ulfine_cache.encoding.engines.worker.Worker`.
        told: What each is told when it begins; how many cores it may use comes after that.
    """

    word: str
    stage: str
    worker: type[Any]
    told: Sequence[Any]

    def images(self, number: int) -> int:
        """How many images a block has."""
        ...

    def listing(self, number: int) -> str:
        """The digest of a block as it is listed here, see `listing_digest`."""
        ...

    def path(self, number: int) -> Path:
        """The file of a block."""
        ...

    def heard(self, answer: Mapping[str, Any]) -> None:
        """Take note of what a worker has said when it was ready."""
        ...

    def done(self, answer: Mapping[str, Any]) -> Done:
        """What became of a block, from what a worker has answered; called once for each."""
        ...

    def is_seen(self, done: Done) -> bool:
        """Whether the file, with the very bytes that were written elsewhere, can be seen from here."""
        ...


Describe = Callable[[Any, str, str], Job[Any]]
"""Makes a job of a work, the kind of device that workers run on ("cpu", "cuda"), and what they know the output by."""


class Engine(Protocol):
    """Makes files. It is a function of the call alone: the bytes of a file are the same whichever engine made it."""

    def settle(self, device: str, precision: str, progress: Progress) -> Settled:
        """Say what the encoder of this process is to run in.

        Args:
            device: As it was asked for, such as "auto".
            precision: As it was asked for, such as "auto".
            progress: Receives notes.

        Raises:
            UlfineError: There is nothing to work with, in one line.
        """
        ...

    def start(self, progress: Progress) -> None:
        """Get ready; called when there is something to do, before anything that is there is given up for it.

        Args:
            progress: Receives notes.

        Raises:
            UlfineError: There is nothing to work with, in one line.
        """
        ...

    def make(self, work: Work[Done], todo: Sequence[int], progress: Progress) -> Generator[Done, None, None]:
        """Make files, each once. It returns when the work can begin.

        Args:
            work: How a file is made.
            todo: The numbers of those to make.
            progress: Receives how many images are done, and notes.

        Yields:
            What became of each, in any order, when its file is complete and can be seen from here.

        Raises:
            UlfineError: What stops it, in one line. The files that are done stay.
        """
        ...

    def close(self) -> None:
        """Leave nothing behind, whatever happened; it may be called at any time, and again."""
        ...
