"""A fit of features so wide that their covariance has no room: one line before it begins."""

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_fast.estimator import ULFineClassifier
from ulfine_fast.registry import METHODS, get_method
from ulfine_fast.rows.memory_bound import free_bytes
from ulfine_fast.rows.training_data import make_training_data

GIGANTIC = 400_000
"""Numbers of a feature: one matrix of that width has 640 GB."""


def rows(width, n_labelled=6, n_unlabelled=4):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(n_labelled + n_unlabelled, width)).astype(np.float32)
    return features, np.array(["a", "b"] * (n_labelled // 2) + ["-1"] * n_unlabelled)


@pytest.mark.parametrize("method", ["ulfine", "gda"])
def test_fit__refuses_before_it_begins(method):
    X, y = rows(GIGANTIC)
    with pytest.raises(
        UlfineError, match=rf"{method} on features that are {GIGANTIC} wide takes up to .* GB of memory"
    ):
        ULFineClassifier(method).fit(X, y)


def test_fit__with_a_method_that_needs_no_such_matrix():
    X, y = rows(GIGANTIC)
    assert set(ULFineClassifier("knn").fit(X, y).predict(X)) <= {"a", "b"}


@pytest.mark.parametrize("method", METHODS)
def test_memory__of_usual_features_is_not_worth_a_word(method):
    assert memory(method, 768, 1000, 5000) < 1e9 < free_bytes()


def test_memory__of_ulfine_goes_by_what_the_rows_span():
    few, more, many = (memory("ulfine", 1000, n, 10) for n in (10, 100, 2000))
    assert few < more < many == 4 * 48 * 1000**2


def memory(method, width, n_labelled, n_unlabelled):
    data = make_training_data(
        features=np.ones((n_labelled, width), np.float32),
        labels=np.arange(n_labelled) % 2,
        unlabelled=np.ones((n_unlabelled, width), np.float32),
        text=np.eye(2, width, dtype=np.float32),
        class_names=("a", "b"),
    )
    return get_method(method).memory(data)
