"""`with_test_prior`: the rule of the command line on a fitted estimator, by a copy."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

from ulfine_cache.errors import UlfineError
from ulfine_fast.estimator import ULFineClassifier
from ulfine_fast.priors.class_prior import estimate_prior

CLASSES = ("ash", "birch", "cedar", "date palm", "elm", "fig")


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(6, 16))
    labels = np.repeat(np.arange(6), [30, 20, 10, 8, 5, 3])
    return centres[labels] + 1.5 * generator.normal(size=(76, 16)), np.array(CLASSES)[labels]


@pytest.fixture(scope="module")
def probe(rows):
    return ULFineClassifier("lp").fit(*rows)


def odds(classifier, X):
    probabilities = classifier.predict_proba(X)
    return np.log(probabilities / probabilities[:, :1])


def test_with_test_prior__is_bayes_rule(probe, rows):
    X, _ = rows
    before = probe.predict_proba(X)
    counts = np.array([30, 20, 10, 8, 5, 3])
    weights = np.array([1, 2, 3, 4, 5, 6.0])
    for prior, target in (
        ("uniform", np.ones(6)),
        ("labelled", counts),
        (dict(zip(CLASSES, weights, strict=True)), weights),
        (weights, weights),
    ):
        moved = probe.with_test_prior(prior)
        joint = before * target / counts
        np.testing.assert_allclose(moved.predict_proba(X), joint / joint.sum(axis=1, keepdims=True), rtol=1e-6)
        np.testing.assert_allclose(moved.test_prior_, target / target.sum())
        assert (moved.predict(X) == moved.classes_[joint.argmax(axis=1)]).all()
        assert (moved.decision_function(X).argmax(axis=1) == joint.argmax(axis=1)).all()
    np.testing.assert_array_equal(probe.predict_proba(X), before)
    assert not hasattr(probe, "test_prior_")


def test_with_test_prior__of_a_class_of_weight_zero(probe, rows):
    moved = probe.with_test_prior({name: float(name != "ash") for name in CLASSES})
    assert "ash" in probe.predict(rows[0])
    assert "ash" not in moved.predict(rows[0])


def test_with_test_prior__estimates_from_rows(probe, rows):
    X, _ = rows
    counts = np.array([30, 20, 10, 8, 5, 3])
    expected = estimate_prior(probe.decision_function(X), counts / counts.sum())
    np.testing.assert_allclose(probe.with_test_prior("estimate", X).test_prior_, expected)
    # From a moved copy it starts again at the fit.
    again = probe.with_test_prior("uniform").with_test_prior("estimate", X)
    np.testing.assert_allclose(again.test_prior_, expected)
    np.testing.assert_allclose(odds(again, X), odds(probe.with_test_prior("estimate", X), X))


def test_with_test_prior__two_classes(rows):
    X, y = rows
    two = np.isin(y, CLASSES[:2])
    moved = ULFineClassifier("lp").fit(X[two], y[two]).with_test_prior([0.0, 1.0])
    assert (moved.decision_function(X) > 0).all()


def test_with_test_prior__copies_clones_and_fits(probe, rows, tmp_path):
    X, y = rows
    moved = probe.with_test_prior("uniform")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(moved)).predict_proba(X), moved.predict_proba(X))
    assert not hasattr(clone(moved), "test_prior_")
    moved.fit(X, y)
    assert not hasattr(moved, "test_prior_")
    np.testing.assert_array_equal(moved.predict_proba(X), probe.predict_proba(X))
    with pytest.raises(UlfineError, match="a run keeps the model as fitted"):
        probe.with_test_prior("uniform").save(tmp_path / "run")


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ("often", "prior is 'often'"),
        ("estimate", "needs X"),
        ({"ash": 1.0}, "'birch' is in one only"),
        ([1.0] * 5, "6 finite weights"),
        ([1, 1, 1, 1, 1, -1], "6 finite weights"),
        ([1, 1, 1, 1, 1, np.nan], "6 finite weights"),
        ([0] * 6, "not all of them 0"),
    ],
)
def test_with_test_prior__what_is_no_prior(probe, prior, message):
    with pytest.raises(ValueError, match=message):
        probe.with_test_prior(prior)
