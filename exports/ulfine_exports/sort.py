"""`ulfine sort`: images into a folder for each class, and back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Le

from ulfine_cache.command import command
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.wording.counts import amount

if TYPE_CHECKING:
    from ulfine_exports.deciding.sorted_table import How, Placed
    from ulfine_exports.predict import Predictions

DOUBTFUL_BELOW = 0.9
"""Confidence below which an image is doubtful, where the model has no threshold."""


@command
def sort(
    *,
    model: Path | None = None,
    photos: Sequence[Path] = (),
    out: Path | None = None,
    copy: bool = False,
    link: bool = False,
    move: bool = False,
    doubtful: Annotated[float, Ge(0), Le(1)] | None = None,
    undo: Path | None = None,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Put images into a folder for each class.

    What the model is not sure of goes into the folder ``doubtful``. Nothing is overwritten; equal names from different
    folders get a number. What came from where stands in ``sorted.csv`` there, and `undo` puts everything back. A job
    that was interrupted goes on with the same command, and so do new images. Links among the images are left alone.

    Args:
        model: Directory of a run, or an exported ``.onnx`` file that takes images.
        photos: Images, or folders of images with all their subfolders.
        out: The folder to sort into; made where it is missing.
        copy: Copy the images; this is what is done if nothing else is said.
        link: Make symbolic links to the images instead of copies.
        move: Move the images.
        doubtful: Confidence below which an image is doubtful. Without it the model's threshold, or that of the answered
            class, if it has one, or 0.9; and of a model with an outlier score also what is above 1.
        undo: A folder that was sorted into: put everything back. Only what is as it was left is touched.
        progress: Told about the images.

    Returns:
        Figures: out, table (the file), how, doubtful (the threshold), class_thresholds (name to threshold, where these
        decide), images, classes (name to number of images), doubtful_images, unreadable (list of {"path", "reason"}),
        undone (images put back), kept (sentences: what was not put back, and why), seconds.

    Raises:
        UsageError: Not exactly one of copying, linking and moving; `undo` with anything else, or nothing to do.
        UlfineError: The model or the images cannot be used, `out` lies inside of the images, a name is taken, or a disk
            is full: what is done stays, nothing is lost, and the same command goes on.

    Example:
        >>> found = sort(model=Path("model.onnx"), photos=[Path("photos/seven")], out=Path("sorted"), doubtful=0.0)
        >>> found["images"] == sum(found["classes"].values()), Path("sorted/sorted.csv").is_file()
        (True, True)
    """
    from ulfine_exports.deciding.sorted_table import TABLE
    from ulfine_exports.predict import predict

    started = time.perf_counter()
    if undo is not None:
        if model is not None or photos or out is not None or copy or link or move:
            raise UsageError("--undo stands alone: `ulfine sort --undo DIR`")
        return {**_undone(undo, progress), "seconds": round(time.perf_counter() - started, 3)}
    if model is None or not photos or out is None:
        raise UsageError("name a model, images and a folder: `ulfine sort MODEL PHOTOS --out DIR`")
    if copy + link + move > 1:
        raise UsageError("take one of --copy, --link and --move")
    how: How = "link" if link else "move" if move else "copy"
    _check_places(photos, out)
    found = predict(model=model, inputs=photos, progress=progress)
    threshold = doubtful
    if threshold is None:
        threshold = DOUBTFUL_BELOW if found.threshold is None else found.threshold
    # As the model marks its answers, where nothing else is asked for.
    accepted = found.accepted if doubtful is None else None
    sure = [value >= threshold for value in found.confidences.tolist()] if accepted is None else accepted.tolist()
    if found.outlier_scores is not None and doubtful is None:
        # However sure the answer is: it can be no other than one of the known classes.
        sure = [mine and score <= 1 for mine, score in zip(sure, found.outlier_scores.tolist(), strict=True)]
    by_class = found.class_thresholds if doubtful is None else None
    placed, left = _planned(found, photos, out, how, sure)
    _place_all(out, placed, progress)
    mine = [item for item in placed if Path(item.place).parts[0] != "doubtful"]
    return {
        "out": str(out),
        "table": str(out / TABLE),
        "how": how,
        "doubtful": threshold,
        **({} if by_class is None else {"class_thresholds": dict(zip(found.class_names, by_class, strict=True))}),
        "images": len(placed),
        "classes": dict(Counter(item.label for item in mine)),
        "doubtful_images": len(placed) - len(mine),
        "unreadable": [*found.unreadable, *left],
        "undone": 0,
        "kept": [],
        "seconds": round(time.perf_counter() - started, 3),
    }


def _check_places(photos: Sequence[Path], out: Path) -> None:
    from ulfine_exports.predicting.feature_inputs import is_features

    for path in photos:
        if is_features(path):
            raise UlfineError(f"{path} holds features: name the images themselves")
        if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            raise UlfineError(f"{out} lies inside of {path}: sort into a folder outside of the images")


def _planned(
    found: Predictions, photos: Sequence[Path], out: Path, how: How, sure: list[bool]
) -> tuple[list[Placed], list[dict[str, str]]]:
    """What is in the table already, and a place for every other image; and what is left alone."""
    from ulfine_exports.deciding.folder_names import DOUBTFUL, folded, folder_names, unused
    from ulfine_exports.deciding.place_files import is_another
    from ulfine_exports.deciding.sorted_table import TABLE, Placed, read_table

    placed = read_table(out) if (out / TABLE).is_file() else []
    known = {item.path for item in placed if not is_another(Path(item.path), out / item.place)}
    folders = dict(zip(found.class_names, folder_names(found.class_names, (DOUBTFUL, TABLE)), strict=True))
    used: dict[str, set[str]] = {}
    for item in placed:
        folder, name = item.place.split("/")
        used.setdefault(folder, set()).add(folded(name))
    roots = [path.resolve() for path in photos if path.is_dir()]
    left: list[dict[str, str]] = []
    answers = zip(found.paths, found.labels, found.confidences.tolist(), sure, strict=True)
    for path, label, confidence, accepted in answers:
        image = Path(path).absolute()
        if image.is_symlink() or (roots and Path(path) not in photos and not _inside(image, roots)):
            left.append({"path": path, "reason": "a link, or behind one: left where it is"})
            continue
        if str(image) in known:
            continue
        folder = folders[label] if accepted else DOUBTFUL
        if folder not in used:
            used[folder] = set()
        if (out / folder).is_dir():
            used[folder] |= {folded(entry.name) for entry in (out / folder).iterdir()}
        name = unused(image.name, used[folder])
        placed.append(Placed(str(image), f"{folder}/{name}", label, how, float(confidence)))
    return placed, left


def _inside(image: Path, roots: list[Path]) -> bool:
    resolved = image.resolve()
    return any(resolved.is_relative_to(root) for root in roots)


def _place_all(out: Path, placed: list[Placed], progress: Progress) -> None:
    """Write the table, then bring every image to its place that is not there yet."""
    from ulfine_cache.atomic import make_directory
    from ulfine_exports.deciding.place_files import is_another, place
    from ulfine_exports.deciding.sorted_table import write_table

    make_directory(out)
    write_table(out, placed)
    for folder in sorted({item.place.split("/")[0] for item in placed}):
        if (out / folder).is_symlink():
            raise UlfineError(f"{out / folder} is a link, which is not followed: remove it")
        make_directory(out / folder)
    for done, item in enumerate(placed, start=1):
        source, target = Path(item.path), out / item.place
        # Of a former call: moved, or its original is gone since, or another image has its name by now.
        if source.exists() and not is_another(source, target):
            place(source, target, item.how)
        progress.update("sorting", done, len(placed))


def _undone(folder: Path, progress: Progress) -> dict[str, Any]:
    """Put everything back."""
    from ulfine_exports.deciding.place_files import put_back
    from ulfine_exports.deciding.sorted_table import TABLE, read_table, write_table

    placed = read_table(folder)
    kept: list[str] = []
    left: list[Placed] = []
    for done, item in enumerate(reversed(placed), start=1):
        if (folder / item.place).parent.is_symlink():
            reason = f"{(folder / item.place).parent} is a link, which is not followed"
        else:
            reason = put_back(Path(item.path), folder / item.place, item.how)
        if reason:
            kept.append(reason)
            left.append(item)
        progress.update("putting back", done, len(placed))
    if left:
        write_table(folder, left[::-1])
    else:
        (folder / TABLE).unlink()
    for name in {item.place.split("/")[0] for item in placed}:
        inside = folder / name
        if inside.is_dir() and not inside.is_symlink() and not any(inside.iterdir()):
            inside.rmdir()
    progress.note(f"put back {amount(len(placed) - len(left), 'image')}")
    return {
        "out": str(folder),
        "table": str(folder / TABLE) if left else None,
        "how": None,
        "doubtful": None,
        "images": len(left),
        "classes": {},
        "doubtful_images": 0,
        "unreadable": [],
        "undone": len(placed) - len(left),
        "kept": kept,
    }
