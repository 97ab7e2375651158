"""Classify a whole source of images into a folder of parts: decoded ahead, in bounded memory, going on after a kill."""

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
from ulfine_cache.errors import UlfineError
from ulfine_cache.pictures.undecodable import UndecodableImage
from ulfine_cache.progress import Progress
from ulfine_cache.sources.source import ImageSource, LeftOut, SourceItem, blocks_of, listing_digest
from ulfine_cache.sources.vanished import refuse_vanished_source
from ulfine_cache.store.skipped import write_skipped
from ulfine_cache.wording.counts import amount, subject
from ulfine_exports.inference.pictures import BUDGET
from ulfine_exports.predicting.part_files import SKIPPED_FILE, PartFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_exports.inference.exported_file import Answers
    from ulfine_exports.predicting.predictors import Predictor
    from ulfine_fast.judging.accepted_rows import Thresholds

_MAX_WORKERS = 16
_BATCHES_AHEAD = 2
_LARGE_AHEAD = 8
"""Pictures decoded ahead where a model takes them in their own size, whatever that is."""
_RUNNING = 2
"""Batches in the model's hands: while one is run, the next one is normalised and stacked."""


@dataclass(frozen=True)
class InParts:
    """What one call did.

    Attributes:
        images: Images in the source.
        predicted: Those with a row, of all parts.
        skipped: (path, reason) of the others.
        parts: Parts in all.
        parts_kept: Those that were there.
        images_now: Images looked at by this call.
    """

    images: int
    predicted: int
    skipped: Sequence[tuple[str, str]]
    parts: int
    parts_kept: int
    images_now: int


@dataclass(frozen=True)
class _Decoded:
    item: SourceItem
    picture: NDArray[np.uint8] | None
    problem: str = ""


_Batch = tuple[bool, Sequence[_Decoded]]
"""Whether it is the last of its part, and its images, readable or not."""


def predict_in_parts(
    source: ImageSource,
    folder: PartFolder,
    predictor: Predictor,
    answer: Callable[[Answers], NDArray[np.float32]],
    threshold: Thresholds | None,
    *,
    part_size: int,
    batch_size: int,
    workers: int | None,
    progress: Progress,
) -> InParts:
    """Classify what has no part yet, then write `skipped.csv`.

    A batch never crosses the end of a part, so a part has the same bytes whatever was there before.

    Args:
        source: The images.
        folder: Where the parts go; its settings are settled.
        predictor: The classifier.
        answer: The probabilities (n, C) to be written for what the predictor answers.
        threshold: As for `write_predictions`.
        part_size: Images of a part.
        batch_size: Images that are classified together.
        workers: Threads that read and decode; None for one a core.
        progress: Receives the stage "predicting" in images, and notes.

    Raises:
        UlfineError: No image can be read, the source has vanished, or the folder cannot be written.
    """
    blocks = blocks_of(source.items, part_size)
    listings = [listing_digest(block) for block in blocks]
    kept = {number: part for number in range(len(blocks)) if (part := folder.read(number))}
    kept = {number: part for number, part in kept.items() if part.listing == listings[number]}
    todo = [number for number in range(len(blocks)) if number not in kept]
    if todo:
        (folder.path / SKIPPED_FILE).unlink(missing_ok=True)
    if kept and todo:
        progress.note(f"going on: {len(kept)} of {subject(len(blocks), 'part', 'is/are')} complete")
    done = sum(len(blocks[number]) for number in kept)
    images_now = len(source.items) - done
    folder.remove_beyond(len(blocks))
    wanted = [blocks[number] for number in todo]
    with closing(_classified(source, wanted, predictor, batch_size, workers)) as classified:
        for number in todo:
            paths: list[str] = []
            values = [np.zeros((0, len(predictor.class_names)), np.float32)]
            scores = [np.zeros(0, np.float32)] if predictor.scores_outliers else []
            skipped: list[tuple[str, str]] = []
            for ends_part, batch, answers in classified:
                paths += [image.item.path for image in batch if not image.problem]
                skipped += [(image.item.path, image.problem) for image in batch if image.problem]
                values += [] if answers is None else [answer(answers)]
                scores += [] if answers is None or answers.outlier_scores is None else [answers.outlier_scores]
                done += len(batch)
                progress.update("predicting", done, len(source.items))
                if ends_part:
                    break
            refuse_vanished_source(source, blocks[number], skipped)
            folder.write(
                number,
                listings[number],
                skipped,
                paths=paths,
                probabilities=np.concatenate(values),
                class_names=predictor.class_names,
                threshold=threshold,
                outlier_scores=np.concatenate(scores) if scores else None,
            )
    parts = [part for number in range(len(blocks)) if (part := folder.read(number))]
    skipped = [entry for part in parts for entry in part.skipped]
    write_skipped(folder.path, skipped)
    if len(skipped) == len(source.items):
        path, why = skipped[0]
        raise UlfineError(
            f"none of the {amount(len(skipped), 'image')} in {source.location} can be read (first: {path}: {why}): see "
            f"{folder.path / SKIPPED_FILE}"
        )
    return InParts(len(source.items), sum(part.n_rows for part in parts), skipped, len(blocks), len(kept), images_now)


def _classified(
    source: ImageSource,
    blocks: Sequence[Sequence[SourceItem]],
    predictor: Predictor,
    batch_size: int,
    workers: int | None,
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
    items = (item for block in blocks for item in block)
    with (
        ThreadPoolExecutor(workers or min(_MAX_WORKERS, os.cpu_count() or 1), thread_name_prefix="decode") as decoders,
        ThreadPoolExecutor(_RUNNING, thread_name_prefix="classify") as runners,
        closing(in_order(decoders, decode, items, ahead)) as images,
        closing(in_order(runners, classify, _cut(blocks, images, batch_size), _RUNNING - 1)) as batches,
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
