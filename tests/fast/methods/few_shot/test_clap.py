import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize, one_hot

from ulfine_cache.progress import Silent
from ulfine_fast.methods.few_shot.clap import METHOD, ClapSettings, penalties
from ulfine_fast.rows.cross_validation import kept


def published(data, unit_text, scale=100.0, steps=300):
    """Full-batch steps of the published loss on text of length 10, momentum and all, by autograd."""
    text = 10 * unit_text
    truth = one_hot(data.labels, 6).float()
    zero_shot = torch.softmax(scale * data.features @ unit_text.T, -1)
    strength = (truth.T @ zero_shot).diag() / truth.sum(0)
    strength[strength.isnan()] = strength[~strength.isnan()].mean()
    weight = text.clone().requires_grad_(True)
    optimiser = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        loss = cross_entropy(scale * data.features @ normalize(weight, dim=-1).T, data.labels)
        loss = loss + (strength * (weight - text).pow(2).sum(-1)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return strength, weight.detach() / 10


@pytest.mark.parametrize("absent", [True, False])
def test_fit__is_the_published_training(long_tailed, absent):
    data = long_tailed()
    data = kept(data, data.labels != 3) if absent else data
    strength, weight = published(data, data.text, scale=10.0, steps=40)
    np.testing.assert_allclose(penalties(data, 10.0), strength, rtol=1e-5)
    model = METHOD.fit(data, ClapSettings(scale=10.0, steps=40), 0, Silent()).model
    np.testing.assert_allclose(model.state_dict()["weight"], weight, atol=1e-4)


def test_fit__without_text_holds_to_the_class_means(long_tailed):
    data = long_tailed(text=False)
    means = normalize(torch.stack([data.features[data.labels == k].mean(0) for k in range(6)]), dim=-1)
    _, weight = published(data, means, scale=10.0, steps=40)
    model = METHOD.fit(data, ClapSettings(scale=10.0, steps=40), 0, Silent()).model
    np.testing.assert_allclose(model.state_dict()["weight"], weight, atol=1e-4)


def test_fit__the_constraint_holds_weights_near_the_text(long_tailed):
    data = long_tailed()
    moved = [
        float(
            (
                METHOD.fit(data, ClapSettings(constraint=each), 0, Silent()).model.state_dict()["weight"] - data.text
            ).norm()
        )
        for each in (0.0, 1.0, 10.0)
    ]
    assert moved[0] > moved[1] > moved[2]


def test_fit__seeds_and_early_stopping(long_tailed):
    data = long_tailed()
    first, second = METHOD.fit_seeds(data, ClapSettings(steps=20), [0, 1], Silent())
    alone = METHOD.fit(data, ClapSettings(steps=20), 1, Silent()).model.state_dict()["weight"]
    np.testing.assert_allclose(first.model.state_dict()["weight"], alone, atol=1e-4)
    np.testing.assert_allclose(second.model.state_dict()["weight"], alone, atol=1e-4)
    stopped = METHOD.fit(data, ClapSettings(early_stopping=True), 0, Silent())
    assert 0 <= stopped.diagnostics["steps"] <= 300
