from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import SelfTrainingClassifier

from ulfine_cache.progress import Silent
from ulfine_fast.methods.semi_supervised.self_training import METHOD, SelfTrainingSettings


def settings(**values):
    return SelfTrainingSettings(**{"penalties": (1.0,), "default_penalty": 1.0} | values)


@pytest.mark.parametrize("rounds", [1, 10])
def test_fit__equals_scikit_learn(long_tailed, new_rows, rounds):
    """Without text and adjustment it is logistic regression; weights are in units of 50, so C is 50^2 / (2 penalty)."""
    data = long_tailed(text=False)
    chosen = settings(penalties=(100.0,), default_penalty=100.0, tau=0.0, rounds=rounds, threshold=0.6)
    result = METHOD.fit(data, chosen, 0, Silent())
    regression = LogisticRegression(C=12.5, fit_intercept=False, max_iter=5000, tol=1e-8)
    reference = SelfTrainingClassifier(regression, threshold=0.6, max_iter=rounds)
    rows = np.concatenate([data.features.numpy(), data.unlabelled.numpy()])
    reference.fit(rows, np.concatenate([data.labels.numpy(), np.full(len(data.unlabelled), -1)]))
    assert result.diagnostics["pseudo_labelled"] == (reference.labeled_iter_ > 0).sum()
    expected = reference.predict_proba(new_rows)
    np.testing.assert_allclose(result.model.probabilities(torch.tensor(new_rows)), expected, atol=1e-2)
    assert 0 < len(result.history) <= rounds


def test_fit__without_unlabelled_rows_is_the_adjusted_regression_that_departs_from_text(long_tailed, new_rows):
    data = long_tailed(unlabelled=0)
    model = METHOD.fit(data, settings(scale=5.0, penalties=(100.0,), default_penalty=100.0), 0, Silent()).model
    x, labels, text = data.features.double().numpy(), data.labels.numpy(), data.text.double().numpy()
    prior = np.log(np.bincount(labels) / len(labels))

    def loss(flat):
        departure = flat.reshape(6, 8)
        guesses = log_softmax(x @ (5 * text + 50 * departure).T + prior, axis=1)
        return -guesses[np.arange(len(x)), labels].sum() + 100 * (departure**2).sum()

    found = minimize(loss, np.zeros(48), tol=1e-9).x.reshape(6, 8)
    expected = softmax(new_rows @ (5 * text + 50 * found).T, axis=1)
    np.testing.assert_allclose(model.probabilities(torch.tensor(new_rows)), expected, atol=1e-2)


def test_fit__what_no_row_is_sure_enough_for_changes_nothing(long_tailed):
    data = long_tailed()
    alone = replace(data, unlabelled=data.unlabelled[:0])
    sure = METHOD.fit(data, settings(threshold=1.0), 0, Silent())
    assert sure.history == []
    assert sure.diagnostics["pseudo_labelled"] == 0
    expected = METHOD.fit(alone, settings(), 0, Silent()).model.state_dict()["weight"]
    assert torch.equal(sure.model.state_dict()["weight"], expected)


def test_fit__penalty_is_the_one_under_which_left_out_rows_are_most_probable(long_tailed):
    data = long_tailed()
    result = METHOD.fit(data, SelfTrainingSettings(penalties=(1e-3, 30.0), default_penalty=30.0), 0, Silent())
    assert result.diagnostics["penalty"] == 30.0
    assert len(result.diagnostics["left_out_macro_accuracy"]) == 2
