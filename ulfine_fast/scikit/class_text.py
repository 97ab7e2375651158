"""Which classes there are, labelled or known by their text alone, and their text prototypes in the same order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.store.unit_norm import objection, without_direction
from ulfine_cache.wording.counts import amount
from ulfine_fast.scikit.partial_labels import read_labels


def all_classes(labels: NDArray[Any], text_only: Any, text_features: Any) -> NDArray[Any]:
    """The sorted classes: those of the labelled rows, and those that may be known by their text alone.

    Args:
        labels: (n,) of the labelled rows.
        text_only: `text_only_classes` of `ULFineClassifier`.
        text_features: Its text; None where there is none.

    Returns:
        (C,), C at least 2.

    Raises:
        ValueError: There are fewer than two classes, no row is labelled, or `text_only` does not fit the rest.

    Example:
        >>> all_classes(np.array(["cat", "dog", "cat"]), ["bird"], np.eye(3)).tolist()
        ['bird', 'cat', 'dog']
    """
    classes = np.unique(labels)
    if text_only is not None and text_only is not False:
        if text_features is None:
            raise ValueError("text_only_classes needs text: give text_features to fit.")
        if not len(labels):
            raise ValueError("y holds no labelled row: label some rows, text alone trains nothing.")
        classes = np.unique(np.concatenate([classes, _text_only(text_only, classes, len(text_features))]))
    if len(classes) < 2:
        raise ValueError(
            f"Classifier can't train when only one class is present: y holds "
            f"{amount(len(classes), 'labelled class')}, at least 2 are needed."
        )
    return classes


def _text_only(text_only: Any, classes: NDArray[Any], n_texts: int) -> NDArray[Any]:
    if text_only is True:
        if classes.dtype.kind not in "iu":
            raise ValueError("text_only_classes=True is for whole numbers as labels: here, give a list of the classes.")
        return np.arange(n_texts, dtype=classes.dtype)
    if isinstance(text_only, str) or np.ndim(text_only) != 1:
        raise ValueError(f"text_only_classes is {text_only!r}: give a list of classes, or True.")
    found = read_labels(text_only)
    if not found.known.all():
        raise ValueError("text_only_classes holds a missing class, or -1, which means unlabelled: leave it out.")
    if not len(found.labels):
        return classes
    if found.labels.dtype.kind.replace("u", "i") != classes.dtype.kind.replace("u", "i"):
        raise ValueError(
            f"text_only_classes holds classes such as {found.labels[0].item()!r}, y such as {classes[0].item()!r}: "
            "give both in one type."
        )
    return found.labels


def checked_text(text_features: Any, classes: NDArray[Any], width: int) -> NDArray[np.float32]:
    """Text prototypes that have a direction, one for each class.

    Args:
        text_features: float (C, D).
        classes: (C,) the sorted classes.
        width: D.

    Raises:
        ValueError: They have another shape, are no numbers, or one cannot be brought to unit length.
    """
    try:
        with np.errstate(over="ignore"):
            text = np.asarray(text_features).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"text_features is no array of {amount(len(classes), 'row')} of {width} numbers: {error}"
        ) from error
    if text.shape != (len(classes), width):
        raise ValueError(
            f"text_features has shape {text.shape}, expected {(len(classes), width)}: one row per class of y, in the "
            f"order of the sorted classes.{_hint(text, classes, width)}"
        )
    if reason := objection(text, "text_features"):
        raise ValueError(f"class {str(classes[int(np.argmax(without_direction(text)))])!r}: {reason}")
    return text


def _hint(text: NDArray[np.float32], classes: NDArray[Any], width: int) -> str:
    if text.ndim != 2 or text.shape[1] != width:
        return ""
    if len(text) > len(classes):
        return " Classes without a labelled row have to be named in text_only_classes."
    if len(text) == len(classes) - 1:
        return " If a meta-estimator renumbered y, one class is -1: give unlabelled rows as `unlabelled`."
    return ""
