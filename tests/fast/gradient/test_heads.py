import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from ulfine_cache.progress import Silent
from ulfine_fast.gradient.batches import batches
from ulfine_fast.gradient.heads import LinearHeadModel, initial_prototypes
from ulfine_fast.registry import get_method
from ulfine_fast.rows.training_data import make_training_data

COUNTS = (40, 12, 3)
NAMES = ("lp", "lp-la", "lft", "lift")


def overlapping(seed=0, text=True):
    """Three classes that overlap, 40, 12 and 3 rows, with text; and 100 new rows of each class."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(3, 10))
    draw = lambda labels: centres[labels] + 1.2 * generator.normal(size=(len(labels), 10))  # noqa: E731
    labels, new_labels = np.repeat(np.arange(3), COUNTS), np.repeat(np.arange(3), 100)
    data = make_training_data(
        features=draw(labels),
        labels=labels,
        unlabelled=np.empty((0, 10)),
        text=centres + 0.5 * generator.normal(size=centres.shape) if text else None,
        class_names=("a", "b", "c"),
    )
    return data, torch.as_tensor(draw(new_labels)).float(), new_labels


def fitted(name, data, **settings):
    method = get_method(name)
    return method.fit(data, method.settings(**settings), 0, Silent())


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("width", [0, 2])
def test_logits__by_hand(cosine, width):
    generator = torch.Generator().manual_seed(0)
    model = LinearHeadModel(
        n_features=5, n_classes=3, scale=7.0, cosine=cosine, adapter_width=width, generator=generator
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=generator)
    rows = torch.randn(4, 5, generator=generator)
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}
    z = rows.double().numpy()
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    if width:
        z = z + np.maximum(z @ state["adapter.down"].T, 0) @ state["adapter.up"].T
        z /= np.linalg.norm(z, axis=1, keepdims=True)
    weight = state["weight"]
    if cosine:
        weight = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    assert model(rows).detach().numpy() == pytest.approx(7.0 * z @ weight.T, abs=1e-5)


def test_initial_prototypes__text_or_class_means():
    data, *_ = overlapping()
    assert torch.equal(initial_prototypes(data), data.text)
    found = initial_prototypes(dataclasses.replace(data, text=None)).numpy()
    means = np.stack([data.features[data.labels == k].numpy().mean(0) for k in range(3)])
    assert found == pytest.approx(means / np.linalg.norm(means, axis=1, keepdims=True), abs=1e-6)


def test_batches__every_pass_holds_each_row_once():
    stream = batches(10, 3, torch.Generator().manual_seed(0))
    passes = [torch.cat([next(stream) for _ in range(3)]).tolist() for _ in range(4)]
    assert all(len(set(rows)) == 9 for rows in passes)
    assert len({tuple(rows) for rows in passes}) == 4
    whole = next(batches(10, 64, torch.Generator().manual_seed(0)))
    assert sorted(whole.tolist()) == list(range(10))


@pytest.mark.parametrize("name", NAMES)
def test_fit__starts_at_zero_shot_and_lowers_the_loss(name):
    data, *_ = overlapping()
    start = fitted(name, data, steps=1, learning_rate=1e-9).model
    logits = start(data.features).detach()
    if name == "lp":
        assert logits.abs().max() < 1e-4
    else:
        assert logits.numpy() == pytest.approx(
            (get_method(name).settings().scale * data.features @ data.text.T).numpy(), abs=1e-2
        )
    end = fitted(name, data, learning_rate=1e-2).model
    tau = get_method(name).settings().tau
    prior = (torch.tensor(COUNTS) / sum(COUNTS)).log()
    before, after = (cross_entropy(m(data.features) + tau * prior, data.labels).item() for m in (start, end))
    assert after < before - 0.1


def test_fit__the_logits_of_lp_reach_scikit_learns():
    """Without decay `lp` is logistic regression; scikit-learn minimises the same loss in another way."""
    from sklearn.linear_model import LogisticRegression

    data, new, _ = overlapping()
    # AdamW's decay is no L2 penalty: take a problem that needs none, three features that no plane separates.
    rows = data.features.numpy()[:, :3]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    small = make_training_data(
        features=rows, labels=data.labels.numpy(), unlabelled=np.empty((0, 3)), text=None, class_names=("a", "b", "c")
    )
    model = fitted("lp", small, steps=4000, learning_rate=2e-2, weight_decay=0.0).model
    reference = LogisticRegression(C=1e9, fit_intercept=False, max_iter=10000, tol=1e-10)
    reference.fit(small.features.double().numpy(), data.labels.numpy())
    new = normalize(new[:, :3], dim=-1)
    found = torch.softmax(model(new), -1).detach().numpy()
    assert found == pytest.approx(reference.predict_proba(new.double().numpy()), abs=5e-3)


def test_fit__logit_adjustment_serves_the_rare_class():
    for name in ("lp-la", "lift"):
        recalls = {}
        for settings in ((), (("tau", 1.0),), (("tau", 0.0),)):
            found = []
            for seed in range(3):
                data, new, labels = overlapping(seed)
                model = fitted(name, data, **dict(settings)).model
                found.append((model(new).argmax(1).numpy()[labels == 2] == 2).mean())
            recalls[settings] = np.mean(found)
        default, published, plain = recalls.values()
        assert default > published > plain


def test_fit__steps_of_stochastic_gradient_descent_by_hand():
    data, *_ = overlapping()
    model = fitted("lp-la", data, steps=3, batch_size=64, learning_rate=0.3, weight_decay=0.01, tau=1.0).model
    weight, velocity = data.text.clone().requires_grad_(True), torch.zeros_like(data.text)
    prior = (torch.tensor(COUNTS) / sum(COUNTS)).log()
    for step in range(3):
        logits = 30 * data.features @ normalize(weight, dim=-1).T
        (gradient,) = torch.autograd.grad(cross_entropy(logits + prior, data.labels), weight)
        velocity = 0.9 * velocity + gradient + 0.01 * weight.detach()
        rate = 0.3 * (1 + np.cos(np.pi * step / 3)) / 2
        weight = (weight.detach() - rate * velocity).requires_grad_(True)
    assert model.weight.detach().numpy() == pytest.approx(weight.detach().numpy(), abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_fit__is_deterministic_and_rebuilds(name):
    data, new, _ = overlapping()
    first, second = (fitted(name, data, steps=20, batch_size=16) for _ in range(2))
    assert first.history == second.history
    assert first.history[-1]["step"] == 20
    other = get_method(name).build(first.model.architecture())
    other.load_state_dict(second.model.state_dict())
    assert torch.equal(first.model(new), other(new))


@pytest.mark.parametrize("name", NAMES)
def test_fit__without_text_and_with_duplicates(name):
    data, new, _ = overlapping(text=False)
    twice = dataclasses.replace(data, features=data.features.repeat(2, 1), labels=data.labels.repeat(2))
    assert torch.isfinite(fitted(name, twice, steps=50).model(new)).all()


@pytest.mark.parametrize("name", ["lp-la", "lift"])
def test_fit__class_without_rows_has_no_part_in_the_adjusted_loss(name):
    """Its weights stay those of its text, and the others are what they would be without it."""
    data, *_ = overlapping()
    keep = data.labels < 2
    part = dataclasses.replace(data, features=data.features[keep], labels=data.labels[keep])
    two = dataclasses.replace(part, text=data.text[:2], class_names=("a", "b"))
    weight = fitted(name, part, weight_decay=0.0).model.weight.detach()
    assert torch.equal(weight[2], data.text[2])
    assert weight[:2].numpy() == pytest.approx(
        fitted(name, two, weight_decay=0.0).model.weight.detach().numpy(), abs=1e-4
    )
