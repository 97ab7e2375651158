import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.metrics import balanced_accuracy_score

from ulfine_cache.progress import Silent
from ulfine_fast.methods.few_shot.proker import METHOD, ProkerSettings
from ulfine_fast.rows.folds import stratified_folds


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def scores(rows, features, labels, text, beta, strength):
    """The published solution, a linear system for each pair."""
    kernel = np.exp(-beta * (1 - features @ features.T))
    left = np.eye(6)[labels] - features @ text.T
    found = np.linalg.solve(kernel / strength + np.eye(len(features)), left)
    return rows @ text.T + np.exp(-beta * (1 - rows @ features.T)) @ found


@pytest.mark.parametrize("with_text", [True, False])
def test_fit__is_the_published_solution_of_what_left_out_rows_prefer(long_tailed, new_rows, with_text):
    data = long_tailed(text=with_text)
    settings = ProkerSettings(betas=(1.0,), default_beta=3.0, lambdas=(0.5,), default_lambda=0.05)
    result = METHOD.fit(data, settings, 3, Silent())
    x, labels = data.features.double().numpy(), data.labels.numpy()
    text = data.text.double().numpy() if with_text else None
    folds = stratified_folds(data.labels, 5, torch.Generator().manual_seed(3)).numpy()

    def means(keep):
        return unit(np.stack([x[keep & (labels == k)].sum(0) for k in range(6)]))

    left_out = {}
    for pair in [(1.0, 0.05), (1.0, 0.5), (3.0, 0.05), (3.0, 0.5)]:
        left_out[pair] = np.empty((len(x), 6))
        for fold in range(5):
            keep = folds != fold
            prototypes = means(keep) if text is None else text
            left_out[pair][~keep] = scores(x[~keep], x[keep], labels[keep], prototypes, *pair)
    accuracies = {pair: balanced_accuracy_score(labels, each.argmax(1)) for pair, each in left_out.items()}
    pair = (result.diagnostics["beta"], result.diagnostics["lambda"])
    assert accuracies[pair] == pytest.approx(max(accuracies.values()))
    assert result.diagnostics["left_out_macro_accuracy"] == pytest.approx(accuracies[pair])
    weights = 1 / np.bincount(labels)[labels] / 6
    scales = (*settings.scales, 100.0)
    losses = [-(weights * log_softmax(s * left_out[pair], axis=1)[np.arange(len(x)), labels]).sum() for s in scales]
    assert result.diagnostics["scale"] == scales[int(np.argmin(losses))]
    prototypes = means(labels >= 0) if text is None else text
    expected = softmax(result.diagnostics["scale"] * scores(new_rows, x, labels, prototypes, *pair), axis=1)
    np.testing.assert_allclose(result.model.probabilities(torch.tensor(new_rows)), expected, atol=1e-4)
