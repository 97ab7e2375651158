from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import log_softmax, softmax
from sklearn.metrics import balanced_accuracy_score

from ulfine_cache.progress import Silent
from ulfine_fast.methods.few_shot.rehark import METHOD, RehArkSettings
from ulfine_fast.rows.folds import stratified_folds

VALUES = {
    "power": (0.7,),
    "refine": (0.4,),
    "blend": (0.8,),
    "shift": (0.6,),
    "spread": (0.5,),
    "narrow": (4.0, 0.3),
    "wide": (0.2,),
    "mix": (0.3,),
    "ridge": (0.5, 0.02),
    "zero_shot": (3.0,),
}


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def powered(rows):
    return unit(np.sign(rows) * np.abs(rows) ** 0.7)


def class_means(rows, labels):
    return unit(np.stack([rows[labels == k].sum(0) for k in range(6)]))


def balanced(rows, labels):
    """Mean and deviation of rows, each class weighing the same."""
    weights = 1 / np.bincount(labels)[labels]
    mean = np.average(rows, 0, weights)
    return mean, np.sqrt(np.average((rows - mean) ** 2, 0, weights))


def kernels(a, b, narrow):
    squares = cdist(a, b) ** 2
    return 0.3 * np.exp(-narrow * squares) + 0.7 * np.exp(-0.2 * squares)


def scores(new, features, labels, text, narrow, ridge):
    """The published steps, one after another."""
    rows = powered(features)
    prior = class_means(rows, labels)
    if text is not None:
        prior = unit(0.6 * powered(text) + 0.4 * prior)
    keys, twice = np.concatenate([rows, unit(rows + 0.8 * prior[labels])]), np.tile(labels, 2)
    (mean, deviation), (goal, goal_deviation) = balanced(rows, labels), balanced(keys, twice)
    ratio = ((goal_deviation + 1e-6) / (deviation + 1e-6)) ** 0.5
    new = unit((powered(new) - mean) * ratio + mean - 0.6 * (mean - goal))
    left = np.eye(6)[twice] - 3 * keys @ prior.T
    found = np.linalg.solve(kernels(keys, keys, narrow) + ridge * np.eye(len(keys)), left)
    return 3 * new @ prior.T + kernels(new, keys, narrow) @ found


@pytest.mark.parametrize("with_text", [True, False])
def test_fit__is_the_published_steps_of_what_left_out_rows_prefer(long_tailed, new_rows, with_text):
    data = long_tailed(text=with_text)
    settings = RehArkSettings.model_validate(VALUES)
    result = METHOD.fit(data, settings, 3, Silent())
    x, labels = data.features.double().numpy(), data.labels.numpy()
    text = data.text.double().numpy() if with_text else None
    folds = stratified_folds(data.labels, 5, torch.Generator().manual_seed(3)).numpy()
    left_out = {}
    for pair in [(4.0, 0.5), (4.0, 0.02), (0.3, 0.5), (0.3, 0.02)]:
        left_out[pair] = np.empty((len(x), 6))
        for fold in range(5):
            keep = folds != fold
            left_out[pair][~keep] = scores(x[~keep], x[keep], labels[keep], text, *pair)
    accuracies = {pair: balanced_accuracy_score(labels, each.argmax(1)) for pair, each in left_out.items()}
    pair = (result.diagnostics["narrow"], result.diagnostics["ridge"])
    assert accuracies[pair] == pytest.approx(max(accuracies.values()))
    assert len(set(accuracies.values())) > 1
    assert result.diagnostics["left_out_macro_accuracy"] == pytest.approx(accuracies[pair])
    weights = 1 / np.bincount(labels)[labels] / 6
    losses = [
        -(weights * log_softmax(scale * left_out[pair], axis=1)[np.arange(len(x)), labels]).sum()
        for scale in settings.scales
    ]
    assert result.diagnostics["scale"] == settings.scales[int(np.argmin(losses))]
    expected = softmax(result.diagnostics["scale"] * scores(new_rows, x, labels, text, *pair), axis=1)
    np.testing.assert_allclose(result.model.probabilities(torch.tensor(new_rows)), expected, atol=1e-4)


def test_fit__of_one_row_a_class_chooses_nothing(long_tailed):
    data = long_tailed()
    first = torch.tensor([data.labels.tolist().index(k) for k in range(6)])
    one_shot = replace(data, features=data.features[first], labels=data.labels[first])
    diagnostics = METHOD.fit(one_shot, RehArkSettings.model_validate(VALUES), 0, Silent()).diagnostics
    assert (diagnostics["narrow"], diagnostics["ridge"], diagnostics["scale"]) == (4.0, 0.5, 5.0)
    assert "left_out_macro_accuracy" not in diagnostics


def test_fit__a_class_without_rows_keeps_its_text(long_tailed):
    data = long_tailed()
    keep = data.labels != 2
    absent = replace(data, features=data.features[keep], labels=data.labels[keep])
    result = METHOD.fit(absent, RehArkSettings(power=(1.0,)), 0, Silent())
    prior = result.model.state_dict()["prior"] / (20.0 * result.diagnostics["scale"])
    torch.testing.assert_close(prior[2], absent.text[2], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(prior[3], absent.text[3], atol=0.01)
