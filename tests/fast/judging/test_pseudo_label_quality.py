import numpy as np
import pytest

from ulfine_fast.judging.pseudo_label_quality import pseudo_label_quality


def test_pseudo_label_quality__by_hand():
    # Classes by labelled count: 2 head, 0 medium, 1 tail.
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.75, 0.05], [0.8, 0.2, 0.0], [0.4, 0.35, 0.25], [0.1, 0.1, 0.8]])
    truth = np.array([0, 1, 1, 1, 2])
    quality = pseudo_label_quality(probabilities.argmax(1), probabilities.max(1), truth, [5, 1, 9], threshold=0.7)
    assert quality["tail"] == pytest.approx(
        {"rows": 3, "used": 2 / 3, "false_used": 1 / 2, "false": 2 / 3, "false_confidence": (0.8 + 0.4) / 2}
    )
    assert quality["head"] == {"rows": 1, "used": 1.0, "false_used": 0.0, "false": 0.0, "false_confidence": None}
    assert quality["all"]["rows"] == 5
    assert quality["all"]["false"] == pytest.approx(2 / 5)


def test_pseudo_label_quality__rows_of_unknown_truth_are_left_out():
    quality = pseudo_label_quality(np.array([0, 0]), np.array([0.9, 0.9]), np.array([0, -1]), [2, 1])
    assert quality["all"] == {"rows": 1, "used": 1.0, "false_used": 0.0, "false": 0.0, "false_confidence": None}


def test_pseudo_label_quality__nothing_used():
    quality = pseudo_label_quality(np.array([0]), np.array([0.6]), np.array([1]), [2, 1], threshold=0.95)
    assert quality["all"]["used"] == 0.0
    assert quality["all"]["false_used"] is None
    assert quality["tail"]["rows"] == 0
