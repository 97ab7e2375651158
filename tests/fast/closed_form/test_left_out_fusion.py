"""Which problem judges which row, and what it is worth."""

import numpy as np
import pytest
import torch

from ulfine_fast.closed_form.dlf import align, calibrate, fit_fusion_weights
from ulfine_fast.closed_form.left_out_fusion import LeftOutFusion
from ulfine_fast.closed_form.paf import Prototypes
from ulfine_fast.rows.folds import balanced_weights
from ulfine_fast.rows.training_data import make_training_data

N_CLASSES, WIDTH, N_PROBLEMS = 3, 4, 3


def task(text, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(N_CLASSES), (12, 6, 1))
    centres = generator.normal(size=(N_CLASSES, WIDTH))
    data = make_training_data(
        features=centres[labels] + generator.normal(size=(len(labels), WIDTH)),
        labels=labels,
        unlabelled=np.empty((0, WIDTH)),
        text=centres if text else None,
        class_names=("ash", "birch", "cedar"),
    )
    folds = torch.as_tensor(generator.permutation(np.arange(len(labels)) % N_PROBLEMS))
    folds[-1] = 1  # the only row of the last class is left out
    keep = folds != torch.arange(N_PROBLEMS)[:, None]
    keep[0] = True
    probes = torch.as_tensor(5 * generator.normal(size=(N_PROBLEMS, N_CLASSES, WIDTH))).float()
    weight, bias = (torch.as_tensor(generator.normal(size=(N_PROBLEMS, N_CLASSES, n))) for n in (WIDTH, 1))
    return data, keep, probes, prototypes_of(9 * weight, bias[..., 0])


def prototypes_of(weight, bias, counts=1e9):
    """With so many images behind them that no credit is given."""
    nothing = torch.empty(0)
    behind = torch.full((N_PROBLEMS, N_CLASSES), counts)
    return Prototypes(nothing, nothing, nothing, nothing, nothing, behind, weight, bias)


@pytest.mark.parametrize("text", [True, False])
def test_fit__each_row_is_judged_by_the_problem_that_left_it_out(text):
    data, keep, probes, prototypes = task(text)
    scaled = None if data.text is None else 20 * data.text
    fusion = LeftOutFusion(data, keep, probes, scaled, dlf=True)
    weights, losses, noise = fusion.fit(prototypes)
    rows = [(n, b) for b in range(1, N_PROBLEMS) for n in range(len(data.labels)) if not keep[b, n]]
    parts = []
    for n, b in rows:
        x = data.features[n].double()
        logits = [prototypes.weight[b] @ x + prototypes.bias[b], probes[b].double() @ x]
        parts.append(torch.stack(logits if scaled is None else [*logits, scaled.double() @ x]))
    parts = torch.stack(parts, dim=1)
    labels = data.labels[[n for n, _ in rows]]
    assert torch.equal(fusion.labels, labels)
    # Without text nothing speaks for a class whose only row is left out.
    usable = (labels < 2) | text
    row_weights = balanced_weights(labels, torch.bincount(labels, minlength=N_CLASSES), usable)
    assert torch.equal(fusion.row_weights, row_weights)
    assert bool((row_weights[labels == 2] > 0).all()) == text
    # Standard deviations of the logarithms of the weights: that of the probe is this project's choice (docs/method.md).
    prior_std = torch.tensor([1.0, 0.3, 1.0][: len(parts)], dtype=torch.float64)
    alone = fit_fusion_weights(parts, labels, row_weights, prior_std)
    factor, found = calibrate(torch.einsum("p,pnc->nc", alone, parts), labels, row_weights)
    assert weights.numpy() == pytest.approx(factor * alone.numpy(), rel=1e-3)
    assert noise == found == 0
    log_p = torch.log_softmax(torch.einsum("p,pnc->nc", weights, parts), dim=-1)
    assert losses.numpy() == pytest.approx(-log_p[range(len(labels)), labels].numpy(), abs=1e-3)


def test_fit__without_fusion_prototypes_are_calibrated_alone():
    data, keep, probes, prototypes = task(text=True)
    fusion = LeftOutFusion(data, keep, probes, 20 * data.text, dlf=False)
    weights, *_ = fusion.fit(prototypes)
    rows = [data.features[~keep[b]].double() @ prototypes.weight[b].T + prototypes.bias[b] for b in (1, 2)]
    alone = align(torch.cat(rows)[None], fusion.labels, fusion.row_weights)
    assert weights[1:].tolist() == [0.0, 0.0]
    factor, _ = calibrate(float(alone) * torch.cat(rows), fusion.labels, fusion.row_weights)
    assert float(weights[0]) == pytest.approx(factor * float(alone), rel=1e-3)


@pytest.mark.parametrize(("place", "least", "most"), [(0, 25, 35), (1, 12, 18), (2, 25, 35)])
def test_fit__left_out_rows_move_the_probe_s_weight_less_than_the_others(place, least, most):
    """One part knows the classes and two are noise: how many times their weight it is given."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(N_CLASSES), (30, 20, 10))
    data = make_training_data(
        features=np.eye(3)[labels] + 0.9 * generator.normal(size=(60, 3)),
        labels=labels,
        unlabelled=np.empty((0, 3)),
        text=np.eye(3),
        class_names=("ash", "birch", "cedar"),
    )
    keep = torch.as_tensor(generator.permutation(np.arange(60) % 2) + 1) != torch.arange(3)[:, None]
    parts = [torch.as_tensor(10 * generator.normal(size=(3, 3))).float()] * 3
    parts[place] = 10 * torch.eye(3)
    prototypes, probe, text = parts
    fitted = prototypes_of(prototypes.expand(3, 3, 3), torch.zeros(3, 3))
    weights, *_ = LeftOutFusion(data, keep, probe.expand(3, 3, 3), text, dlf=True).fit(fitted)
    others = [float(weights[other]) for other in range(3) if other != place]
    assert least < float(weights[place]) / max(others) < most


@pytest.mark.parametrize(("text", "credit"), [(True, 1.0), (False, 1.5)])
def test_fit__without_text_prototypes_of_few_images_count_more_than_left_out_rows_say(text, credit):
    """`1 + 2 mean_k(1 / N_k)` times, before all weights are calibrated again; 2 is this project's choice."""
    data, keep, probes, prototypes = task(text=text)
    fusion = LeftOutFusion(data, keep, probes, 20 * data.text if text else None, dlf=True)
    many, *_ = fusion.fit(prototypes)
    few, *_ = fusion.fit(prototypes_of(prototypes.weight, prototypes.bias, counts=4.0))
    assert float(few[0] / few[1]) == pytest.approx(credit * float(many[0] / many[1]), rel=1e-4)


def test_fit__where_no_row_can_be_judged_the_prototypes_of_one_image_count_five_times():
    generator = np.random.default_rng(0)
    data = make_training_data(
        features=generator.normal(size=(3, WIDTH)),
        labels=np.arange(3),
        unlabelled=np.empty((0, WIDTH)),
        text=None,
        class_names=("ash", "birch", "cedar"),
    )
    keep = torch.ones(N_PROBLEMS, 3, dtype=torch.bool)
    keep[1, 0] = keep[2, 1:] = False
    parts = torch.as_tensor(generator.normal(size=(N_PROBLEMS, N_CLASSES, WIDTH))).float()
    fitted = prototypes_of(parts, torch.zeros(N_PROBLEMS, N_CLASSES), counts=1.0)
    weights, losses, noise = LeftOutFusion(data, keep, parts, None, dlf=True).fit(fitted)
    assert weights.tolist() == pytest.approx([0.25, 0.05])
    assert noise == 0
    assert bool(losses.isfinite().all())


def test_row_weights__where_a_third_of_the_classes_has_no_label_rows_of_unseen_classes_count_a_third():
    labels = np.array([0, 0, 0, 0, 1, 1])
    data = make_training_data(
        features=np.eye(WIDTH)[[0, 1, 2, 3, 0, 1]],
        labels=labels,
        unlabelled=np.empty((0, WIDTH)),
        text=np.eye(3, WIDTH),
        class_names=("ash", "birch", "cedar"),
    )
    keep = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 0]], dtype=torch.bool)
    fusion = LeftOutFusion(data, keep, torch.zeros(3, 3, WIDTH), torch.zeros(3, WIDTH), dlf=True)
    assert fusion.labels.tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 1]
    seen, unseen = 2 / 3, 1 / 3
    raw = np.array([seen / 2, seen / 2, unseen / 2, unseen / 2, *[unseen / 4] * 4, seen])
    assert fusion.row_weights.numpy() == pytest.approx(raw * raw.sum() / (raw**2).sum())


@pytest.mark.parametrize("text", [True, False])
def test_looks__the_fused_logits_of_each_row_by_the_problem_that_left_it_out(text):
    data, keep, probes, prototypes = task(text)
    scaled = None if data.text is None else 20 * data.text
    fusion = LeftOutFusion(data, keep, probes, scaled, dlf=True)
    weights, losses, _ = fusion.fit(prototypes)
    looks = fusion.looks(prototypes, weights)
    assert sorted(looks.rows.tolist()) == [n for n in range(len(data.labels)) if not keep[1:, n].all()]
    assert looks.logits.dtype == torch.float32
    found = torch.nn.functional.cross_entropy(looks.logits.double(), data.labels[looks.rows], reduction="none")
    assert found.numpy() == pytest.approx(losses.numpy(), abs=1e-3)


def test_looks__rows_of_a_class_that_its_problem_left_out_whole_are_not_looked_at():
    """Unless the class has no other row: where classes have no label, folds leave out whole classes besides."""
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    data = make_training_data(
        features=np.eye(WIDTH)[[0, 1, 2, 3, 0, 1, 2]],
        labels=labels,
        unlabelled=np.empty((0, WIDTH)),
        text=np.eye(4, WIDTH),
        class_names=("ash", "birch", "cedar", "elm"),
    )
    keep = torch.tensor([[1] * 7, [0, 0, 1, 1, 0, 0, 1], [0, 0, 0, 0, 1, 0, 0]], dtype=torch.bool)
    fusion = LeftOutFusion(data, keep, torch.zeros(3, 4, WIDTH), torch.zeros(4, WIDTH), dlf=True)
    looks = fusion.looks(prototypes_of(torch.zeros(3, 4, WIDTH), torch.zeros(3, 4)), torch.ones(3).double())
    assert looks.rows.tolist() == [0, 1, 5, 6]
