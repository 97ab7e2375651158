import numpy as np
import pytest
import torch

from ulfine_fast.gradient.pseudo_labels import confident_pseudo_labels, masked_cross_entropy


def test_confident_pseudo_labels__against_probabilities_written_out():
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.15, 0.75], [0.4, 0.5, 0.1], [0.0001, 0.9998, 0.0001]])
    classes, counts = confident_pseudo_labels(probabilities.log() + 3.0, 0.699)
    assert classes.tolist() == [0, 2, 1, 1]
    assert counts.tolist() == [True, True, False, True]


def test_confident_pseudo_labels__limits():
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert confident_pseudo_labels(logits, 0.0)[1].all()
    assert not confident_pseudo_labels(logits, 1.0)[1].any()


def test_masked_cross_entropy__by_hand():
    logits = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    classes, counts = np.array([0, 0, 1]), np.array([True, True, False])
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -(log_p[0, 0] + log_p[1, 0]) / 3  # two rows count, three are there
    found = masked_cross_entropy(torch.tensor(logits), torch.tensor(classes), torch.tensor(counts))
    assert float(found) == pytest.approx(expected)
    assert (
        float(masked_cross_entropy(torch.tensor(logits), torch.tensor(classes), torch.zeros(3, dtype=torch.bool))) == 0
    )
