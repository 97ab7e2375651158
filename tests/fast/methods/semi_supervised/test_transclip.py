import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score

from ulfine_cache.progress import Silent
from ulfine_fast.methods.semi_supervised.transclip import METHOD, TransClipSettings, nearest
from ulfine_fast.rows.cross_validation import kept
from ulfine_fast.rows.folds import stratified_folds


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def published(rows, data, text, gamma, start=None, rounds=10, scale=100):
    """Probabilities of new rows, from the published updates written out row by row."""
    x, y = data.features.double().numpy(), np.eye(6)[data.labels.numpy()]
    q = data.unlabelled.double().numpy()
    prior = softmax(scale * q @ text.T, axis=1)
    z, means, variance = prior.copy(), unit(y.T @ x) if start is None else start, np.full(8, 1 / 8)
    weights = np.zeros((len(q) + len(x), len(q)))
    for row, feature in enumerate([*q, *x]):
        near = np.argsort(-(q @ feature))
        near = near[near != row][:3]
        weights[row, near] = q[near] @ feature
    for _ in range(rounds):
        likelihood = -0.5 * ((q[:, None] - means[None]) ** 2 / variance).sum(-1)
        for _ in range(5):
            everyone = np.concatenate([z, y])
            pulled = weights.T @ everyone + weights[: len(q)] @ z
            z = np.sqrt(prior) * np.exp((likelihood + 50 / 6 * pulled) / 50)
            z = z / z.sum(1, keepdims=True)
        shares = np.concatenate([z / len(q), gamma * 50 / len(x) * y])
        everything = np.concatenate([q, x])
        means = unit(shares.T @ everything)
        distances = (everything[:, None] - means[None]) ** 2
        variance = np.einsum("nk,nkd->d", shares, distances) / shares.sum()
    answer = -0.5 * ((rows[:, None] - means[None]) ** 2 / variance).sum(-1) / 50
    return softmax(scale / 2 * rows @ text.T + answer, axis=1)


@pytest.mark.parametrize("gamma", [0.002, 0.2])
@pytest.mark.parametrize("with_text", [True, False])
@pytest.mark.parametrize(("rounds", "scale"), [(10, 100.0), (1, 5.0)])
def test_fit__is_the_published_mixture(long_tailed, new_rows, gamma, with_text, rounds, scale):
    data = long_tailed(text=with_text)
    settings = TransClipSettings(gammas=(gamma,), default_gamma=gamma, rounds=rounds, scale=scale)
    model = METHOD.fit(data, settings, 0, Silent()).model
    x, labels = data.features.double().numpy(), data.labels.numpy()
    means = unit(np.stack([x[labels == k].mean(0) for k in range(6)]))
    text = data.text.double().numpy() if with_text else means
    expected = published(new_rows.astype(float), data, text, gamma, rounds=rounds, scale=scale)
    np.testing.assert_allclose(model.probabilities(torch.tensor(new_rows)), expected, atol=2e-5)


def test_fit__class_without_rows_starts_at_those_zero_shot_is_surest_of(long_tailed, new_rows):
    data = long_tailed()
    data = kept(data, data.labels != 2)
    settings = TransClipSettings(gammas=(0.02,), default_gamma=0.02, rounds=1, scale=5.0)
    model = METHOD.fit(data, settings, 0, Silent()).model
    x, text, q = (each.double().numpy() for each in (data.features, data.text, data.unlabelled))
    z = softmax(5 * q @ text.T, axis=1)[:, 2]
    surest = np.argsort(-z)[:8]
    start = np.eye(6)[data.labels.numpy()].T @ x
    start[2] = z[surest] @ q[surest]
    expected = published(new_rows.astype(float), data, text, 0.02, start=unit(start), rounds=1, scale=5)
    np.testing.assert_allclose(model.probabilities(torch.tensor(new_rows)), expected, atol=2e-5)


def test_fit__gamma_is_the_one_that_left_out_rows_prefer(long_tailed):
    data = long_tailed()
    result = METHOD.fit(data, TransClipSettings(gammas=(0.002, 0.2), default_gamma=0.2), 3, Silent())
    labels = data.labels.numpy()
    folds = stratified_folds(data.labels, 5, torch.Generator().manual_seed(3)).numpy()
    accuracies = []
    for gamma in (0.002, 0.2):
        predicted = np.empty_like(labels)
        for fold in range(5):
            part = kept(data, torch.tensor(folds != fold))
            rows = data.features.double().numpy()[folds == fold]
            start = np.eye(6)[part.labels.numpy()].T @ part.features.double().numpy()
            predicted[folds == fold] = published(rows, part, data.text.double().numpy(), gamma, unit(start)).argmax(1)
        accuracies.append(balanced_accuracy_score(labels, predicted))
    np.testing.assert_allclose(result.diagnostics["left_out_macro_accuracy"], accuracies)


def test_fit__without_unlabelled_rows_has_the_moments_of_the_labelled_ones(long_tailed, new_rows):
    data = long_tailed(unlabelled=0)
    model = METHOD.fit(data, TransClipSettings(), 0, Silent()).model
    x, labels, text = data.features.double().numpy(), data.labels.numpy(), data.text.double().numpy()
    means = unit(np.stack([x[labels == k].mean(0) for k in range(6)]))
    variance = ((x - means[labels]) ** 2).mean(0)
    answer = -0.5 * ((new_rows[:, None] - means[None]) ** 2 / variance).sum(-1) / 50
    expected = softmax(50 * new_rows @ text.T + answer, axis=1)
    np.testing.assert_allclose(model.probabilities(torch.tensor(new_rows)), expected, atol=2e-5)


def test_nearest__in_blocks_and_never_themselves(monkeypatch):
    rows = torch.nn.functional.normalize(torch.randn(20, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    whole = nearest(rows, rows, 3, themselves=True)
    monkeypatch.setattr("ulfine_fast.methods.semi_supervised.transclip.SIMILARITIES_AT_ONCE", 60)
    assert torch.equal(nearest(rows, rows, 3, themselves=True)[0], whole[0])
    assert not (whole[0] == torch.arange(20)[:, None]).any()
    assert nearest(rows[:2], rows[:2], 3, themselves=True)[0].tolist() == [[1], [0]]
    assert nearest(rows, rows[:0], 3, themselves=False)[0].shape == (20, 0)
