"""Copies are found, exact and near, leaks come first, and the threshold is right about chance."""

import numpy as np
import pytest

from tests.fast.inspecting.made import rows_of, unit
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.splits import Split
from ulfine_fast.inspecting.duplicates import (
    FALSE,
    NEAR,
    Threshold,
    estimate_threshold,
    find_pairs,
    leaking_rows,
    same_contents,
)


def test_estimate_threshold__keeps_its_rate_of_false_alarms():
    distances = np.exp(np.random.default_rng(0).normal(-2, 0.4, 200_000)).clip(max=1.9)
    found = estimate_threshold(1 - distances[:10_000])
    assert (1 - distances >= found.similarity).mean() == pytest.approx(FALSE, rel=0.5)
    assert found.expected_false == pytest.approx(10)
    assert found.typical == pytest.approx(1 - np.exp(-2), abs=0.01)


def test_estimate_threshold__of_many_images_only_ten_are_expected_by_chance():
    distances = np.exp(np.random.default_rng(0).normal(-2, 0.4, 200_000)).clip(max=1.9)
    found = estimate_threshold(1 - distances)
    assert found.expected_false == pytest.approx(10)
    assert (1 - distances >= found.similarity).sum() < 25


def test_estimate_threshold__some_near_copies_hardly_move_it():
    distances = np.exp(np.random.default_rng(0).normal(-2, 0.4, 1000))
    with_copies = np.concatenate([distances, np.full(50, 1e-4)])
    clean, found = estimate_threshold(1 - distances), estimate_threshold(1 - with_copies)
    assert found.similarity == pytest.approx(clean.similarity, abs=0.02)
    assert found.similarity is not None and found.similarity < 1 - 1e-4


def test_estimate_threshold__few_rows_give_none():
    assert estimate_threshold(np.array([0.5, 0.6])).similarity is None


def test_same_contents__pairs_each_row_with_the_first_of_its_kind():
    assert same_contents([b"a", b"b", b"a", b"", b"a", b""], np.array([2, 0, 1, 3, 4, 5])) == [(2, 0), (2, 4)]


def test_find_pairs__leaks_first_then_exact_then_by_similarity():
    rows, test = np.array([10, 11, 12, 13]), np.array([False, False, False, True])
    hashes = np.array([b""] * 10 + [b"x", b"x", b"y", b"z"])
    similarities = np.array([[1.0], [1.0], [0.97], [0.97]], np.float32)
    neighbours = np.array([[1], [0], [3], [2]])
    pairs = find_pairs(rows, test, hashes, similarities, neighbours, Threshold(0.9, 0.0, 0.5))
    assert [(pair.first, pair.second, pair.kind, pair.leak) for pair in pairs] == [
        (12, 13, "near", True),
        (10, 11, "exact", False),
    ]


def test_find_pairs__below_the_threshold_is_no_pair():
    hashes = np.array([b"x", b"y"])
    found = np.array([[0.95], [0.95]], np.float32)
    for cut, number in ((0.96, 0), (0.94, 1)):
        pairs = find_pairs(
            np.arange(2), np.zeros(2, bool), hashes, found, np.array([[1], [0]]), Threshold(cut, 0.0, 0.5)
        )
        assert [pair.kind for pair in pairs] == [NEAR] * number


def test_leaking_rows__are_test_rows_with_the_content_of_a_training_row(make_cache):
    features, labels = rows_of([6, 6])
    features[11] = features[0]
    cache = FeatureCache.open(make_cache("leak", features=unit(features), labels=labels))
    rows = lambda *of: np.array(of, np.int64)  # noqa: E731
    split = Split("", rows(0, 6), rows(1, 2), rows(), rows(10, 11), {})
    assert leaking_rows(cache, split).tolist() == [11]
    assert leaking_rows(cache, Split("", rows(1, 6), rows(2), rows(), rows(10, 11), {})).tolist() == []
