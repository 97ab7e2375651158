"""The work on parts of predictions, the same in every process: classify the images of a block, and write them."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ulfine_cache.atomic import reason
from ulfine_cache.encoding.in_order import in_order
from ulfine_cache.pictures.undecodable import UndecodableImage
from ulfine_cache.progress import Progress
from ulfine_cache.sources.source import ImageSource, LeftOut, SourceItem, blocks_of, listing_digest
from ulfine_cache.sources.vanished import refuse_vanished_source
from ulfine_cache.store.digest_file import file_sha256
from ulfine_exports.inference.pictures import BUDGET
from ulfine_exports.inference.providers import usable_cpus
from ulfine_exports.predicting.part_files import PartFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_exports.inference.exported_file import Answers
    from ulfine_exports.predicting.predictors import Predictor
    from ulfine_fast.judging.accepted_rows import Thresholds

_MAX_WORKERS = 16
_BATCHES_AHEAD = 2
_LARGE_AHEAD = 8
"""Pictures decoded ahead where a model takes them in their own size, whatever that is."""


@dataclass(frozen=True)
class PartDone:
    """What is told of a part that stands on the disk; small, because it may cross a network.

    Attributes:
        number: Which one, counted from 0.
        sha256: 64 hexadecimal digits: of its file.
    """

    number: int
    sha256: str


class PartWork:
    """What parts of predictions are made with, in one process.

    A batch never crosses the end of a part, and how many threads there are leaves no trace in an answer, so a part has
    the same bytes whatever was there before, and whoever made it.

    Args:
        source: The images.
        folder: Where the parts go; its settings are settled.
        predictor: The classifier.
        answer: The probabilities (n, C) to be written for what the predictor answers.
        threshold: As for `write_predictions`.
        part_size: Images of a part.
        batch_size: Images that are classified together.
        workers: Threads that read and decode; None for one a core.
        cores: How many the process may use; None for all of the machine.

    Attributes:
        source: The images.
        folder: Where the parts go.
        predictor: The classifier.
        blocks: The images of each part.
    """

    def __init__(
        self,
        source: ImageSource,
        folder: PartFolder,
        predictor: Predictor,
        answer: Callable[[Answers], NDArray[np.float32]],
        threshold: Thresholds | None,
        *,
        part_size: int,
        batch_size: int,
        workers: int | None,
        cores: int | None = None,
    ) -> None:
        self.source, self.folder, self.predictor = source, folder, predictor
        self._answer, self._threshold, self._batch_size = answer, threshold, batch_size
        self._workers, self._cores = workers, cores
        self.blocks = blocks_of(source.items, part_size)

    def listing(self, number: int) -> str:
        """The digest of a block as it is listed, see `listing_digest`."""
        return listing_digest(self.blocks[number])

    def make(self, todo: Sequence[int], progress: Progress) -> Iterator[PartDone]:
        """Classify blocks one after the other, and write the part of each.

        Args:
            todo: Their numbers.
            progress: Receives the stage "predicting" in images.

        Yields:
            What became of each, in order, when its file is complete.

        Raises:
            UlfineError: The source has vanished, or the folder cannot be written.
        """
        wanted = [self.blocks[number] for number in todo]
        done, total = 0, sum(map(len, wanted))
        names = self.predictor.class_names
        with closing(
            _classified(self.source, wanted, self.predictor, self._batch_size, self._workers, self._cores)
        ) as classified:
            for number in todo:
                paths: list[str] = []
                values = [np.zeros((0, len(names)), np.float32)]
                scores = [np.zeros(0, np.float32)] if self.predictor.scores_outliers else []
                skipped: list[tuple[str, str]] = []
                for ends_part, batch, answers in classified:
                    paths += [image.item.path for image in batch if not image.problem]
                    skipped += [(image.item.path, image.problem) for image in batch if image.problem]
                    values += [] if answers is None else [self._answer(answers)]
                    scores += [] if answers is None or answers.outlier_scores is None else [answers.outlier_scores]
                    done += len(batch)
                    progress.update("predicting", done, total)
                    if ends_part:
                        break
                refuse_vanished_source(self.source, self.blocks[number], skipped)
                self.folder.write(
                    number,
                    self.listing(number),
                    skipped,
                    paths=paths,
                    probabilities=np.concatenate(values),
                    class_names=names,
                    threshold=self._threshold,
                    outlier_scores=np.concatenate(scores) if scores else None,
                )
                yield PartDone(number, file_sha256(self.folder.file(number)))


@dataclass(frozen=True)
class _Decoded:
    item: SourceItem
    picture: NDArray[np.uint8] | None
    problem: str = ""


_Batch = tuple[bool, Sequence[_Decoded]]
"""Whether it is the last of its part, and its images, readable or not."""


def _classified(
    source: ImageSource,
    blocks: Sequence[Sequence[SourceItem]],
    predictor: Predictor,
    batch_size: int,
    workers: int | None,
    cores: int | None = None,
) -> Generator[tuple[bool, Sequence[_Decoded], Answers | None]]:
    """The batches of all blocks in order, without their pictures, and the answers for those that are readable."""
    if not blocks:
        return
    read = predictor.reader()

    def decode(item: SourceItem) -> _Decoded:
        try:
            return _Decoded(item, read(source.read(item)))
        except (UndecodableImage, LeftOut) as error:
            return _Decoded(item, None, str(error))
        except (OSError, MemoryError) as error:
            return _Decoded(item, None, f"cannot be read: {reason(error)}")

    def classify(batch: _Batch) -> tuple[bool, Sequence[_Decoded], Answers | None]:
        ends_part, images = batch
        pictures = [image.picture for image in images if image.picture is not None]
        answers = predictor.images(pictures) if pictures else None
        return ends_part, [_Decoded(image.item, None, image.problem) for image in images], answers

    ahead = _LARGE_AHEAD if predictor.whole_pictures else _BATCHES_AHEAD * batch_size
    readers = workers or min(_MAX_WORKERS, cores or os.cpu_count() or 1)
    items = (item for block in blocks for item in block)
    with (
        predictor.side_by_side(cores or usable_cpus()) as (running, begin),
        ThreadPoolExecutor(readers, thread_name_prefix="decode") as decoders,
        ThreadPoolExecutor(running, thread_name_prefix="classify", initializer=begin) as runners,
        closing(in_order(decoders, decode, items, ahead)) as images,
        closing(in_order(runners, classify, _cut(blocks, images, batch_size), running - 1)) as batches,
    ):
        yield from batches


def _cut(blocks: Sequence[Sequence[SourceItem]], images: Iterator[_Decoded], batch_size: int) -> Iterator[_Batch]:
    """Cut each block into batches; fewer images where they are large."""
    for block in blocks:
        batch: list[_Decoded] = []
        size = 0
        for left in range(len(block) - 1, -1, -1):
            batch.append(next(images))
            picture = batch[-1].picture
            size += 0 if picture is None else picture.nbytes
            if left and (len(batch) == batch_size or size > BUDGET):
                yield False, batch
                batch, size = [], 0
        yield True, batch
