"""Whether the unlabelled rows of a split fit into a bound on memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ulfine_cache.errors import UlfineError
from ulfine_cache.wording.counts import amount
from ulfine_fast.closed_form.em_rounds import sample_size
from ulfine_fast.closed_form.fold_problems import PROBLEMS
from ulfine_fast.judging.judge import BLOCK_ROWS
from ulfine_fast.rows.memory_bound import MemoryBound, readable, resident_bytes
from ulfine_fast.rows.streamed_rows import READ_ROWS

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.progress import Progress
    from ulfine_cache.splits import Split
    from ulfine_fast.rows.training_data import TrainingData

LOADING = 2.1
"""Rows as they come from the cache and at unit length, in units of float32 rows; a little for the norms."""

LIBRARIES = 10**8
"""What libraries take when they are first used, in bytes."""


def must_stream(cache: FeatureCache, split: Split, device: str, memory: MemoryBound) -> bool:
    """Decide whether unlabelled rows stay on the disk.

    They do where all of them, with what the process holds already and what a fit needs besides, would break the bound,
    or would take more than half of what is free on the GPU.

    Args:
        cache: An open cache.
        split: One of its splits.
        device: Where the rows go.
        memory: The bound.

    Raises:
        UlfineError: A bound that a user named is too low even so; the line says what is enough.
    """
    n_rows, width = len(split.unlabelled), cache.n_features
    rows, blocks = 4 * n_rows * width, LOADING * 4 * 2 * READ_ROWS * width
    known = int((cache.labels[split.unlabelled] >= 0).sum())
    training = training_bytes(len(split.labelled), n_rows, width, cache.n_classes)
    judging = judging_bytes(len(split.test), known, width, cache.n_classes)
    before = resident_bytes() + LIBRARIES
    loaded = before + max(LOADING * rows, rows + training, rows + judging)
    streamed = before + max(blocks + training, judging)
    if memory.asked and min(loaded, streamed) > memory.bytes:
        raise UlfineError(
            f"a fit of {len(split.labelled)} labelled and {amount(n_rows, 'unlabelled row')} of {cache.path} takes up "
            f"to {readable(min(loaded, streamed))}, more than {readable(memory.bytes)}: raise --memory"
        )
    if loaded <= streamed:
        return False
    return loaded > memory.bytes or (device.startswith("cuda") and rows > _free_on_gpu(device) / 2)


def note_streaming(data: TrainingData, memory: MemoryBound, progress: Progress) -> None:
    """Say that unlabelled rows stay on the disk, why, and what holds."""
    size = readable(4 * len(data.unlabelled) * data.n_features)
    progress.note(
        f"the {amount(len(data.unlabelled), 'unlabelled row')} ({size}) stay on the disk and are read block by block, "
        f"to keep resident memory below {readable(memory.bytes)} (--memory)"
    )


def training_bytes(labelled: int, unlabelled: int, n_features: int, n_classes: int) -> int:
    """An estimate from above of what training holds besides the unlabelled rows, for one seed.

    Five copies of the labelled rows (as they come, at unit length, without folds) with their logits; the sample of the
    rounds with three sets of pseudo-labels for each problem; eight matrices of each problem.
    What more seeds hold, a model each at least, depends on the method and is not counted.
    """
    sample = min(sample_size(n_features, n_classes), unlabelled)
    return 4 * (
        labelled * (5 * n_features + 4 * PROBLEMS * n_classes)
        + sample * (2 * n_features + 3 * PROBLEMS * n_classes)
        + PROBLEMS * (8 * n_features**2 + 16 * n_classes * n_features)
    )


def judging_bytes(test: int, known: int, n_features: int, n_classes: int) -> int:
    """An estimate from above of what judging holds: a block of rows, predictions of test and other known rows.

    Args:
        test: Test rows, whose probabilities are kept.
        known: Unlabelled rows whose truth is known: 60 bytes each for what is compared with it.
        n_features: D.
        n_classes: C.
    """
    block = min(BLOCK_ROWS, max(test, known))
    return 4 * (block * (3 * n_features + 3 * n_classes) + 3 * test * n_classes) + 60 * known


def _free_on_gpu(device: str) -> int:
    import torch

    return torch.cuda.mem_get_info(device)[0]
