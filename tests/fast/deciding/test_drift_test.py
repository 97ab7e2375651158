"""Permutation tests of drift: their level, what they find, and which question answers."""

import numpy as np
import pytest

from ulfine_fast.deciding.drift_test import ALARM, compare_rows


def rows(generator: np.random.Generator, n: int, shift: float = 0.0) -> np.ndarray:
    found = generator.normal(size=(n, 12)) + 0.5
    found[:, 0] += shift
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_compare_rows__unchanged_rows_raise_few_alarms():
    generator = np.random.default_rng(0)
    alarms = 0
    for seed in range(60):
        classes = generator.integers(0, 5, 180)
        pool = rows(generator, 180)
        alarms += compare_rows(pool[:150], pool[150:], classes[:150], classes[150:], 5, seed).alarm
    assert alarms / 60 < ALARM + 0.06


def test_compare_rows__finds_what_has_moved():
    generator = np.random.default_rng(1)
    nobody = np.zeros(200, int)
    found = compare_rows(rows(generator, 200), rows(generator, 40, 2.0), nobody, nobody[:40], 1)
    assert found.alarm
    assert "features" in found.changed
    assert "classes" not in found.changed
    assert found.figures()["p_values"]["features"] < 0.01


def test_compare_rows__finds_a_change_without_a_shift():
    """Same mean, but nothing in between: what a camera does that blurs."""
    generator = np.random.default_rng(2)
    spread = generator.normal(size=(300, 3))
    spread /= np.linalg.norm(spread, axis=1, keepdims=True)
    tight = np.sign(generator.normal(size=(60, 3))) + 0.05 * generator.normal(size=(60, 3))
    tight /= np.linalg.norm(tight, axis=1, keepdims=True)
    nobody = np.zeros(300, int)
    assert "neighbours" in compare_rows(spread, tight, nobody, nobody[:60], 1).changed


def test_compare_rows__finds_a_class_that_is_twice_as_frequent():
    generator = np.random.default_rng(3)
    former, new = generator.choice(4, 400, p=[0.2, 0.3, 0.3, 0.2]), generator.choice(4, 200, p=[0.4, 0.2, 0.2, 0.2])
    pool = rows(generator, 600)
    found = compare_rows(pool[:400], pool[400:], former, new, 4)
    assert found.changed == ["classes"]
    assert found.shares[0] == pytest.approx([np.mean(former == 0), np.mean(new == 0)])


def test_compare_rows__one_new_row_and_the_same_seed():
    pool = rows(np.random.default_rng(4), 30)
    nobody = np.zeros(30, int)
    found = [compare_rows(pool[:29], pool[29:], nobody[:29], nobody[29:], 1, seed=7) for _ in range(2)]
    assert found[0].p_values == found[1].p_values
    assert found[0].distances.shape == (1,)
