"""Read and check an `.npz` file of features that were made elsewhere."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.foreign_file import what_it_is
from ulfine_cache.names.written import is_name, readable
from ulfine_cache.sources.arrays.npz_headers import UNREADABLE, loaded_array, told
from ulfine_cache.sources.features.label_array import index_labels
from ulfine_cache.sources.words.group_names import group_name
from ulfine_cache.sources.words.set_names import known_set
from ulfine_cache.store.unit_norm import unit_norm
from ulfine_cache.wording.counts import amount

TEXT_FEATURES = "text_features"
"""The array of text prototypes that is read unless another is named."""
_POOL = ("pool_features", "pool_labels", "eval_features", "eval_labels")
_SAVE = "save it with numpy.savez(file, features=..., labels=...)"
_SETS = ("set", "split")
_READ = {"features", "image_features", "labels", "class_names", "groups", "paths", "views", *_SETS, *_POOL}


@dataclass(frozen=True)
class FeatureFile:
    """The checked content of a file of features.

    Attributes:
        features: float16, float32 or float64 (N, views, D), finite, no zero rows; not yet of unit norm.
        labels: int64 (N,), -1 = unlabelled.
        set_names: N times "", "train", "val" or "test".
        paths: N names, unique within the file or made from the row number.
        class_names: C names, unique.
        text_features: float32 (C, D) of unit norm, or None.
        views: Recipe of the views as in `ulfine_cache.pictures.views`, or "imported" for several of unknown recipe.
        ignored: Names of arrays in the file that were not read.
        groups: N names of what rows have in common, or nothing where the file says none.
        notes: What was made of labels that are not 0 to C - 1.
    """

    features: npt.NDArray[np.floating[Any]]
    labels: npt.NDArray[np.int64]
    set_names: Sequence[str]
    paths: Sequence[str]
    class_names: Sequence[str]
    text_features: npt.NDArray[np.float32] | None
    views: str
    ignored: Sequence[str]
    notes: Sequence[str] = ()
    groups: Sequence[str] = ()


def read_feature_file(path: Path, *, text_features: str = TEXT_FEATURES) -> FeatureFile:
    """Read an `.npz` file; object arrays are refused, so nothing in it can run.

    Arrays: `features` (or `image_features`) (N, D) or (N, views, D) and `labels` (N,), -1 = unlabelled; or, for a pool
    and a test set, `pool_features`, `pool_labels`, `eval_features`, `eval_labels`. Optional: `text_features` (C, D),
    `class_names` (C,), `set` or `split` (N,) of "train", "val", "test" (or other words for them) or "", `paths` (N,),
    `groups` (N,), names or numbers of what rows have in common (a camera, a site, a batch), and `views`, one string,
    "five-crop" or "weak-strong:K", which says what the views of each row are. Labels may be names as well
    (`label_array.index_labels`).

    Args:
        path: The file.
        text_features: Name of the array that holds the text prototypes, or "none" to use none.

    Raises:
        UlfineError: The file cannot be read, or an array contradicts another; the line names array and row.
    """
    arrays = _load(path)

    def fail(message: str) -> UlfineError:
        return UlfineError(f"{path}: {message}")

    features, labels, set_names = _rows(arrays, fail)
    features = _checked_features(features, "features", fail)
    n_rows, n_views, width = features.shape
    given = [name for name in _SETS if name in arrays]
    set_names = _strings(arrays, given[0], n_rows, fail) if given else set_names
    set_names = [_set(name, row, given, fail) for row, name in enumerate(set_names)]
    text = _text(arrays, text_features, width, fail)
    names = _class_names(arrays, fail)
    if text is not None and names is not None and len(text) != len(names):
        raise fail(f"{text_features} has {amount(len(text), 'row')} for {amount(len(names), 'class')}")
    n_classes = len(text) if text is not None else None
    labels, class_names, notes = index_labels(labels, n_rows, names, n_classes, fail)
    paths = _strings(arrays, "paths", n_rows, fail) if "paths" in arrays else [f"row {row}" for row in range(n_rows)]
    ignored = sorted(set(arrays) - _READ - {text_features})
    views = _views(arrays, n_views, fail)
    groups = _groups(arrays, n_rows, fail)
    return FeatureFile(features, labels, set_names, paths, class_names, text, views, ignored, notes, groups)


def _load(path: Path) -> dict[str, npt.NDArray[Any]]:
    if not path.is_file():
        raise UlfineError(f"no file {path}: expected an .npz file with the arrays features and labels")
    try:
        # Opened here: numpy leaves a damaged archive open.
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise UlfineError(f"{path} is not an .npz file: {_SAVE}")
            with loaded:
                arrays = {}
                for name in loaded.files:
                    try:
                        arrays[name] = loaded_array(loaded, name)
                    except ValueError as error:
                        if "pickle" not in str(error) and "Object arrays" not in str(error):
                            raise
                        raise UlfineError(
                            f"{path}: {name} is an array of Python objects, which can hide code: "
                            "save text as a string array and numbers as a numeric one"
                        ) from error
                return arrays
    except UNREADABLE as error:
        raise UlfineError(f"{path} {_instead(path, error)}") from error


def _instead(path: Path, error: BaseException) -> str:
    """What a file is that numpy cannot open; what numpy says of it is that it should be opened unsafely."""
    with contextlib.suppress(OSError):
        what = what_it_is(path)
        if what:
            return f"is {what}" if ":" in what else f"is {what}, not an .npz file: {_SAVE}"
        if "pickle" in str(error):
            return f"is not an .npz file: {_SAVE}"
    return f"cannot be read as an .npz file: {told(error)}"


def _rows(arrays: Mapping[str, npt.NDArray[Any]], fail: Any) -> tuple[Any, Any, list[str]]:
    """Return features, labels and set names, whichever of the names the file uses."""
    names = [name for name in ("features", "image_features", "pool_features") if name in arrays]
    if len(names) != 1:
        there = ", ".join(sorted(arrays)) or "nothing"
        wanted = "exactly one of features, image_features and pool_features"
        raise fail(f"expected {wanted}, found {' and '.join(names) or there}")
    needed = _POOL if names[0] == "pool_features" else (names[0], "labels")
    for name in needed:
        if name not in arrays:
            extra = " (-1 for unlabelled rows)" if name.endswith("labels") else ""
            raise fail(f"has no array {name}{extra}")
    for name in (*names, *needed):
        if not arrays[name].ndim:
            raise fail(f"{name} is a single value, expected one for each row")
    if names[0] != "pool_features":
        return arrays[names[0]], arrays["labels"], [""] * len(arrays[names[0]])
    pool, judged = arrays["pool_features"], arrays["eval_features"]
    if pool.shape[1:] != judged.shape[1:]:
        raise fail(f"pool_features and eval_features differ in shape: {pool.shape[1:]} and {judged.shape[1:]}")
    for name, rows in (("pool_labels", pool), ("eval_labels", judged)):
        if arrays[name].shape != (len(rows),):
            raise fail(f"{name} has shape {arrays[name].shape}, expected ({len(rows)},)")
    labels = np.concatenate([arrays["pool_labels"], arrays["eval_labels"]])
    return np.concatenate([pool, judged]), labels, ["train"] * len(pool) + ["test"] * len(judged)


def _checked_features(features: npt.NDArray[Any], name: str, fail: Any) -> npt.NDArray[Any]:
    if features.dtype.kind != "f":
        raise fail(f"{name} has type {features.dtype}, expected float16, float32 or float64")
    if features.ndim not in (2, 3) or 0 in features.shape:
        raise fail(f"{name} has shape {features.shape}, expected (rows, width) or (rows, views, width)")
    features = features.reshape(len(features), -1, features.shape[-1])
    finite = np.isfinite(features).all(axis=(1, 2))
    if not finite.all():
        raise fail(
            f"{name} has NaN or infinity in {amount(int((~finite).sum()), 'row')}, first in row "
            f"{int(np.argmin(finite))}: leave such rows out, or compute them again"
        )
    zero = ~np.all(np.any(features, axis=2), axis=1)
    if zero.any():
        raise fail(
            f"{name} has only zeros in {amount(int(zero.sum()), 'row')}, first in row {int(np.argmax(zero))}: "
            "a direction is needed, leave such rows out"
        )
    return features


def _set(name: str, row: int, given: Sequence[str], fail: Any) -> str:
    known = known_set(name)
    if known is None:
        raise fail(f"{given[0]} of row {row} is {name!r}: use train, val, test or an empty string")
    return known


def _groups(arrays: Mapping[str, npt.NDArray[Any]], n_rows: int, fail: Any) -> list[str]:
    if "groups" not in arrays:
        return []
    values = arrays["groups"]
    if values.dtype.kind in "iuf" and values.ndim == 1:
        values = np.array([group_name(value) for value in values.tolist()], dtype=np.str_)
    return [group_name(name) for name in _strings({"groups": values}, "groups", n_rows, fail)]


def _views(arrays: Mapping[str, npt.NDArray[Any]], n_views: int, fail: Any) -> str:
    if "views" not in arrays:
        return "imported" if n_views > 1 else "center"
    if arrays["views"].dtype.kind != "U" or arrays["views"].size != 1:
        raise fail("views must be one string, such as five-crop or weak-strong:2")
    from ulfine_cache.pictures.views import check_views

    recipe = str(arrays["views"].item())
    try:
        expected = check_views(recipe)
    except UsageError as error:
        raise fail(str(error)) from error
    if expected != n_views:
        raise fail(f"views {recipe!r} makes {amount(expected, 'view')} of an image, features hold {n_views}")
    return recipe


def _text(arrays: Mapping[str, npt.NDArray[Any]], name: str, width: int, fail: Any) -> npt.NDArray[np.float32] | None:
    if name == "none":
        return None
    if name not in arrays:
        if name == TEXT_FEATURES:
            return None
        raise fail(f"has no array {name}: --text-features must name one of {', '.join(sorted(arrays))}, or none")
    text = arrays[name]
    if text.ndim != 2 or text.shape[1] != width:
        raise fail(f"{name} has shape {text.shape}, expected (classes, {width}) like the width of features")
    text = _checked_features(text, name, fail)[:, 0].astype(np.float64)
    # The squares of very large values would be infinite.
    text /= np.abs(text).max(axis=1, keepdims=True)
    return unit_norm(text).astype(np.float32)


def _class_names(arrays: Mapping[str, npt.NDArray[Any]], fail: Any) -> list[str] | None:
    if "class_names" not in arrays:
        return None
    names = _strings(arrays, "class_names", None, fail)
    place: dict[str, int] = {}
    for index, name in enumerate(names):
        if not name.strip():
            raise fail(f"class_names has an empty name at {index}")
        if name in place:
            raise fail(f"class_names holds {name!r} twice, at {place[name]} and {index}")
        place[name] = index
    return names


def _strings(arrays: Mapping[str, npt.NDArray[Any]], name: str, length: int | None, fail: Any) -> list[str]:
    values = arrays[name]
    if values.dtype.kind not in "US" or values.ndim != 1:
        raise fail(f"{name} has type {values.dtype} and shape {values.shape}, expected a list of strings")
    if length is not None and len(values) != length:
        raise fail(f"{name} has {amount(len(values), 'entry')} for {amount(length, 'row')}")
    if values.dtype.kind == "S":
        return [bytes(value).decode("utf-8", "replace") for value in values]
    texts: list[str] = values.tolist()
    for row, text in enumerate(texts):
        if not is_name(text):
            raise fail(f"{name} of row {row} holds a lone surrogate, which is no character: {readable(text)}")
    return texts
