"""Whether the unlabelled rows of a split fit into a bound on memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ulfine_cache.errors import UlfineError
from ulfine_fast.evaluation import BLOCK_ROWS
from ulfine_fast.memory_bound import MemoryBound, readable, resident_bytes
from ulfine_fast.pseudo_label_rounds import sample_size
from ulfine_fast.streamed_rows import READ_ROWS

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.progress import Progress
    from ulfine_cache.splits import Split
    from ulfine_fast.training_data import TrainingData

LOADING = 2.3
"""Rows as they come from the cache, at unit length, and the check on them, in units of float32 rows."""

PROBLEMS = 6
"""The whole fit and five folds, side by side."""


def must_stream(cache: FeatureCache, split: Split, device: str, memory: MemoryBound) -> bool:
    """Decide whether unlabelled rows stay on the disk.

    They do where what the process holds already, the working memory of a fit and all rows would break the bound, or the
    rows would take more than half of what is free on the GPU.

    Args:
        cache: An open cache.
        split: One of its splits.
        device: Where the rows go.
        memory: The bound.

    Raises:
        UlfineError: A bound that a user named is too low even so; the line says what is enough.
    """
    rows, width = len(split.unlabelled), cache.n_features
    fixed = resident_bytes() + working_bytes(len(split.labelled), rows, len(split.test), width, cache.n_classes)
    loaded, streamed = fixed + LOADING * 4 * rows * width, fixed + LOADING * 4 * 2 * READ_ROWS * width
    if memory.asked and min(loaded, streamed) > memory.bytes:
        raise UlfineError(
            f"a fit of {len(split.labelled)} labelled and {rows} unlabelled rows of {cache.path} takes up to "
            f"{readable(min(loaded, streamed))}, more than {readable(memory.bytes)}: raise --memory"
        )
    if loaded <= streamed:
        return False
    return loaded > memory.bytes or (device.startswith("cuda") and 4 * rows * width > _free_on_gpu(device) / 2)


def note_streaming(data: TrainingData, memory: MemoryBound, progress: Progress) -> None:
    """Say that unlabelled rows stay on the disk, why, and what holds."""
    size = readable(4 * len(data.unlabelled) * data.n_features)
    progress.note(
        f"the {len(data.unlabelled)} unlabelled rows ({size}) stay on the disk and are read block by block, to keep "
        f"resident memory below {readable(memory.bytes)} (--memory)"
    )


def working_bytes(labelled: int, unlabelled: int, test: int, n_features: int, n_classes: int) -> int:
    """An estimate from above of what a fit and its judgement hold besides the unlabelled rows.

    Five copies of the labelled rows (as they come, at unit length, without folds) with their logits; the sample of the
    rounds with three sets of pseudo-labels for each problem; eight matrices of each problem; a block of rows that are
    judged, four times over; the probabilities of the test rows; 60 bytes for every unlabelled row, whose prediction
    is compared with the truth; and 100 MB for what libraries take when they are first used.
    """
    sample = min(sample_size(n_features, n_classes), unlabelled)
    judged = min(BLOCK_ROWS, max(unlabelled, test))
    floats = (
        labelled * (5 * n_features + 4 * PROBLEMS * n_classes)
        + sample * (2 * n_features + 3 * PROBLEMS * n_classes)
        + PROBLEMS * (8 * n_features**2 + 16 * n_classes * n_features)
        + judged * (4 * n_features + 3 * n_classes)
        + 3 * test * n_classes
    )
    return 4 * floats + 60 * unlabelled + 10**8


def _free_on_gpu(device: str) -> int:
    import torch

    return torch.cuda.mem_get_info(device)[0]
