import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as scikit_learns
from sklearn.metrics import precision_score

from ulfine_fast.judging.class_figures import accuracy_intervals, class_details, confusion_matrix
from ulfine_fast.judging.metrics import ACCURACIES, evaluate_predictions

NAMES = ["ash", "birch", "cedar", "elm"]


def rows(n=200, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    predicted = np.where(generator.random(n) < 0.7, labels, generator.integers(0, 3, n))
    return predicted, labels


def test_confusion_matrix__agrees_with_scikit_learn():
    predicted, labels = rows()
    assert confusion_matrix(predicted, labels, 3).tolist() == scikit_learns(labels, predicted).tolist()
    assert confusion_matrix(predicted[:0], labels[:0], 3).sum() == 0


def test_class_details__precision_and_what_a_class_is_taken_for():
    predicted, labels = rows()
    confusion = confusion_matrix(predicted, labels, 4)
    found = class_details(confusion, NAMES)
    assert [of["precision"] for of in found[:3]] == pytest.approx(
        list(precision_score(labels, predicted, average=None))
    )
    for k in range(3):
        mistakes = np.delete(np.arange(4), k)
        assert found[k]["confused_with"] == NAMES[mistakes[confusion[k][mistakes].argmax()]]
        assert found[k]["low"] < confusion[k, k] / confusion[k].sum() < found[k]["high"]


def test_class_details__of_a_class_without_rows_nothing_is_said():
    confusion = confusion_matrix(np.array([1, 0]), np.array([0, 0]), 2)
    assert class_details(confusion, NAMES[:2])[1] == {
        "low": None,
        "high": None,
        "precision": None,
        "confused_with": None,
    }
    never_wrong = class_details(confusion_matrix(np.array([0, 1]), np.array([0, 1]), 2), NAMES[:2])
    assert [of["confused_with"] for of in never_wrong] == [None, None]


def test_accuracy_intervals__of_every_accuracy_that_is_defined():
    predicted, labels = rows()
    counts = np.array([150, 50, 10])
    metrics = evaluate_predictions(np.eye(3)[predicted], labels, counts, NAMES[:3])
    found = accuracy_intervals(confusion_matrix(predicted, labels, 3), metrics, counts)
    assert list(found) == list(ACCURACIES)
    for name, interval in found.items():
        assert interval["low"] < metrics[name] < interval["high"]
        assert interval["high"] - interval["low"] == pytest.approx(2 * 1.96 * interval["error"], rel=0.1)
    assert found["tail_accuracy"]["error"] > found["macro_accuracy"]["error"]
    nothing = evaluate_predictions(np.empty((0, 3)), labels[:0], counts, NAMES[:3])
    assert set(accuracy_intervals(np.zeros((3, 3), dtype=int), nothing, counts).values()) == {None}
