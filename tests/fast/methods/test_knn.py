import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from ulfine_cache.progress import Silent
from ulfine_fast.methods.knn import METHOD, NearestNeighboursSettings
from ulfine_fast.models.neighbour_vote import vote_logits
from ulfine_fast.rows.folds import stratified_folds


def scikit_learn(k):
    return KNeighborsClassifier(
        k, metric="cosine", algorithm="brute", weights=lambda distances: np.exp((1 - distances) / 0.07)
    )


@pytest.mark.parametrize("k", [1, 4, 36])
def test_fit__equals_scikit_learn(long_tailed, new_rows, k):
    data = long_tailed()
    settings = NearestNeighboursSettings(neighbours=(k,), default_neighbours=k)
    model = METHOD.fit(data, settings, 0, Silent()).model
    expected = scikit_learn(k).fit(data.features.numpy(), data.labels.numpy()).predict_proba(new_rows)
    np.testing.assert_allclose(model.probabilities(torch.tensor(new_rows)), expected, atol=2e-5)


def test_fit__k_is_the_one_that_left_out_rows_prefer(long_tailed):
    data = long_tailed(text=False)
    result = METHOD.fit(data, NearestNeighboursSettings(neighbours=(1, 5, 25), default_neighbours=5), 2, Silent())
    features, labels = data.features.numpy(), data.labels.numpy()
    folds = stratified_folds(data.labels, 5, torch.Generator().manual_seed(2)).numpy()
    accuracies = []
    for k in (1, 5, 25):
        predicted = np.empty_like(labels)
        for fold in range(5):
            keep = folds != fold
            predicted[~keep] = scikit_learn(k).fit(features[keep], labels[keep]).predict(features[~keep])
        accuracies.append(balanced_accuracy_score(labels, predicted))
    np.testing.assert_allclose(result.diagnostics["left_out_macro_accuracy"], accuracies)
    assert accuracies[(1, 5, 25).index(result.diagnostics["neighbours"])] == max(accuracies)


def test_fit__equal_neighbours_vote_together_whatever_their_order():
    votes = torch.eye(2)
    for order in ([0, 1], [1, 0]):
        shares = vote_logits(torch.tensor([[0.5, 0.5]]), votes[order], 1, None).exp()
        np.testing.assert_allclose(shares, [[0.5, 0.5]], atol=1e-5)


def test_probabilities__blocks_do_not_matter(long_tailed, monkeypatch):
    data = long_tailed(unlabelled=50)
    model = METHOD.fit(data, NearestNeighboursSettings(), 0, Silent()).model
    whole = model.probabilities(data.unlabelled)
    monkeypatch.setattr("ulfine_fast.models.neighbour_vote.SIMILARITIES_AT_ONCE", 7 * len(data.labels))
    np.testing.assert_allclose(model.probabilities(data.unlabelled), whole, atol=1e-6)
