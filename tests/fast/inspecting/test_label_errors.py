"""Planted labels are found, rare classes are not blamed, and what cannot be judged is said."""

import sys

import numpy as np
import pytest

from tests.fast.inspecting.made import rows_of, training
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Silent
from ulfine_fast.inspecting.label_errors import CONFUSABLE, _confusion, find_label_errors

COUNTS = [24, 16, 10, 6, 4]


@pytest.fixture(scope="module")
def planted():
    features, true = rows_of(COUNTS)
    given = true.copy()
    given[[3, 20, 30, 45]] = [4, 2, 0, 1]
    return find_label_errors(training(features, given, len(COUNTS)), 0, Silent()), true, given


def test_find_label_errors__puts_planted_labels_first(planted):
    found, true, given = planted
    assert set(found.order()[:4].tolist()) == set(np.flatnonzero(true != given).tolist())


def test_find_label_errors__suggests_the_true_class(planted):
    found, true, given = planted
    wrong = true != given
    assert found.suggestions[wrong].tolist() == true[wrong].tolist()


def test_find_label_errors__suspects_the_planted_and_hardly_others(planted):
    found, true, given = planted
    assert found.suspected()[true != given].all()
    assert found.suspected().sum() <= 6


def test_find_label_errors__neighbours_of_a_wrong_label_disagree(planted):
    found, true, given = planted
    wrong = true != given
    assert found.agreeing[wrong].max() < found.agreeing[~wrong].mean()


def test_find_label_errors__is_the_same_again():
    features, labels = rows_of(COUNTS)
    data = training(features, labels, len(COUNTS))
    first, second = (find_label_errors(data, 3, Silent()) for _ in range(2))
    assert np.array_equal(first.scores, second.scores)


def test_find_label_errors__the_only_row_of_a_class_without_text_cannot_be_judged():
    features, labels = rows_of([8, 8, 1])
    found = find_label_errors(training(features, labels, 3), 0, Silent())
    assert np.isnan(found.scores[16]) and np.isnan(found.self_confidence[16])
    assert found.order()[-1] == 16 and not found.suspected()[16]
    assert found.suggestions[16] == 2


def test_confusion__is_a_distribution_over_other_classes_that_prefers_like_ones():
    features, labels = rows_of([6, 6, 6, 6])
    features[labels == 1] = 0.9 * features[labels == 0] + 0.1 * features[labels == 1]
    table = _confusion(training(features, labels, 4))
    assert table.sum(1) == pytest.approx(np.ones(4))
    assert not table.diagonal().any()
    assert table[0].argmax() == 1
    assert table[0, 2] >= (1 - CONFUSABLE) / 3


def test_find_label_errors__says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    features, labels = rows_of([4, 4])
    with pytest.raises(UlfineError, match=r"pip install 'ulfine-fast\[inspect\]'"):
        find_label_errors(training(features, labels, 2), 0, Silent())
