"""The scale of the outlier score, and that a fit's left-out energies are those of its model."""

import numpy as np
import pytest
import torch

from ulfine_cache.progress import Silent
from ulfine_fast.deciding.learn_outlier_score import learn_outlier_scale, outlier_figures
from ulfine_fast.judging.outlier_score import OutlierScale, outlier_scores
from ulfine_fast.registry import get_method
from ulfine_fast.rows.training_data import TrainingData


def test_learn_outlier_scale__each_class_counts_the_same():
    # 95 rows of a class at 0 to 94, five of another at 1000: the median is between them.
    energies = np.r_[np.arange(95.0), np.full(5, 1000.0)]
    labels = np.r_[np.zeros(95, int), np.ones(5, int)]
    found = learn_outlier_scale(energies, labels)
    assert found == OutlierScale(94.0, 1000.0)


def test_learn_outlier_scale__too_few_rows_or_all_alike():
    assert learn_outlier_scale(np.arange(19.0), np.zeros(19, int)) is None
    assert learn_outlier_scale(np.ones(50), np.zeros(50, int)) is None


def test_outlier_figures__classes_of_one_image_have_no_say():
    energies, labels = np.r_[np.arange(100.0), 1e6], np.r_[np.zeros(100, int), 1]
    tested = np.array([[-94.5, -1e3], [-93.5, -1e3]])
    found = outlier_figures((energies, labels), np.array([100, 1]), tested)
    assert found == {
        "known_share": 0.95,
        "rows": 100,
        "middle": 49.0,
        "threshold": 94.0,
        "test": {"rows": 2, "above": 1},
    }
    assert outlier_figures((energies, labels), np.array([100, 1]), tested[:0])["test"] is None
    assert outlier_figures((energies[:0], labels[:0]), np.array([100, 1]), tested) is None


def drawn(n_classes, n, centres, generator):
    labels = np.repeat(np.arange(n_classes), n)
    rows = centres[labels] + 0.7 * generator.normal(size=(len(labels), centres.shape[1]))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("width", [24, 400])
@pytest.mark.parametrize("unlabelled", [0, 40])
def test_fit__left_out_energies_are_on_the_scale_of_the_model(text, width, unlabelled):
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(9, width)) * (24 / width) ** 0.5 + 3 * generator.normal(size=width)
    rows, labels = drawn(6, 30, centres[:6], generator)
    data = TrainingData(
        features=torch.as_tensor(rows),
        labels=torch.as_tensor(labels),
        unlabelled=torch.as_tensor(drawn(6, unlabelled, centres[:6], generator)[0]),
        text=torch.nn.functional.normalize(torch.as_tensor(centres[:6]).float(), dim=-1) if text else None,
        class_names=tuple("abcdef"),
    )
    method = get_method("ulfine")
    result = method.fit(data, method.settings(), 0, Silent())
    left_out = result.left_out
    assert left_out is not None
    scale = learn_outlier_scale(left_out.energies(), labels[left_out.averaged()[0]])
    assert scale is not None
    with torch.no_grad():
        known = result.model(torch.as_tensor(drawn(6, 50, centres[:6], generator)[0])).numpy()
        strangers = result.model(torch.as_tensor(drawn(3, 50, centres[6:], generator)[0])).numpy()
    above = (outlier_scores(known, scale) > 1).mean()
    # Without the offsets of the looks it is 0 or 1.
    assert above < 0.2
    assert np.median(outlier_scores(known, scale)) == pytest.approx(0, abs=0.8)
    assert outlier_scores(strangers, scale).mean() > outlier_scores(known, scale).mean()
