"""`ulfine-paper` as a whole."""

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from ulfine_cache.progress import Silent
from ulfine_cache.splits import draw_split
from ulfine_fast.methods.ulfine_paper import METHOD, UlfinePaperSettings
from ulfine_fast.rows.training_data import make_training_data
from ulfine_fast.training import train

COUNTS = np.array([24, 14, 8, 4, 2])
N_CLASSES, WIDTH = 5, 16


@cache
def world(seed=0):
    """Long-tailed labelled rows, reversed unlabelled ones, texts across a gap; 60 new rows of each class, labels."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(N_CLASSES, WIDTH))
    gap = generator.normal(size=WIDTH)

    def draw(labels):
        return gap + centres[labels] + generator.normal(size=(len(labels), WIDTH))

    labels, new_labels = np.repeat(np.arange(N_CLASSES), COUNTS), np.repeat(np.arange(N_CLASSES), 60)
    data = make_training_data(
        features=draw(labels),
        labels=labels,
        unlabelled=draw(np.repeat(np.arange(N_CLASSES), 3 * COUNTS[::-1])),
        text=centres - gap + 0.7 * generator.normal(size=centres.shape),
        class_names=tuple("abcde"),
    )
    return data, normalize(torch.as_tensor(draw(new_labels)).float(), dim=-1), new_labels


def fit(data, seed=0, **settings):
    return train(METHOD, UlfinePaperSettings(**({"steps": 100} | settings)), data, seed, Silent())


def macro(model, rows, labels):
    return float((model(rows).argmax(1).numpy() == labels).mean())


def test_fit__learns_more_than_the_text_knows():
    gains = []
    for seed in range(3):
        data, rows, labels = world(seed)
        zero_shot = ((rows @ data.text.T).argmax(1).numpy() == labels).mean()
        gains.append(macro(fit(data).model, rows, labels) - zero_shot)
    assert np.mean(gains) > 0.05


def test_fit__first_step_of_paf_by_hand():
    """One step without adapter, gradient or orthogonality: only the prototypes move, by the published rules."""
    data, *_ = world()
    result = fit(data, steps=1, adapter=False, learning_rate=1e-9, weight_decay=0.0, orthogonality=False, mu=0.5)
    x, y, text = data.features.double().numpy(), data.labels.numpy(), data.text.double().numpy()
    # Probe and prototypes are the text at first, and so is their fusion.
    predicted = (data.unlabelled.double().numpy() @ text.T).argmax(1)
    p_u = 0.9 / N_CLASSES + 0.1 * np.bincount(predicted, minlength=N_CLASSES) / len(predicted)
    rates = 0.5 * p_u / p_u.max()
    visual = np.stack([x[y == k].mean(0) for k in range(N_CLASSES)])
    visual += text.mean(0) - visual.mean(0)
    expected = (1 - rates)[:, None] * text + rates[:, None] * visual
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert result.model.prototypes.numpy() == pytest.approx(expected, abs=1e-5)
    assert result.diagnostics["movement_rates"] == pytest.approx(rates.tolist(), abs=1e-5)
    spread = lambda weight: (x @ weight.T).std(1, ddof=1).mean()  # noqa: E731
    assert result.diagnostics["text_scale"] == pytest.approx(25 * spread(text) / spread(expected), rel=1e-4)


def test_fit__switches_do_what_they_say():
    data, rows, _ = world()
    assert torch.equal(fit(data, paf=False).model.prototypes, data.text)
    assert not torch.equal(fit(data).model.prototypes, data.text)
    assert fit(data, adapter=False).model.adapter is None
    alone = fit(data, dlf=False).model
    assert alone.parts(rows)["probe"].abs().max() == 0
    assert (alone(rows) - alone.parts(rows)["text"]).abs().max() == 0
    few = dataclasses.replace(data, unlabelled=data.unlabelled[:3])
    assert torch.equal(fit(data, unlabelled=False).model(rows), fit(few, unlabelled=False).model(rows))
    assert not torch.equal(fit(data).model(rows), fit(few).model(rows))
    assert not torch.equal(fit(data, logit_adjustment=False).model(rows), fit(data).model(rows))
    assert torch.equal(fit(data, logit_adjustment=False).model(rows), fit(data, tau=0.0).model(rows))


def test_fit__orthogonality_keeps_prototypes_further_apart():
    from ulfine_fast.gradient.published_paf import orthogonality

    data, *_ = world()
    settings = ({"orthogonality": False}, {}, {"orthogonality_step": 1e-2})
    terms = [float(orthogonality(fit(data, **changes).model.prototypes)) for changes in settings]
    assert terms[0] > terms[1] > terms[2]


def test_fit__logit_adjustment_serves_the_tail():
    def tail_recall(adjusted):
        recalls = []
        for data, rows, labels in map(world, range(3)):
            predicted = fit(data, logit_adjustment=adjusted).model(rows).argmax(1).numpy()
            recalls.append((predicted[labels == 4] == 4).mean())
        return np.mean(recalls)

    assert tail_recall(True) > tail_recall(False) + 0.03


def test_fit__nothing_counts_at_a_threshold_of_one():
    data, *_ = world()
    result = fit(data, threshold=1.0, scale=5.0)
    assert [entry["pseudo_label_rate"] for entry in result.history] == [0.0] * len(result.history)
    everything = fit(data, threshold=0.0)
    assert everything.history[-1]["pseudo_label_rate"] == 1.0
    shares = everything.diagnostics["pseudo_label_distribution"]
    assert everything.history[-1]["prior_min"] == pytest.approx(min(shares))
    assert everything.history[-1]["prior_max"] == pytest.approx(max(shares))


def test_fit__diagnostics_are_those_of_the_step_that_early_stopping_keeps():
    data, *_ = world()
    stopped = fit(data, steps=200, early_stopping=True, learning_rate=3e-2)
    kept = stopped.diagnostics["steps"]
    assert 0 < kept < stopped.history[-1]["step"]
    entry = next(entry for entry in stopped.history if entry["step"] == kept)
    shares, rates = (stopped.diagnostics[name] for name in ("pseudo_label_distribution", "movement_rates"))
    assert (min(shares), max(shares)) == pytest.approx((entry["prior_min"], entry["prior_max"]))
    expected = UlfinePaperSettings().mu * np.array(shares) / max(shares)
    assert rates == pytest.approx(expected.tolist(), rel=1e-4)


def test_fit__is_deterministic_and_rebuilds():
    data, rows, _ = world()
    first, second = (fit(data, seed=3, batch_size=16, steps=30) for _ in range(2))
    assert first.history == second.history
    other = METHOD.build(first.model.architecture())
    other.load_state_dict(second.model.state_dict())
    assert torch.equal(first.model(rows), other(rows))


@pytest.mark.parametrize("settings", [{}, {"adapter": False, "dlf": False}, {"paf": False, "adapter": False}])
@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("n_unlabelled", [0, 1, 40])
def test_fit__scarce_data_gives_finite_logits(settings, text, n_unlabelled):
    data, rows, labels = world()
    scarce = dataclasses.replace(data, unlabelled=data.unlabelled[:n_unlabelled], text=data.text if text else None)
    model = fit(scarce, steps=30, **settings).model
    assert torch.isfinite(model(rows)).all()
    assert macro(model, rows, labels) > 1.5 / N_CLASSES


def test_fit__a_class_with_text_and_no_labelled_rows_stays_at_its_text():
    data, rows, _ = world()
    kept = data.labels != 4
    data = dataclasses.replace(data, features=data.features[kept], labels=data.labels[kept])
    result = fit(data, orthogonality=False)
    assert result.diagnostics["movement_rates"][4] == 0.0
    assert result.model.prototypes[4].numpy() == pytest.approx(data.text[4].numpy(), abs=1e-5)
    assert torch.isfinite(result.model(rows)).all()


@pytest.mark.parametrize("name", ["caltech54_vit-b-32", "dtd_vit-b-32", "whurs19_rn50"])
def test_fit__stable_on_real_features(shared_data, name):
    with np.load(shared_data / "clip-features" / f"{name}.npz", allow_pickle=False) as arrays:
        kind = "image_features" if "image_features" in arrays else "pool_features"
        features = arrays[kind].astype(np.float32)
        labels = arrays["labels" if "labels" in arrays else "pool_labels"]
        text = arrays["text_features"].astype(np.float32) if "text_features" in arrays else None
        names = [str(word) for word in arrays["class_names"]]
    protocol = {"labelled_max": 8, "imbalance": 8.0, "unlabelled_max": 12, "unlabelled": "reversed", "seed": 0}
    split = draw_split(labels, np.full(len(labels), ""), protocol, class_names=names)
    data = make_training_data(
        features=features[split.labelled],
        labels=labels[split.labelled],
        unlabelled=features[split.unlabelled],
        text=text,
        class_names=tuple(names),
    )
    left = np.setdiff1d(np.arange(len(labels)), np.concatenate([split.labelled, split.unlabelled]))
    model = fit(data, steps=60).model
    assert torch.isfinite(model(torch.as_tensor(features))).all()
    assert macro(model, torch.as_tensor(features[left]), labels[left]) > 0.4
