import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, recall_score

from ulfine_fast.judging.metrics import SCALARS, calibration_error, class_groups, evaluate_predictions


def random_case(n_rows=200, n_classes=7, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_classes), generator.integers(0, n_classes, n_rows - n_classes)])
    logits = generator.normal(size=(n_rows, n_classes)) + 1.5 * np.eye(n_classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return probabilities.astype(np.float32), labels


def names(n_classes):
    return [f"class {k}" for k in range(n_classes)]


def test_evaluate_predictions__agrees_with_scikit_learn():
    probabilities, labels = random_case()
    counts = [150, 101, 100, 40, 20, 19, 3]
    figures = evaluate_predictions(probabilities, labels, counts, names(7))
    predicted = probabilities.argmax(1)
    assert figures["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert figures["macro_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(1, keepdims=True)
    assert figures["nll"] == pytest.approx(log_loss(labels, exact), rel=1e-6)
    recalls = recall_score(labels, predicted, average=None)
    assert [entry["recall"] for entry in figures["per_class"]] == pytest.approx(list(recalls))
    assert figures["head_accuracy"] == pytest.approx(recalls[:3].mean())
    assert figures["medium_accuracy"] == pytest.approx(recalls[3:5].mean())
    assert figures["tail_accuracy"] == pytest.approx(recalls[5:].mean())
    assert figures["many_accuracy"] == pytest.approx(recalls[:2].mean())
    assert figures["median_accuracy"] == pytest.approx(recalls[2:5].mean())
    assert figures["few_accuracy"] == pytest.approx(recalls[5:].mean())
    assert figures["test_rows"] == 200
    assert figures["absent_classes"] == []
    assert figures["per_class"][1]["labelled"] == 101


def test_evaluate_predictions__names_of_the_figures():
    """They are written to metrics.json and read by other programs."""
    probabilities, labels = random_case()
    figures = evaluate_predictions(probabilities, labels, [9] * 7, names(7))
    accuracies = ("", "macro_", "head_", "medium_", "tail_", "many_", "median_", "few_")
    assert list(SCALARS) == [*(f"{of}accuracy" for of in accuracies), "ece", "nll"]
    assert list(figures) == [*SCALARS, "test_rows", "absent_classes", "per_class"]


def test_evaluate_predictions__absent_class_leaves_the_means_and_is_named():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1]])
    figures = evaluate_predictions(probabilities, np.array([0, 0]), [9, 5, 1], names(3))
    assert figures["macro_accuracy"] == 0.5
    assert figures["head_accuracy"] == 0.5
    assert figures["tail_accuracy"] is None
    assert figures["many_accuracy"] is None
    assert figures["absent_classes"] == ["class 1", "class 2"]
    assert figures["per_class"][2] == {"name": "class 2", "labelled": 1, "test_rows": 0, "recall": None}


def test_evaluate_predictions__no_rows_gives_none():
    figures = evaluate_predictions(np.empty((0, 3)), np.empty(0, dtype=int), [3, 2, 1], names(3))
    assert {figures[name] for name in SCALARS} == {None}
    assert figures["test_rows"] == 0


def test_evaluate_predictions__zero_probability_of_the_truth_stays_finite():
    figures = evaluate_predictions(np.array([[1.0, 0.0]], dtype=np.float32), np.array([1]), [1, 1], names(2))
    assert figures["nll"] == pytest.approx(log_loss([1], np.array([[1, 0]], dtype=np.float32), labels=[0, 1]), rel=1e-5)


def test_calibration_error__by_hand():
    # Bins of width 1/15. 0.95 and 0.96 fall in (14/15, 1], 0.62 in (9/15, 10/15].
    probabilities = np.array([[0.95, 0.05], [0.96, 0.04], [0.38, 0.62], [0.62, 0.38]])
    labels = np.array([0, 1, 1, 1])
    by_hand = 2 / 4 * abs(1 / 2 - (0.95 + 0.96) / 2) + 2 / 4 * abs(1 / 2 - 0.62)
    assert calibration_error(probabilities, labels) == pytest.approx(by_hand)


def test_calibration_error__perfect_and_worst():
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert calibration_error(sure, np.array([0, 1])) == 0.0
    assert calibration_error(sure, np.array([1, 0])) == 1.0


def test_calibration_error__bins_by_loop():
    probabilities, labels = random_case(seed=3)
    confidence, correct = probabilities.max(1).astype(float), probabilities.argmax(1) == labels
    error = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert calibration_error(probabilities, labels) == pytest.approx(error, abs=1e-9)


def test_class_groups__ties_by_index_and_odd_thirds():
    groups = class_groups([5, 9, 5, 9, 5, 1, 1, 1, 1, 1])
    assert groups["head"].tolist() == [0, 1, 2, 3]
    assert groups["medium"].tolist() == [4, 5, 6]
    assert groups["tail"].tolist() == [7, 8, 9]


def test_class_groups__two_classes_have_no_tail():
    groups = class_groups([1, 9])
    assert (groups["head"].tolist(), groups["medium"].tolist(), groups["tail"].tolist()) == ([1], [0], [])


@given(st.lists(st.integers(0, 300), min_size=1, max_size=40))
def test_class_groups__partition_in_rank_order(counts):
    groups = class_groups(counts)
    for parts in (("head", "medium", "tail"), ("many", "median", "few")):
        together = sorted(k for part in parts for k in groups[part].tolist())
        assert together == list(range(len(counts)))
    sizes = [len(groups[name]) for name in ("head", "medium", "tail")]
    assert max(sizes) - min(sizes) <= 1
    for larger, smaller in (("head", "medium"), ("medium", "tail"), ("many", "median"), ("median", "few")):
        if len(groups[larger]) and len(groups[smaller]):
            assert min(counts[k] for k in groups[larger]) >= max(counts[k] for k in groups[smaller])


@given(st.permutations(range(6)))
def test_evaluate_predictions__macro_ignores_the_order_of_rows(order):
    probabilities, labels = random_case(n_rows=6, n_classes=3, seed=1)
    order = list(order)
    one = evaluate_predictions(probabilities, labels, [3, 2, 1], names(3))
    other = evaluate_predictions(probabilities[order], labels[order], [3, 2, 1], names(3))
    for name in SCALARS:
        assert one[name] == pytest.approx(other[name])


def test_calibration_error__certainty_shares_the_last_bin():
    probabilities = np.array([[1.0, 0.0], [0.95, 0.05]])
    assert calibration_error(probabilities, np.array([1, 0])) == pytest.approx(abs(1 / 2 - (1.0 + 0.95) / 2))


def test_calibration_error__each_of_the_fifteen_bins_counts_for_itself():
    """One row in the middle of every bin, right and wrong in turn: rows of two bins together would make up for it."""
    confidence = (np.arange(15) + 0.5) / 15
    n_classes = 60  # the confidence of the first bin, 1/30, still is the largest of its row
    probabilities = np.tile((1 - confidence)[:, None] / (n_classes - 1), n_classes)
    probabilities[:, 0] = confidence
    labels = np.arange(15) % 2
    expected = np.abs((labels == 0) - confidence).mean()
    assert calibration_error(probabilities, labels) == pytest.approx(expected)


def test_evaluate_predictions__a_class_of_one_test_row_counts_like_the_others():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])
    figures = evaluate_predictions(probabilities, np.array([0, 0, 1]), [9, 5], names(2))
    assert figures["macro_accuracy"] == 0.5
    assert figures["medium_accuracy"] == 0.0
