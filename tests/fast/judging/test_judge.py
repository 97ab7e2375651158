import numpy as np
import pytest

from ulfine_cache.progress import Silent
from ulfine_fast.judging import judge as evaluation
from ulfine_fast.judging.judge import judge
from ulfine_fast.methods.zero_shot import METHOD
from ulfine_fast.rows.training_data import load_training_data


@pytest.fixture
def model(opened):
    return METHOD.fit(load_training_data(opened, opened.read_split("lt")), METHOD.settings(), 0, Silent()).model


def test_judge__blocks_change_nothing(opened, model, monkeypatch):
    split = opened.read_split("lt")
    counts = np.array(split.protocol["drawn"]["labelled_counts"])
    whole = judge(model, opened, split, counts)
    monkeypatch.setattr(evaluation, "BLOCK_ROWS", 7)
    blocks = judge(model, opened, split, counts)
    assert blocks.probabilities == pytest.approx(whole.probabilities, abs=1e-6)
    assert blocks.metrics["per_class"] == whole.metrics["per_class"]
    assert blocks.metrics["pseudo_labels"]["tail"] == pytest.approx(whole.metrics["pseudo_labels"]["tail"])


def test_judge__threshold_decides_which_pseudo_labels_are_used(opened, model):
    split = opened.read_split("lt")
    counts = np.array(split.protocol["drawn"]["labelled_counts"])
    used = [
        judge(model, opened, split, counts, threshold=value).metrics["pseudo_labels"]["all"]["used"]
        for value in (0.0, 0.7, 1.1)
    ]
    assert used[0] == 1.0
    assert used[2] == 0.0
    assert judge(model, opened, split, counts).metrics["pseudo_labels"]["all"]["used"] == used[1]
