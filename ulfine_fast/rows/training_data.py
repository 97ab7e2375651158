"""What a method may see: labelled rows, unlabelled rows without their truth, text. Nothing else can reach it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ulfine_cache.errors import UlfineError
from ulfine_cache.splitting.row_groups import group_numbers
from ulfine_cache.wording.counts import amount
from ulfine_fast.rows.memory_bound import readable
from ulfine_fast.rows.streamed_rows import StreamedRows, StreamedViews
from ulfine_fast.rows.unit_length import unit_length

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split


@dataclass(frozen=True)
class TrainingData:
    """The rows a method trains on. It holds no validation or test row and no truth of an unlabelled row.

    Attributes:
        features: float32 (n_labelled, D), unit length.
        labels: int64 (n_labelled,), 0 to C - 1.
        unlabelled: float32 (n_unlabelled, D), unit length; possibly 0 rows. Where memory does not hold them they are
            read when asked for.
        text: float32 (C, D), unit length: one text prototype per class; None where no text is known. Where it is None,
            every class has at least one labelled row.
        class_names: C names.
        strong_views: Reads the strong views of the unlabelled rows, float16 (n_unlabelled, K, D), unit length to 1e-3,
            on the device of `unlabelled`, which then is the weak view; None where the cache holds none. A function,
            because most methods want none of them. They stay on the disk where `unlabelled` does.
    """

    features: Tensor
    labels: Tensor
    unlabelled: Tensor | StreamedRows
    text: Tensor | None
    class_names: tuple[str, ...]
    strong_views: Callable[[], Tensor | StreamedViews] | None = None

    @property
    def parts(self) -> tuple[int, ...]:
        """Widths of the encoders' features that stand side by side, of equal lengths; empty for one encoder."""
        return ()

    @property
    def groups(self) -> Tensor | None:
        """int64 (n_labelled,) on the CPU: rows of one number have a camera, a site or a batch in common.

        None where that is not known, or is the same for all.
        """
        return None

    @property
    def n_classes(self) -> int:
        """Number of classes, C."""
        return len(self.class_names)

    @property
    def n_features(self) -> int:
        """Feature width, D."""
        return self.features.shape[1]

    @property
    def all_unlabelled(self) -> Tensor:
        """`unlabelled` as one tensor, for methods that need all rows at once.

        Raises:
            UlfineError: Memory does not hold them.
        """
        if isinstance(self.unlabelled, Tensor):
            return self.unlabelled
        size = readable(4 * len(self.unlabelled) * self.n_features)
        raise UlfineError(
            f"this method needs all {amount(len(self.unlabelled), 'unlabelled row')} at once ({size}), which the "
            "bound on memory "
            "forbids: raise --memory, take another method, or draw fewer with `ulfine split --unlabelled-max`"
        )

    @property
    def labelled_counts(self) -> Tensor:
        """int64 (C,): labelled rows of each class."""
        return torch.bincount(self.labels, minlength=self.n_classes)


@dataclass(frozen=True)
class DescribedTrainingData(TrainingData):
    """Training data of which more is known: which labelled rows have something in common, what features consist of.

    Attributes:
        group_numbers: As `groups`.
        part_widths: As `parts`.
    """

    group_numbers: Tensor | None = None
    part_widths: tuple[int, ...] = ()

    @property
    def parts(self) -> tuple[int, ...]:
        """The widths of the encoders' features."""
        return self.part_widths

    @property
    def groups(self) -> Tensor | None:
        """The group of each labelled row."""
        return self.group_numbers


def load_training_data(
    cache: FeatureCache, split: Split, device: str = "cpu", *, streams: bool = False
) -> TrainingData:
    """Read the labelled and unlabelled rows of a split.

    Args:
        cache: An open cache.
        split: One of its splits.
        device: Where the tensors go.
        streams: Whether the unlabelled rows stay on the disk (`StreamedRows`), see
            `ulfine_fast.streaming_choice.must_stream`. Labelled rows are always loaded.

    Raises:
        UlfineError: As in `make_training_data`.
    """
    labelled = split.labelled
    data = make_training_data(
        features=cache.features(labelled),
        labels=np.asarray(cache.labels)[labelled],
        unlabelled=cache.features(split.unlabelled[:0] if streams else split.unlabelled),
        text=cache.text_features,
        class_names=tuple(cache.class_names),
        device=device,
        where=str(cache.path),
    )
    if cache.groups is not None or "parts" in cache.attributes:
        fields = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
        data = DescribedTrainingData(**fields, group_numbers=_groups(cache, labelled), part_widths=_part_widths(cache))
    streamed = StreamedRows(cache, split.unlabelled, device) if streams else None
    if streamed is not None:
        data = replace(data, unlabelled=streamed)
    if not str(cache.attributes.get("views", "")).startswith("weak-strong:"):
        return data
    if streamed is not None:
        return replace(data, strong_views=streamed.strong_views)
    return replace(data, strong_views=lambda: _read_strong_views(cache, split.unlabelled, device))


def _groups(cache: FeatureCache, rows: NDArray[np.int64]) -> Tensor | None:
    if cache.groups is None:
        return None
    numbers = group_numbers(cache.groups)[rows]
    return None if len(np.unique(numbers)) < 2 else torch.as_tensor(numbers)


def _part_widths(cache: FeatureCache) -> tuple[int, ...]:
    """Widths of the encoders of a joined cache; empty for another one."""
    if "parts" not in cache.attributes:
        return ()
    widths = tuple(int(part["width"]) for part in json.loads(cache.attributes["parts"]))
    if sum(widths) != cache.n_features:
        raise UlfineError(f"{cache.path} is damaged: its parts are not as wide as its features, join it again")
    return widths


def _read_strong_views(cache: FeatureCache, rows: NDArray[np.int64], device: str) -> Tensor:
    views = torch.empty(len(rows), cache.n_views - 1, cache.n_features, dtype=torch.float16)
    for view in range(1, cache.n_views):
        views[:, view - 1] = torch.as_tensor(cache.features(rows, view))
    return views.to(device)


def make_training_data(
    *,
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    unlabelled: NDArray[np.floating],
    text: NDArray[np.floating] | None,
    class_names: tuple[str, ...],
    device: str = "cpu",
    where: str = "the features",
) -> TrainingData:
    """Check arrays and turn them into unit-length tensors.

    Args:
        features: (n_labelled, D) labelled features.
        labels: (n_labelled,) their classes, 0 to C - 1.
        unlabelled: (n_unlabelled, D) features without label.
        text: (C, D) text prototypes or None.
        class_names: C names.
        device: Where the tensors go.
        where: What error messages call the origin of the arrays.

    Raises:
        UlfineError: Nothing is labelled, fewer than two classes, a class with neither labelled rows nor text, widths
            that differ, NaN or infinite values, or a text prototype of zeros, which has no direction.
    """
    n_classes = len(class_names)
    if n_classes < 2:
        found = f"one class only ({class_names[0]})" if class_names else "no classes"
        raise UlfineError(f"{where} has {found}: a classifier needs two or more")
    if not len(features):
        raise UlfineError(f"no labelled rows in {where}: label some images of each class")
    if text is not None and text.shape != (n_classes, features.shape[1]):
        raise UlfineError(
            f"text features of {where} have shape {text.shape}, expected {(n_classes, features.shape[1])}: "
            "text and images must come from the same model, one row per class"
        )
    if text is not None:
        _check_no_zeros(text, class_names, where)
    counts = np.bincount(labels, minlength=n_classes)
    missing = [name for name, count in zip(class_names, counts, strict=True) if count == 0]
    if missing and text is None:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise UlfineError(
            f"class {missing[0]!r}{more} has no labelled rows in {where} and no text features: "
            "label at least one image of it or remove the class"
        )

    return TrainingData(
        features=unit_length(features, "labelled features", where, device),
        labels=torch.as_tensor(np.ascontiguousarray(labels, dtype=np.int64)).to(device),
        unlabelled=unit_length(unlabelled.reshape(-1, features.shape[1]), "unlabelled features", where, device),
        text=None if text is None else unit_length(text, "text features", where, device),
        class_names=class_names,
    )


def _check_no_zeros(text: NDArray[np.floating], class_names: tuple[str, ...], where: str) -> None:
    zero = ~text.any(axis=1)
    if zero.any():
        name = class_names[int(np.argmax(zero))]
        raise UlfineError(f"the text feature of class {name!r} of {where} is all zeros: compute it again")
