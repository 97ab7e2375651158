"""A threshold for each class: learnt from the answers that name it, where there are enough of them."""

import numpy as np
import pytest

from ulfine_fast.deciding.acceptance import acceptance_figures
from ulfine_fast.deciding.class_thresholds import answers_to_judge, learn_class_thresholds
from ulfine_fast.judging.accepted_rows import accepted_rows


def answered(*groups: tuple[int, int, float, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows over three classes, of groups of (answer, true class, confidence, how many)."""
    table, labels = [], []
    for answer, label, confidence, count in groups:
        row = np.full(3, (1 - confidence) / 2)
        row[answer] = confidence
        table += [row] * count
        labels += [label] * count
    return np.array(table), np.array(labels)


# Class 0 is right from 0.9 on, class 1 always, class 2 is seldom answered.
ROWS = ((0, 0, 0.9, 60), (0, 1, 0.6, 20), (1, 1, 0.5, 40), (2, 2, 0.8, 5), (1, 2, 0.4, 1))


def test_learn_class_thresholds__each_class_has_its_own():
    table, labels = answered(*ROWS[:3], ROWS[3])
    thresholds, counts = learn_class_thresholds(table, labels, 0.95, 0.7)
    assert (thresholds, counts) == ([0.9, 0.0, 0.7], [80, 40, 5])


def test_learn_class_thresholds__none_is_enough():
    table, labels = answered((0, 0, 0.9, 15), (0, 1, 0.95, 15), (1, 1, 0.5, 40))
    thresholds, _ = learn_class_thresholds(table, labels, 0.95, 0.7)
    assert thresholds[0] > 1
    assert not accepted_rows(table[:30], thresholds).any()


def test_learn_class_thresholds__true_classes_count_the_same():
    # Two of 40 answers are wrong, 5 %, but these are all that is known of their class.
    table, labels = answered((0, 0, 0.9, 38), (0, 2, 0.6, 2), (1, 1, 0.9, 40))
    thresholds, _ = learn_class_thresholds(table, labels, 0.9, 0.7)
    assert thresholds[0] == 0.9


@pytest.mark.parametrize("target", [0.9, 0.95, 0.99])
def test_answers_to_judge__is_that_of_split_conformal_prediction(target: float):
    needed = answers_to_judge(target)
    assert needed / (needed + 1) >= target - 1e-9
    assert needed == 10 or (needed - 1) / needed < target


def test_answers_to_judge__at_the_edge_of_enough():
    needed = answers_to_judge(0.9)
    for count, own in ((needed - 1, 0.7), (needed, 0.0)):
        table, labels = answered((0, 0, 0.9, count), (1, 1, 0.9, 30))
        assert learn_class_thresholds(table, labels, 0.9, 0.7)[0][0] == own


def test_accepted_rows__is_as_precise_as_the_probabilities():
    table = np.array([[0.7, 0.3], [0.1, 0.9]], np.float32)
    assert accepted_rows(table, [float(np.float32(0.7)), 0.9]).tolist() == [True, True]
    assert accepted_rows(table, 0.8).tolist() == [False, True]
    assert accepted_rows(table[:0], [0.1, 0.1]).shape == (0,)


def test_acceptance_figures__by_class():
    table, labels = answered(*ROWS)
    counts = np.array([60, 60, 6])
    found = acceptance_figures((table, labels), (table, labels), counts, 0.95, "class")
    plain = acceptance_figures((table, labels), (table, labels), counts, 0.95)
    assert found is not None and plain is not None
    assert (found["threshold"], found["answers_to_judge"]) == (plain["threshold"], 19)
    assert [entry["answers"] for entry in found["by_class"]] == [80, 41, 5]
    assert [entry["judged"] for entry in found["by_class"]] == [True, True, False]
    thresholds = [entry["threshold"] for entry in found["by_class"]]
    assert thresholds[2] == plain["threshold"]
    accepted = accepted_rows(table, thresholds)
    assert found["accepted"] == accepted.sum() == sum(entry["accepted"] for entry in found["by_class"])
    assert found["test"]["accepted"] == found["accepted"]
    # Nothing is new where nobody asks for it.
    assert "answers_to_judge" not in plain
    assert set(plain["by_class"][0]) == {"accepted", "right", "promised"}
