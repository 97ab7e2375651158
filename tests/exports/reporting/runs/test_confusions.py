"""Confused pairs, against a count by hand."""

import numpy as np

from ulfine_exports.reporting.runs.confusions import confusions, taken_for
from ulfine_exports.reporting.runs.judged_rows import JudgedRows


def judged(pairs, confidences):
    """Rows of three classes, each with its truth, what it was taken for, and how surely."""
    truth, predicted = np.array(pairs).T
    probabilities = np.full((len(pairs), 3), 0.0, np.float32)
    for row, confidence in enumerate(confidences):
        probabilities[row] = (1 - confidence) / 2
        probabilities[row, predicted[row]] = confidence
    return JudgedRows(np.arange(len(pairs)) + 10, truth, probabilities, {}, len(pairs))


def test_confusions__most_rows_first_and_the_surest_of_each():
    rows = judged([(0, 1), (0, 1), (0, 0), (1, 2), (2, 2), (2, 0), (2, 0)], [0.6, 0.9, 1, 0.5, 1, 0.7, 0.8])
    found = confusions(rows, 3, most=8)
    # Two of the three of class 0, two of the three of class 2, one of the one of class 1.
    assert [(pair.truth, pair.predicted, pair.count, pair.of) for pair in found] == [
        (0, 1, 2, 3),
        (2, 0, 2, 3),
        (1, 2, 1, 1),
    ]
    assert found[0].places.tolist() == [1, 0]
    assert found[1].places.tolist() == [6, 5]
    assert len(confusions(rows, 3, most=1)) == 1


def test_confusions__of_equal_counts_the_larger_share_first():
    rows = judged([(0, 1), (0, 0), (0, 0), (2, 0)], [0.9] * 4)
    assert [pair.truth for pair in confusions(rows, 3, most=8)] == [2, 0]


def test_taken_for():
    rows = judged([(0, 1), (0, 2), (0, 2), (1, 1)], [0.9] * 4)
    assert taken_for(rows, 3) == [2, None, None]
    assert confusions(judged([(1, 1)], [0.9]), 3, most=3) == []
