"""`ulfine` as a whole, on synthetic long-tailed tasks whose truth is known."""

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from ulfine_cache.progress import Silent
from ulfine_fast.methods.ulfine import METHOD, UlfineSettings
from ulfine_fast.registry import get_method
from ulfine_fast.rows.training_data import make_training_data

COUNTS = np.array([24, 16, 10, 6, 4, 2])
N_CLASSES, WIDTH = 6, 24
NAMES = ("ash", "birch", "cedar", "date palm", "elm", "fig")


@cache
def world(seed=0):
    """Data of a world like CLIP's: a gap between images and texts, noise of unequal strength, reversed unlabelled rows.

    Returns:
        Training data; 60 new rows of each class; their labels.
    """
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(N_CLASSES, WIDTH))
    strengths = np.geomspace(3.0, 0.3, WIDTH)
    directions = np.linalg.qr(generator.normal(size=(WIDTH, WIDTH)))[0]
    gap = 4 * generator.normal(size=WIDTH) / WIDTH**0.5

    def draw(labels):
        noise = generator.normal(size=(len(labels), WIDTH)) * strengths @ directions
        return 2.0 * gap + centres[labels] + 0.8 * noise

    labels = np.repeat(np.arange(N_CLASSES), COUNTS)
    new_labels = np.repeat(np.arange(N_CLASSES), 60)
    data = make_training_data(
        features=draw(labels),
        labels=labels,
        unlabelled=draw(np.repeat(np.arange(N_CLASSES), 2 * COUNTS[::-1])),
        text=centres - gap + 1.0 * generator.normal(size=centres.shape),
        class_names=NAMES,
    )
    return data, normalize(torch.as_tensor(draw(new_labels)).float(), dim=-1), new_labels


def fit(data, seed=0, **settings):
    return METHOD.fit(data, UlfineSettings(**settings), seed, Silent())


def macro(model, rows, labels):
    """Macro accuracy; the classes of `world` are equally frequent in new rows."""
    return float((model(rows).argmax(1).numpy() == labels).mean())


def mean_macro(**settings):
    return np.mean([macro(fit(data, **settings).model, *new) for data, *new in map(world, range(6))])


def test_fit__is_better_than_its_parts_and_peers():
    whole = mean_macro()
    assert whole > mean_macro(unlabelled=False) + 0.005
    assert whole > mean_macro(adapter=False) + 0.02
    for name in ("zero-shot", "lp", "lp-la"):
        method = get_method(name)
        other = [
            macro(method.fit(data, method.settings(), 0, Silent()).model, *new) for data, *new in map(world, range(6))
        ]
        assert whole > np.mean(other) + 0.02


def test_fit__switches_do_what_they_say():
    data, *_ = world()
    default = fit(data)
    assert set(default.diagnostics["fusion_weights"]) == {"prototypes", "probe", "text"}
    assert all(weight > 0 for weight in default.diagnostics["fusion_weights"].values())
    # Without fusion, the prototypes decide alone.
    alone = fit(data, dlf=False)
    assert alone.diagnostics["fusion_weights"]["prototypes"] > 0
    assert alone.diagnostics["fusion_weights"]["probe"] == alone.diagnostics["fusion_weights"]["text"] == 0
    assert alone.model.parts(data.features)["probe"].abs().max() == 0
    # Without unlabelled rows, it matters not which there are.
    without = fit(data, unlabelled=False)
    other = fit(dataclasses.replace(data, unlabelled=data.unlabelled[:5]), unlabelled=False)
    assert torch.equal(without.model(data.features), other.model(data.features))
    assert "unlabelled_used" not in without.diagnostics
    # Without the adapter, the view of features is a multiple of them.
    plain = fit(data, adapter=False).model.adapter
    assert plain.numpy() == pytest.approx(np.eye(WIDTH) * plain[0, 0].item(), abs=1e-4)
    assert default.model.adapter.numpy() != pytest.approx(np.eye(WIDTH) * default.model.adapter[0, 0].item(), abs=0.1)
    rows = len(data.features) + 0.25 * len(data.unlabelled)
    assert default.diagnostics["shrinkage"] == pytest.approx(WIDTH / (WIDTH + rows))
    assert fit(data, shrinkage=0.3).diagnostics["shrinkage"] == pytest.approx(0.3)


def test_fit__leaves_features_alone_where_an_adapter_clearly_harms():
    """Noise of the same strength in all directions, and few rows to learn a hardly shrunk covariance from."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(N_CLASSES, 64))
    labels = np.repeat(np.arange(N_CLASSES), 12)
    data = make_training_data(
        features=centres[labels] + 2.0 * generator.normal(size=(len(labels), 64)),
        labels=labels,
        unlabelled=np.empty((0, 64)),
        text=None,
        class_names=NAMES,
    )
    result = fit(data, shrinkage=1e-3, dlf=False, pseudo_count=0.1)
    assert result.diagnostics["shrinkage"] == 1.0
    assert result.model.adapter.numpy() == pytest.approx(np.eye(64) * result.model.adapter[0, 0].item(), abs=1e-3)


def test_clearly_lower__is_more_than_two_standard_errors():
    from ulfine_fast.closed_form.fits import _clearly_lower

    zeros, ones = torch.zeros(4).double(), torch.ones(4).double()
    # Gains 1, 1, 1, 3: sum 6, standard deviation 1, standard error of the sum 2.
    gains = torch.tensor([1.0, 1.0, 1.0, 3.0], dtype=torch.float64)
    assert _clearly_lower(zeros, gains, ones)
    assert not _clearly_lower(gains, zeros, ones)
    # The same less 0.6 each: sum 3.6 < 4.
    assert not _clearly_lower(zeros, gains - 0.6, ones)
    # Weights count: the last row alone is no evidence.
    assert not _clearly_lower(zeros, gains, torch.tensor([0.0, 0.0, 0.0, 1.0]).double())
    assert not _clearly_lower(zeros[:1], gains[:1], ones[:1])
    # Two rows are the fewest that have a standard error.
    assert _clearly_lower(zeros[:2], gains[:2], ones[:2])


def test_fit__without_paf_prototypes_stay_at_what_text_predicts():
    from ulfine_fast.closed_form.paf import labelled_moments, text_anchors

    data, *_ = world()
    model = fit(data, paf=False, unlabelled=False).model
    everything = torch.ones(1, len(data.labels), dtype=torch.bool)
    moments = labelled_moments(data.features, data.labels, N_CLASSES, everything)
    anchors = text_anchors(data.text.double(), moments, 1.0)[0].float()
    expected = (anchors - model.centre) @ model.adapter
    assert model.prototypes.numpy() == pytest.approx(expected.numpy(), abs=1e-2)


def test_fit__the_probe_s_penalty_weighs_less_the_more_rows_there_are():
    """A Gaussian prior of precision 12 beside the summed losses: the probe of rows that all come twice goes further."""
    from ulfine_fast.closed_form.text_anchored_probe import fit_text_anchored_probes

    data, *_ = world()
    departures = []
    for copies in (1, 2, 8):
        features, labels = data.features.repeat(copies, 1), data.labels.repeat(copies)
        model = fit(dataclasses.replace(data, features=features, labels=labels), unlabelled=False).model
        everything = torch.ones(1, len(labels), dtype=torch.bool)
        penalty = 12 / len(labels)
        expected = fit_text_anchored_probes(features, labels, model.text, everything, penalty=penalty, tau=2.0)[0]
        assert (features @ (model.probe - expected).T).abs().max() < 0.05
        departures.append(float((model.probe - model.text).norm()))
    assert departures[0] < 0.95 * departures[1] < 0.95 * departures[2]


def test_fit__a_permutation_of_labels_permutes_logits():
    data, rows, _ = world()
    order = torch.tensor([3, 0, 5, 1, 4, 2])  # new class k is old class order[k]
    new_of_old = torch.argsort(order)
    # Rows keep their folds when the classes keep theirs: deal by one fixed order, class by class.
    permuted = dataclasses.replace(data, labels=new_of_old[data.labels], text=data.text[order])
    settings = {"rounds": 2}
    first, second = fit(data, **settings).model(rows), fit(permuted, **settings).model(rows)
    # Folds are dealt class by class in the order of the numbers, so they differ, and with them the weights a little.
    assert (second.argmax(1) == new_of_old[first.argmax(1)]).float().mean() > 0.97


def test_fit__is_deterministic():
    data, rows, _ = world()
    first, second = fit(data, seed=3), fit(data, seed=3)
    assert torch.equal(first.model(rows), second.model(rows))
    assert first.history == second.history


def test_fit__unlabelled_rows_of_another_world_do_no_harm():
    losses = []
    for seed in range(4):
        data, rows, labels = world(seed)
        generator = np.random.default_rng(100 + seed)
        foreign = normalize(torch.as_tensor(generator.normal(size=(400, WIDTH))).float(), dim=-1)
        with_foreign = fit(dataclasses.replace(data, unlabelled=foreign))
        losses.append(macro(fit(data, unlabelled=False).model, rows, labels) - macro(with_foreign.model, rows, labels))
    assert np.mean(losses) < 0.03


def test_fit__finds_the_class_prior_of_the_unlabelled_rows():
    true_prior = COUNTS[::-1] / COUNTS.sum()
    priors = [fit(world(seed)[0]).diagnostics["unlabelled_prior"] for seed in range(4)]
    assert all(tuple(prior) == world()[0].class_names for prior in priors)
    found = np.mean([list(prior.values()) for prior in priors], axis=0)
    assert found.sum() == pytest.approx(1.0)
    assert np.abs(found - true_prior).sum() < 0.5 * np.abs(1 / N_CLASSES - true_prior).sum()


def test_fit__without_text():
    data, rows, labels = world()
    result = fit(dataclasses.replace(data, text=None))
    assert set(result.diagnostics["fusion_weights"]) == {"prototypes", "probe"}
    assert macro(result.model, rows, labels) > 0.5


def test_fit__a_class_with_text_and_no_labelled_rows():
    data, rows, labels = world()
    kept = data.labels != 5
    model = fit(dataclasses.replace(data, features=data.features[kept], labels=data.labels[kept])).model
    assert torch.isfinite(model(rows)).all()
    assert (model(rows).argmax(1).numpy()[labels == 5] == 5).mean() > 0.2


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("n_unlabelled", [0, 1])
def test_fit__none_or_one_unlabelled_row(text, n_unlabelled):
    data, rows, _ = world()
    few = dataclasses.replace(data, unlabelled=data.unlabelled[:n_unlabelled], text=data.text if text else None)
    assert torch.isfinite(fit(few).model(rows)).all()


@pytest.mark.parametrize("text", [True, False])
def test_fit__one_labelled_row_of_each_class(text):
    data, rows, labels = world()
    first = torch.tensor([int((data.labels == k).nonzero()[0]) for k in range(N_CLASSES)])
    few = dataclasses.replace(
        data, features=data.features[first], labels=data.labels[first], text=data.text if text else None
    )
    model = fit(few).model
    assert torch.isfinite(model(rows)).all()
    assert macro(model, rows, labels) > 1.5 / N_CLASSES


@pytest.mark.parametrize("adapter", [True, False])
def test_fit__stable_when_all_rows_are_copies(adapter):
    """Ten copies of one row for each class: no scatter within classes."""
    data, rows, _ = world()
    first = torch.tensor([int((data.labels == k).nonzero()[0]) for k in range(N_CLASSES)]).repeat_interleave(10)
    copies = dataclasses.replace(
        data, features=data.features[first], labels=data.labels[first], unlabelled=data.features[first]
    )
    result = fit(copies, adapter=adapter)
    assert torch.isfinite(result.model(rows)).all()
    assert (result.model(copies.features).argmax(1) == copies.labels).all()


def test_fit__the_model_gives_the_closed_form_s_logits():
    """The view with adapter in float32 equals the sum of its parts, and survives saving."""
    data, rows, _ = world()
    model = fit(data).model
    parts = model.parts(rows)
    assert (parts["text"] + parts["probe"]).numpy() == pytest.approx(model(rows).numpy(), abs=1e-4)
    other = METHOD.build(model.architecture())
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(rows), model(rows))


def test_fit__of_fewer_rows_than_dimensions_is_that_of_the_whole_space():
    """The closed form in all 60 dimensions, from 12 rows and 3 texts."""
    from ulfine_fast.closed_form.paf import fit_prototypes, labelled_moments

    generator = np.random.default_rng(0)
    centres = generator.normal(size=(3, 60))
    labels = np.repeat(np.arange(3), (6, 4, 2))
    data = make_training_data(
        features=1.0 + centres[labels] + 0.5 * generator.normal(size=(12, 60)),
        labels=labels,
        unlabelled=np.empty((0, 60)),
        text=centres,
        class_names=NAMES[:3],
    )
    model = fit(data).model
    moments = labelled_moments(data.features, data.labels, 3, torch.ones(1, 12, dtype=torch.bool))
    whole = fit_prototypes(data.text.double(), moments, pseudo_count=3.0, anchor_ridge=1.0, shrinkage=0.5)
    assert (model.adapter @ model.adapter).double().inverse().numpy() == pytest.approx(
        whole.covariance[0].numpy(), abs=1e-2 * float(whole.floor)
    )
    assert model.centre.numpy() == pytest.approx(whole.means[0].mean(0).numpy(), abs=1e-5)
    expected = (whole.means[0] - whole.means[0].mean(0)) @ model.adapter.double()
    assert model.prototypes.numpy() == pytest.approx(expected.numpy(), rel=1e-2, abs=1e-2)
    new = normalize(torch.as_tensor(1.0 + generator.normal(size=(40, 60))).float(), dim=-1)
    fused = new.double() @ whole.weight[0].T + whole.bias[0]
    found = (new - model.centre) @ model.adapter @ model.prototypes.T - 0.5 * model.prototypes.square().sum(-1)
    difference = (fused - found).numpy()
    # A term that all classes share is free.
    assert difference - difference.mean(1, keepdims=True) == pytest.approx(0 * difference, abs=0.05)


def test_fit__with_many_rows_samples_them_and_leaves_out_fewer_folds():
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(N_CLASSES, WIDTH))

    def draw(labels):
        return centres[labels] + 2.2 * generator.normal(size=(len(labels), WIDTH))

    labels, new_labels = np.repeat(np.arange(N_CLASSES), 250), np.repeat(np.arange(N_CLASSES), 300)
    few = np.concatenate([np.flatnonzero(labels == k)[:3] for k in range(N_CLASSES)])
    rows, unlabelled = draw(labels), draw(generator.choice(N_CLASSES, 3000, p=(0.05, 0.1, 0.15, 0.2, 0.2, 0.3)))
    new = normalize(torch.as_tensor(draw(new_labels)).float(), dim=-1)

    def result(chosen, unlabelled):
        return fit(
            make_training_data(
                features=rows[chosen], labels=labels[chosen], unlabelled=unlabelled, text=None, class_names=NAMES
            )
        )

    sampled = result(few, unlabelled)
    assert sampled.diagnostics["unlabelled_used"]
    assert macro(sampled.model, new, new_labels) > macro(result(few, unlabelled[:60]).model, new, new_labels) + 0.02
    prior = np.array(list(sampled.diagnostics["unlabelled_prior"].values()))
    assert prior.sum() == pytest.approx(1.0)
    assert np.abs(prior - (0.05, 0.1, 0.15, 0.2, 0.2, 0.3)).max() < 0.12
    assert sampled.diagnostics["left_out_rows"] == len(few)
    many = result(np.arange(len(labels)), unlabelled)
    # Four folds of 300 rows are enough.
    assert many.diagnostics["left_out_rows"] == 1200
    assert macro(many.model, new, new_labels) > macro(sampled.model, new, new_labels)
    confidence, truth = (
        torch.softmax(many.model.logits(new), dim=-1).max(1).values.mean(),
        macro(many.model, new, new_labels),
    )
    assert abs(float(confidence) - truth) < 0.05


def test_fit__learns_from_rows_that_no_fold_leaves_out():
    generator = np.random.default_rng(2)
    labels = np.repeat(np.arange(2), 900)
    data = make_training_data(
        features=generator.normal(size=(2, 8))[labels] + generator.normal(size=(1800, 8)),
        labels=labels,
        unlabelled=np.empty((0, 8)),
        text=None,
        class_names=NAMES[:2],
    )
    result = fit(data, pseudo_count=1e-6)
    assert result.diagnostics["left_out_rows"] < 1800
    means = torch.stack([data.features[data.labels == k].mean(0) for k in range(2)])
    assert result.model.centre.numpy() == pytest.approx(means.mean(0).numpy(), abs=1e-5)


def test_fit__pseudo_labels_of_all_parts_have_one_temperature():
    data, *_ = world()
    for temperature, confidence in ((1e6, 1 / N_CLASSES), (1e-6, 1.0)):
        history = fit(data, pseudo_label_temperature=temperature, rounds=1).history
        assert history[1]["confidence"] == pytest.approx(confidence, abs=1e-3)


def test_fit__tells_of_its_end():
    class Told(Silent):
        def update(self, stage, done, total, **figures):
            steps.append((stage, done, total))

    steps = []
    data, *_ = world()
    METHOD.fit(data, UlfineSettings(rounds=200), 0, Told())
    assert steps[-1] == ("training", 201, 201)
    assert len(steps) < 150


@pytest.mark.parametrize("text", [True, False])
def test_fit__labelled_rows_of_zeros_teach_nothing(text):
    """Nor do they stop the fit: without direction they have no axes to learn along."""
    data, rows, _ = world()
    blind = dataclasses.replace(
        data, features=torch.zeros_like(data.features), unlabelled=data.unlabelled[:0], text=data.text if text else None
    )
    model = fit(blind).model
    assert torch.isfinite(model(rows)).all()
    assert torch.equal(model.probe, model.text if text else torch.zeros_like(model.probe))
