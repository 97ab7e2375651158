"""Every row is looked at by fits that did not see it, in one group or in many."""

import numpy as np
import torch

from tests.fast.inspecting.made import rows_of, training
from ulfine_cache.progress import Silent
from ulfine_fast.inspecting import left_out_rows as module
from ulfine_fast.inspecting.left_out_rows import left_out_rows


def test_left_out_rows__are_distributions_and_mostly_right():
    features, labels = rows_of([12, 8, 5])
    found = left_out_rows(training(features, labels, 3), 0, Silent())
    assert np.allclose(np.exp(found.log_probabilities).sum(1), 1)
    assert (found.log_probabilities.argmax(1) == labels).mean() > 0.9
    assert found.judged.all()


def test_left_out_rows__a_row_does_not_speak_for_itself():
    """A row far from all of its class: its own fit would know it."""
    features, labels = rows_of([10, 10, 10])
    lonely = np.zeros_like(features[0])
    lonely[0] = 1
    features[0] = lonely
    data = training(features, labels, 3)
    left_out = left_out_rows(data, 0, Silent()).log_probabilities[0, 0]
    from ulfine_fast.registry import get_method

    method = get_method("ulfine")
    seen = torch.log_softmax(method.fit(data, method.settings(), 0, Silent()).model(data.features[:1]), -1)[0, 0]
    assert left_out < float(seen) - 0.3


def test_left_out_rows__groups_hold_every_row_and_all_of_rare_classes(monkeypatch):
    monkeypatch.setattr(module, "GROUP_ROWS", 40)
    monkeypatch.setattr(module, "FEW", 3)
    features, labels = rows_of([60, 30, 5])
    groups = module._groups(labels, 3, np.random.default_rng(0))
    assert len(groups) == 3
    assert set(np.concatenate(groups).tolist()) == set(range(95))
    assert all((labels[rows] == 2).sum() == 5 for rows in groups)
    found = left_out_rows(training(features, labels, 3), 0, Silent())
    assert (found.log_probabilities.argmax(1) == labels).mean() > 0.9
