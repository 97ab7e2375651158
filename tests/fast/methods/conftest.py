from collections.abc import Callable

import numpy as np
import pytest

from ulfine_fast.rows.training_data import TrainingData, make_training_data

CLASSES = ("ash", "birch", "cedar", "date palm", "elm", "fig")
COUNTS = (12, 9, 6, 4, 3, 2)


def _long_tailed(*, text: bool = True, unlabelled: int = 60, seed: int = 0, width: int = 8) -> TrainingData:
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(6, width))
    labels = np.repeat(np.arange(6), COUNTS)
    return make_training_data(
        features=centres[labels] + 0.7 * generator.normal(size=(len(labels), width)),
        labels=labels,
        unlabelled=centres[np.arange(unlabelled) % 6] + 0.7 * generator.normal(size=(unlabelled, width)),
        text=centres + 0.8 * generator.normal(size=centres.shape) if text else None,
        class_names=CLASSES,
    )


@pytest.fixture
def long_tailed() -> Callable[..., TrainingData]:
    """`long_tailed(text=True, unlabelled=60, seed=0, width=8)`: six classes of 12 to 2 labelled rows."""
    return _long_tailed


@pytest.fixture
def new_rows() -> np.ndarray:
    """float32 (25, 8) of unit length, seen by no method."""
    rows = np.random.default_rng(99).normal(size=(25, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
