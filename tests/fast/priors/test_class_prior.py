"""The rule of the test-time prior against an independent computation of Bayes' rule, and the estimate against truth."""

import numpy as np
import pytest
import torch

from ulfine_fast.priors.class_prior import (
    answered_prior,
    estimate_prior,
    prior_figures,
    prior_of_weights,
    prior_shift,
    probabilities_under,
)
from ulfine_fast.priors.logit_adjustment import log_prior
from ulfine_fast.registry import METHODS, get_method

UNIFORM = np.full(3, 1 / 3)


def gaussians(prior: np.ndarray, n_rows: int, apart: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihoods (N, 3) of rows drawn from three Gaussians, and the rows' classes."""
    generator = np.random.default_rng(0)
    centres = apart * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    labels = generator.choice(3, n_rows, p=prior)
    rows = centres[labels] + generator.normal(size=(n_rows, 2))
    return -0.5 * ((rows[:, None] - centres) ** 2).sum(-1), labels


def test_probabilities_under__are_those_of_bayes_rule():
    old, new = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.3, 0.6])
    likelihoods, _ = gaussians(UNIFORM, 50)
    joint = np.exp(likelihoods) * new
    moved = probabilities_under(likelihoods + np.log(old), prior_shift(new, old))
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved, joint / joint.sum(axis=1, keepdims=True), rtol=1e-5)


def test_probabilities_under__in_blocks(monkeypatch):
    likelihoods, _ = gaussians(UNIFORM, 50)
    whole = probabilities_under(likelihoods, np.array([0.0, 1.0, 2.0]))
    monkeypatch.setattr("ulfine_fast.priors.class_prior.MAX_ROWS", 7)
    np.testing.assert_array_equal(probabilities_under(likelihoods, np.array([0.0, 1.0, 2.0])), whole)


def test_prior_shift__of_zero_is_finite_and_never_wins():
    shift = prior_shift(np.array([0.0, 0.5, 0.5]), UNIFORM)
    assert np.isfinite(shift).all()
    assert probabilities_under(np.array([[40.0, 0.0, -1.0]]), shift).argmax() == 1
    back = prior_shift(UNIFORM, np.array([0.0, 0.5, 0.5]))
    np.testing.assert_allclose(shift + back, 0.0, atol=1e-12)


def test_answered_prior__is_the_prior_of_training():
    counts = torch.tensor([40, 9, 0, 1])
    np.testing.assert_allclose(np.log(answered_prior(counts.numpy(), 1.0)), log_prior(counts).numpy(), rtol=1e-6)
    np.testing.assert_allclose(answered_prior(counts.numpy(), 0.0), 0.25)


PRIOR_POWERS = {
    "zero-shot": 0.0,
    "lp": 1.0,
    "lp-la": 0.0,
    "lft": 1.0,
    "lift": 0.0,
    "fixmatch": 0.0,
    "tip-adapter": 0.0,
    "tip-adapter-f": 0.0,
    "gda": 0.0,
    "knn": 1.0,
    "label-spreading": 1.0,
    "sklearn-lr": 0.0,
    "transclip": 0.0,
    "ss-text-u": 0.0,
    "proker": 0.0,
    "rehark": 0.0,
    "self-training": 0.0,
    "simpro": 0.0,
    "ecalp": 0.0,
    "clap": 1.0,
    "ulfine": 0.0,
    "ulfine-paper": 0.0,
}


def test_prior_powers__name_every_method():
    assert METHODS.keys() == PRIOR_POWERS.keys()


@pytest.mark.parametrize("name", METHODS)
def test_prior_power__of_every_method(name):
    method = get_method(name)
    assert method.prior_power(method.settings()) == PRIOR_POWERS[name]


@pytest.mark.parametrize(
    ("name", "settings", "power"),
    [
        ("lp", {"tau": 0.25}, 0.75),
        ("lp-la", {"tau": 2.0}, 0.0),
        ("lft", {"tau": 1.0}, 0.0),
        ("ulfine-paper", {"logit_adjustment": False}, 1.0),
    ],
)
def test_prior_power__follows_the_settings(name, settings, power):
    method = get_method(name)
    assert method.prior_power(method.settings(**settings)) == power


def test_prior_power__of_the_probe_is_what_training_leaves():
    """Many rows of three overlapping classes: the plain probe differs from the adjusted one by the labelled prior."""
    from ulfine_cache.progress import Silent
    from ulfine_fast.gradient.heads import LinearHeadSettings, train_heads
    from ulfine_fast.rows.training_data import make_training_data

    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), [1600, 400, 100])
    features = np.eye(8)[labels] + 0.8 * generator.normal(size=(len(labels), 8)) + 2.0 * np.eye(8)[7]
    data = make_training_data(
        features=features, labels=labels, unlabelled=np.empty((0, 8)), text=None, class_names=("a", "b", "c")
    )
    means = []
    for tau in (0.0, 1.0):
        settings = LinearHeadSettings(tau=tau, learning_rate=0.05, weight_decay=0.0, batch_size=4096)
        (result,) = train_heads(data, settings, [0], Silent())
        means.append(result.model(data.features).detach().double().numpy().mean(axis=0))
    found = means[0] - means[1]
    expected = np.log(answered_prior(data.labelled_counts.numpy(), 1.0))
    np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), atol=0.3)


def test_estimate_prior__finds_the_prior_up_to_the_imagined_rows():
    likelihoods, labels = gaussians(np.array([0.7, 0.25, 0.05]), 4000, apart=4.0)
    expected = 0.5 * np.bincount(labels, minlength=3) / 4000 + 0.5 / 3
    np.testing.assert_allclose(estimate_prior(likelihoods, UNIFORM), expected, atol=0.01)


def test_estimate_prior__does_not_depend_on_the_prior_inside():
    likelihoods, _ = gaussians(np.array([0.7, 0.2, 0.1]), 300)
    inside = np.array([0.9, 0.1, 0.0])
    of_moved = estimate_prior(likelihoods + prior_shift(inside, UNIFORM), inside)
    np.testing.assert_allclose(of_moved, estimate_prior(likelihoods, UNIFORM), atol=1e-9)


@pytest.mark.parametrize("n_rows", [0, 1, 3])
def test_estimate_prior__of_few_rows_stays_near_uniform(n_rows):
    certain = np.zeros((n_rows, 3)) + np.array([30.0, 0.0, 0.0])
    found = estimate_prior(certain, UNIFORM)
    assert found.sum() == pytest.approx(1.0)
    # Ten imagined rows a class, as docs/method.md says: even three rows of one class hardly move it.
    assert found[0] == pytest.approx((10 + n_rows) / (30 + n_rows))
    assert found[0] < 0.4


@pytest.mark.parametrize(("n_rows", "imagined"), [(29, 30), (31, 31)])
def test_estimate_prior__imagines_ten_rows_a_class_or_as_many_as_there_are(n_rows, imagined):
    found = estimate_prior(np.tile([500.0, 0.0, 0.0], (n_rows, 1)), UNIFORM)
    assert found[1] == pytest.approx(imagined / 3 / (imagined + n_rows), rel=1e-6)


def test_estimate_prior__goes_on_until_it_stands_still():
    """Classes that overlap converge slowly; the result is the fixed point all the same."""
    likelihoods, _ = gaussians(np.array([0.9, 0.1, 0.0]), 500, apart=0.7)
    prior = UNIFORM
    for _ in range(5000):
        joint = np.exp(likelihoods) * prior
        counts = (joint / joint.sum(axis=1, keepdims=True)).sum(axis=0)
        prior = (500 / 3 + counts) / 1000
    np.testing.assert_allclose(estimate_prior(likelihoods, UNIFORM), prior, atol=1e-7)


def test_estimate_prior__of_certain_rows_keeps_every_class():
    found = estimate_prior(np.tile([500.0, 0.0, -500.0], (1000, 1)), UNIFORM)
    np.testing.assert_allclose(found, [0.5 + 0.5 / 3, 0.5 / 3, 0.5 / 3], rtol=1e-6)


def test_estimate_prior__of_many_rows_looks_at_a_sample(monkeypatch):
    likelihoods, _ = gaussians(np.array([0.7, 0.2, 0.1]), 2000)
    monkeypatch.setattr("ulfine_fast.priors.class_prior.MAX_ROWS", 1000)
    sample = likelihoods[np.linspace(0, 1999, 1000).round().astype(int)]
    np.testing.assert_array_equal(estimate_prior(likelihoods, UNIFORM), estimate_prior(sample, UNIFORM))


def test_estimate_prior__looks_at_a_hundred_thousand_rows_spread_evenly():
    likelihoods, _ = gaussians(np.array([0.7, 0.2, 0.1]), 150_000)
    sample = likelihoods[np.linspace(0, 149_999, 100_000).round().astype(int)]
    np.testing.assert_array_equal(estimate_prior(likelihoods, UNIFORM), estimate_prior(sample, UNIFORM))


def test_prior_shift__a_class_that_never_comes_counts_what_the_documents_say():
    """1e-30 (docs/method.md, exports/README.md), whatever reads the export."""
    shift = prior_shift(np.array([0.0, 1.0]), np.array([0.5, 0.5]))
    np.testing.assert_allclose(shift, [np.log(1e-30) - np.log(0.5), np.log(2)])


def test_prior_of_weights__shares_of_any_numbers():
    np.testing.assert_allclose(prior_of_weights(np.array([1.0, 3.0, 0.0])), [0.25, 0.75, 0.0])
    np.testing.assert_allclose(prior_of_weights(np.full(4, 1.7e308)), 0.25)


def test_prior_figures__name_every_class():
    figures = prior_figures("uniform", np.array([0.5, 0.5]), ("ash", "birch"))
    assert figures == {"test_prior": "uniform", "class_prior": {"ash": 0.5, "birch": 0.5}}
