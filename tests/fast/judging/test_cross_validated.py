import json

import numpy as np
import pytest

from ulfine_fast.judging.cross_validated import UnlabelledAnswers, cross_validated_figures
from ulfine_fast.judging.intervals import share_interval

NAMES = ["ash", "birch", "cedar"]


def answers(labels, predicted, confidence):
    other = (1 - confidence) / 2
    table = np.tile(other[:, None], (1, 3))
    table[np.arange(len(labels)), predicted] = confidence
    return table.astype(np.float32)


def case():
    """Ash: 40 rows, 36 right; birch: 10 rows, 5 right, else taken for ash; cedar: one image, which is missed."""
    labels = np.repeat([0, 1, 2], [40, 10, 1])
    predicted = labels.copy()
    predicted[:4], predicted[40:45], predicted[50] = 1, 0, 0
    confidence = np.full(51, 0.995)
    confidence[:4] = confidence[40:45] = 0.6
    return answers(labels, predicted, confidence), labels, np.array([40, 10, 1])


def test_cross_validated_figures__a_class_of_one_image_has_no_say():
    found = cross_validated_figures(*case(), NAMES)
    assert (found["rows"], found["classes"]) == (50, 2)
    assert found["accuracy"]["value"] == 41 / 50
    assert found["macro_accuracy"]["value"] == pytest.approx((36 / 40 + 5 / 10) / 2)
    for name in ("accuracy", "macro_accuracy"):
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]
    # The rare class leaves more open than the frequent one's rows would.
    width = {name: found[name]["high"] - found[name]["low"] for name in ("accuracy", "macro_accuracy")}
    assert width["macro_accuracy"] > width["accuracy"]
    ash, birch, cedar = found["per_class"]
    assert (ash["recall"], ash["confused_with"], birch["confused_with"]) == (0.9, "birch", "ash")
    assert (birch["labelled"], birch["rows"], birch["precision"]) == (10, 10, 5 / 9)
    assert cedar == {
        "name": "cedar",
        "labelled": 1,
        "rows": 0,
        **dict.fromkeys(("recall", "low", "high", "precision", "confused_with")),
    }
    assert json.loads(json.dumps(found)) == found


def test_cross_validated_figures__how_many_of_the_confident_are_right():
    table, labels, counts = case()
    found = cross_validated_figures(table, labels, counts, NAMES)["confident"]
    assert (found["threshold"], found["rows"], found["value"]) == (0.99, 41, 1.0)
    assert found["low"] < 0.92
    unsure = cross_validated_figures(np.minimum(table, 0.6), labels, counts, NAMES)["confident"]
    assert (unsure["threshold"], unsure["rows"], unsure["value"]) == (0.5, 50, 41 / 50)


def test_cross_validated_figures__unlabelled_rows_by_the_estimated_shares_of_the_classes():
    shares = {}
    for prior in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)):
        unlabelled = UnlabelledAnswers(np.array([0.995, 0.995, 0.5, 0.5]), 4000, np.array(prior))
        found = cross_validated_figures(*case(), NAMES, unlabelled)["unlabelled"]
        assert (found["rows"], found["confident_rows"]) == (4000, 2000)
        assert found["mean_confidence"] == pytest.approx(0.7475)
        shares[prior.index(1.0)] = found["expected_accuracy"]
    assert shares[0]["value"] == pytest.approx(0.9, abs=0.01)
    assert shares[1]["value"] == pytest.approx(0.5, abs=0.06)
    assert shares[1]["high"] - shares[1]["low"] > shares[0]["high"] - shares[0]["low"]


def test_cross_validated_figures__one_image_a_class_says_nothing():
    table, labels, _ = case()
    assert cross_validated_figures(table[[0, 40, 50]], labels[[0, 40, 50]], np.array([1, 1, 1]), NAMES) is None


def test_cross_validated_figures__the_high_end_allows_for_images_that_a_fold_lacked():
    table, labels, counts = case()
    whole = cross_validated_figures(table, labels, counts, NAMES)
    half = cross_validated_figures(table, labels, counts, NAMES, known=np.full(len(labels), 0.5))
    for name in ("accuracy", "macro_accuracy"):
        assert half[name]["value"] == whole[name]["value"]
        assert half[name]["low"] == whole[name]["low"]
        assert half[name]["high"] > whole[name]["high"] + 0.02
    # Half of the errors are left at the best: 38 of 40 and 7.5 of 10 right.
    assert half["per_class"][1]["high"] == pytest.approx(share_interval(0.75, 10)["high"])
    assert half["accuracy"]["high"] == pytest.approx(share_interval(45.5 / 50, 50)["high"])


def test_cross_validated_figures__rows_of_a_group_that_are_alike_leave_more_open():
    table, labels, counts = case()
    # The first ash is wrong, and so are those of its camera.
    found = [
        cross_validated_figures(table, labels, counts, NAMES, groups=groups)
        for groups in (np.arange(51), np.repeat([0, 1, 2, 3, 4, 5], [4, 36, 5, 2, 3, 1]))
    ]
    widths = [of["accuracy"]["high"] - of["accuracy"]["low"] for of in found]
    assert widths[1] > 1.3 * widths[0]
    assert all(of["by_group"] for of in found)
