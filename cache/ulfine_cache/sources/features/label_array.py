"""Labels of rows as an array has them: class indices, names, or numbers of the owner's own."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.account import Account
from ulfine_cache.sources.words.class_labels import LabelColumn
from ulfine_cache.wording.counts import amount

Fail: TypeAlias = Callable[[str], UlfineError]
"""Makes an error that names the file."""


def index_labels(
    labels: npt.NDArray[Any], n_rows: int, names: Sequence[str] | None, n_classes: int | None, fail: Fail
) -> tuple[npt.NDArray[np.int64], list[str], list[str]]:
    """Turn labels into indices of classes.

    - Whole numbers (as floats as well, NaN for unlabelled) are indices where the classes are known by `names` or
      `n_classes`. Where they are not, the numbers among them are the classes, called "class 5" and so on.
    - Texts are names, by the rule of tables (`words.class_labels.LabelColumn`); those of `names` if there are any.

    Args:
        labels: (N,) of any type.
        n_rows: N, which it must be.
        names: Names of the classes, None where unknown.
        n_classes: Their number, None where unknown.
        fail: Makes the error.

    Returns:
        int64 (N,) indices, -1 = unlabelled; the names of the classes; what was made of labels that are not 0 to C - 1.

    Raises:
        UlfineError: The labels are no labels, or contradict the classes.
    """
    if labels.shape == (n_rows, 1):
        labels = labels[:, 0]
    if labels.shape != (n_rows,):
        raise fail(f"labels has shape {labels.shape}, expected ({n_rows},) like the rows of features")
    if labels.dtype.kind in "US":
        if names is None and n_classes is not None:
            raise fail("the labels are names, and nothing says which text is for which: add class_names in their order")
        indices, found, notes = _from_texts(labels, names, fail)
    else:
        indices, found, notes = _from_numbers(labels, names, n_classes, fail)
    if not found:
        raise fail("all labels are -1 and there are no class_names: at least the classes must be known")
    return indices, found, notes


def _from_texts(
    labels: npt.NDArray[Any], names: Sequence[str] | None, fail: Fail
) -> tuple[npt.NDArray[np.int64], list[str], list[str]]:
    column, account = LabelColumn(), Account()
    for row, label in enumerate(labels.tolist()):
        try:
            column.append(label.decode("utf-8", "replace") if isinstance(label, bytes) else label, f"row {row}")
        except ValueError as error:
            raise fail(f"label of row {row}: {error}") from None
    try:
        found, rows = column.finish(account)
    except ValueError as error:
        raise fail(f"labels: {error}") from None
    indices = np.array(rows, np.int64)
    if names is None:
        return indices, found, account.notes
    place = {name: index for index, name in enumerate(names)}
    for label, name in enumerate(found):
        if name not in place:
            raise fail(f"label of row {int(np.argmax(indices == label))} is {name!r}, which is none of class_names")
    new = np.array([place[name] for name in found] or [0], np.int64)
    return np.where(indices >= 0, new[indices], -1), list(names), account.notes


def _from_numbers(
    labels: npt.NDArray[Any], names: Sequence[str] | None, n_classes: int | None, fail: Fail
) -> tuple[npt.NDArray[np.int64], list[str], list[str]]:
    if labels.dtype.kind == "f":
        labels = np.where(np.isnan(labels), -1, labels)
        if (labels != np.rint(labels)).any() or np.abs(labels).max(initial=0) > 2**53:
            row = int(np.argmax(labels != np.rint(labels)))
            raise fail(f"label of row {row} is {labels[row]}: use whole numbers or names")
    elif labels.dtype.kind not in "iu":
        raise fail(f"labels has type {labels.dtype}, expected integers (class index, -1 for unlabelled) or names")
    labels = labels.astype(np.int64)
    if labels.min(initial=0) < -1:
        row = int(np.argmax(labels < -1))
        raise fail(f"label of row {row} is {labels[row]}: use a class index, or -1 for unlabelled")
    present = np.unique(labels[labels >= 0])
    count = len(names) if names is not None else n_classes
    if count is not None:
        if labels.max(initial=-1) >= count:
            row = int(np.argmax(labels >= count))
            hint = ""
            if present[0] == 1 and present[-1] == count:
                hint = "; they seem to count from 1: subtract 1"
            raise fail(
                f"label of row {row} is {labels[row]}, but there are {amount(count, 'class')} (0 to {count - 1}){hint}"
            )
        return labels, list(names) if names is not None else [f"class {index}" for index in range(count)], []
    notes = []
    if len(present) and present[-1] != len(present) - 1:
        shown = ", ".join(map(str, present[:6].tolist())) + (", ..." if len(present) > 6 else "")
        notes.append(
            f"the labels are not 0 to C - 1: the {amount(len(present), 'number')} among them are the classes ({shown})"
        )
    indices = np.where(labels >= 0, np.searchsorted(present, labels), -1)
    return indices, [f"class {number}" for number in present.tolist()], notes
