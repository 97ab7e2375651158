"""Rows around directions of classes, with and without text, as training data."""

import numpy as np
import torch

from ulfine_fast.rows.training_data import TrainingData

WIDTH = 32


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def rows_of(counts: list[int], seed: int = 0, spread: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows around one direction a class, and their classes. The directions depend on nothing."""
    centres = unit(np.random.default_rng(99).normal(size=(len(counts), WIDTH)))
    labels = np.repeat(np.arange(len(counts)), counts)
    noise = np.random.default_rng(seed).normal(size=(len(labels), WIDTH)) / WIDTH**0.5
    return unit(centres[labels] + spread * noise), labels


def training(
    features: np.ndarray, labels: np.ndarray, n_classes: int, unlabelled: np.ndarray | None = None
) -> TrainingData:
    return TrainingData(
        features=torch.as_tensor(features),
        labels=torch.as_tensor(labels),
        unlabelled=torch.as_tensor(features[:0] if unlabelled is None else unlabelled),
        text=None,
        class_names=tuple(f"class {k}" for k in range(n_classes)),
    )
