"""Classify a whole source of images into a folder of parts: wherever an engine makes them, going on after a kill."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from ulfine_cache.encoding.engines.engine import Engine
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress
from ulfine_cache.store.skipped import write_skipped
from ulfine_cache.wording.counts import amount, subject
from ulfine_exports.predicting.part_files import SKIPPED_FILE
from ulfine_exports.predicting.part_work import PartWork


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


def predict_in_parts(work: PartWork, engine: Engine, progress: Progress) -> InParts:
    """Let the parts be made that are missing, then write `skipped.csv`.

    Args:
        work: What is made.
        engine: What makes it; it is started here, and not at all where nothing is missing.
        progress: Receives the stage "predicting" in images, and notes.

    Raises:
        UlfineError: No image can be read, the source has vanished, the folder cannot be written, or what stops the
            engine.
    """
    folder, blocks = work.folder, work.blocks
    todo: list[int] = []
    for number in range(len(blocks)):
        part = folder.read(number)
        if part is None or part.listing != work.listing(number):
            todo.append(number)
    kept = len(blocks) - len(todo)
    if kept and todo:
        progress.note(f"going on: {kept} of {subject(len(blocks), 'part', 'is/are')} complete")
    if todo:
        engine.settle("auto", "fp32", progress)
        engine.start(progress)
        (folder.path / SKIPPED_FILE).unlink(missing_ok=True)
    folder.remove_beyond(len(blocks))
    if todo:
        with closing(engine.make(work, todo, progress)) as made:
            for _ in made:
                pass
    parts = [part for number in range(len(blocks)) if (part := folder.read(number))]
    skipped = [entry for part in parts for entry in part.skipped]
    write_skipped(folder.path, skipped)
    images = len(work.source.items)
    if len(skipped) == images:
        path, why = skipped[0]
        raise UlfineError(
            f"none of the {amount(len(skipped), 'image')} in {work.source.location} can be read (first: {path}: "
            f"{why}): see {folder.path / SKIPPED_FILE}"
        )
    images_now = sum(len(blocks[number]) for number in todo)
    return InParts(images, sum(part.n_rows for part in parts), skipped, len(blocks), kept, images_now)
