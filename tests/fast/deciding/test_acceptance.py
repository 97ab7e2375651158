"""The threshold: what it is learnt from, what few rows can promise, and what it does to other rows."""

import numpy as np
import pytest
from scipy.stats import binomtest

from ulfine_fast.deciding.acceptance import (
    acceptance_figures,
    accepted_figures,
    learn_acceptance,
    lower_bound,
    promised_by_class,
)


def rows(confidence: list[float], right: list[bool], classes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities over three classes of rows of such classes."""
    labels = np.array(classes)
    table = np.zeros((len(labels), 3))
    said = np.where(right, labels, (labels + 1) % 3)
    rest = (1 - np.array(confidence)) / 2
    table[:] = rest[:, None]
    table[np.arange(len(labels)), said] = confidence
    return table, labels


def test_learn_acceptance__is_the_lowest_that_reaches_the_target():
    table, labels = rows([0.9] * 40 + [0.6] * 40, [True] * 40 + [False] * 40, [0, 1] * 40)
    found = learn_acceptance(table, labels, 0.9)
    assert found is not None
    assert (found.threshold, found.accepted, found.coverage, found.accuracy) == (0.9, 40, 0.5, 1.0)
    easy = learn_acceptance(table, labels, 0.5)
    assert easy is not None
    assert (easy.threshold, easy.accepted) == (0.0, 80)


def test_learn_acceptance__each_class_counts_the_same():
    # Ninety easy rows of one class hide that the ten of the other are wrong every other time.
    confidence = [0.95] * 90 + [0.9] * 10
    table, labels = rows(confidence, [True] * 90 + [True, False] * 5, [0] * 90 + [1] * 10)
    found = learn_acceptance(table, labels, 0.9)
    assert found is not None
    assert found.threshold == 0.95
    assert accepted_figures(table, labels, 0.0)["accuracy"] == 0.95


def test_learn_acceptance__a_few_right_rows_at_the_top_do_not_settle_it():
    table, labels = rows([0.99, 0.98] + [0.5] * 40, [True] * 2 + [False] * 40, [0, 1] * 21)
    found = learn_acceptance(table, labels, 0.9)
    assert found is not None
    assert (found.accepted, found.coverage, found.accuracy, found.promised) == (0, 0.0, None, 0.0)
    assert not (table.max(axis=1) >= found.threshold).any()


def test_learn_acceptance__promise_is_that_of_clopper_and_pearson():
    table, labels = rows([0.9] * 12, [True] * 12, [0, 1] * 6)
    found = learn_acceptance(table, labels, 0.95)
    assert found is not None
    exact = binomtest(12, 12, alternative="greater").proportion_ci(0.95, "exact").low
    assert found.promised == pytest.approx(exact)
    assert found.promised < 0.95
    assert found.rows_to_promise == 59
    assert lower_bound(55, 60) == pytest.approx(binomtest(55, 60, alternative="greater").proportion_ci().low)


def test_acceptance_figures__classes_of_one_image_have_no_say():
    table, labels = rows([0.9] * 5, [True] * 5, [0, 0, 1, 1, 2])
    found = acceptance_figures((table, labels), (table, labels), np.array([2, 2, 1]), 0.9)
    assert found is not None
    assert (found["rows"], found["test"]["rows"]) == (4, 5)
    nobody = (table[:0], labels[:0])
    assert acceptance_figures(nobody, nobody, np.array([2, 2, 1]), 0.9) is None


def test_promised_by_class__says_how_little_few_rows_promise():
    table = np.array([[0.9, 0.1]] * 59 + [[0.2, 0.8]] * 3 + [[0.45, 0.55]])
    labels = np.array([0] * 59 + [1, 1, 0] + [1])
    first, second = promised_by_class(table, labels, 0.6)
    assert (first["accepted"], first["right"]) == (59, 59)
    assert first["promised"] == pytest.approx(0.05 ** (1 / 59))
    assert (second["accepted"], second["right"]) == (3, 2)
    # P(at least 2 of 3 right) is 5 % at this accuracy.
    low = second["promised"]
    assert 3 * low**2 * (1 - low) + low**3 == pytest.approx(0.05)
    assert promised_by_class(table, labels, 1.0) == [{"accepted": 0, "right": 0, "promised": 0.0}] * 2
