"""Every method of the registry on the least that training data may be."""

import numpy as np
import pytest
import torch

from ulfine_cache.progress import Silent
from ulfine_fast.registry import METHODS, get_method
from ulfine_fast.rows.training_data import make_training_data
from ulfine_fast.training import train

CLASSES = ("ash", "birch", "cedar", "date palm", "elm", "fig")
CASES = {
    "no text": {"text": False},
    "no unlabelled rows": {"unlabelled": 0},
    "nothing but labelled rows": {"unlabelled": 0, "text": False},
    "one labelled row per class": {"labels": range(6)},
    "one labelled row per class and no text": {"labels": range(6), "text": False},
    "classes without labelled rows": {"labels": [0, 0, 0, 2, 2, 5]},
    "two classes with labelled rows": {"labels": [1, 1, 1, 4]},
    "one class with labelled rows": {"labels": [3, 3, 3]},
    "one labelled row": {"labels": [3], "unlabelled": 0},
    "the same row again and again": {"labels": [0, 0, 1, 1, 1, 2, 3, 4, 5], "spread": 0.0},
}


def scarce(labels=(0,) * 7 + (1,) * 5 + (2,) * 3 + (3,) * 2 + (4, 5), text=True, unlabelled=20, spread=0.5):
    generator = np.random.default_rng(0)
    labels = np.asarray(labels)
    centres = generator.normal(size=(6, 16))
    rows = centres[labels] + spread * generator.normal(size=(len(labels), 16))
    others = centres[np.arange(unlabelled) % 6] + spread * generator.normal(size=(unlabelled, 16))
    return make_training_data(
        features=rows,
        labels=labels,
        unlabelled=others,
        text=centres + 0.5 * generator.normal(size=centres.shape) if text else None,
        class_names=CLASSES,
    )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", METHODS)
def test_fit__scarce_data(name, case):
    method = get_method(name)
    result = train(method, method.settings(), scarce(**CASES[case]), 0, Silent())
    rows = torch.randn(9, 16, generator=torch.Generator().manual_seed(1))
    assert result.model(rows).shape == (9, 6)
    assert torch.isfinite(result.model(rows)).all()
    np.testing.assert_allclose(result.model.probabilities(rows).sum(-1), 1.0, atol=1e-5)
    parts = result.model.parts(rows)
    if parts:
        np.testing.assert_allclose(sum(parts.values()), result.model(rows), atol=1e-3)
