"""Which problem judges which row, and what it is worth."""

import numpy as np
import pytest
import torch

from ulfine_fast.closed_form.dlf import align, fit_fusion_weights
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
    probes = torch.as_tensor(5 * generator.normal(size=(N_PROBLEMS, N_CLASSES, WIDTH))).float()
    weight, bias = (torch.as_tensor(generator.normal(size=(N_PROBLEMS, N_CLASSES, n))) for n in (WIDTH, 1))
    nothing = torch.empty(0)
    return data, folds, probes, Prototypes(nothing, nothing, nothing, nothing, nothing, 9 * weight, bias[..., 0])


@pytest.mark.parametrize("text", [True, False])
def test_fit__each_row_is_judged_by_the_problem_that_left_it_out(text):
    data, folds, probes, prototypes = task(text)
    scaled = None if data.text is None else 20 * data.text
    fusion = LeftOutFusion(data, folds, probes, scaled, dlf=True)
    weights, losses = fusion.fit(prototypes)
    rows = [(n, b) for b in range(1, N_PROBLEMS) for n in range(len(folds)) if folds[n] == b]
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
    assert weights.numpy() == pytest.approx(fit_fusion_weights(parts, labels, row_weights, prior_std).numpy(), rel=1e-3)
    log_p = torch.log_softmax(torch.einsum("p,pnc->nc", weights, parts), dim=-1)
    assert losses.numpy() == pytest.approx(-log_p[range(len(labels)), labels].numpy(), abs=1e-3)


def test_fit__without_fusion_prototypes_are_calibrated_alone():
    data, folds, probes, prototypes = task(text=True)
    fusion = LeftOutFusion(data, folds, probes, 20 * data.text, dlf=False)
    weights, _ = fusion.fit(prototypes)
    rows = [data.features[folds == b].double() @ prototypes.weight[b].T + prototypes.bias[b] for b in (1, 2)]
    alone = align(torch.cat(rows)[None], fusion.labels, fusion.row_weights)
    assert weights.tolist() == pytest.approx([float(alone), 0.0, 0.0], rel=1e-3)


@pytest.mark.parametrize(("place", "least", "most"), [(0, 2.5, 3.5), (1, 1.1, 1.8), (2, 2.5, 3.5)])
def test_fit__left_out_rows_move_the_probe_s_weight_less_than_the_others(place, least, most):
    """One part knows the classes and two are noise; it is expected to weigh a third and alone would weigh three."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(N_CLASSES), (30, 20, 10))
    data = make_training_data(
        features=np.eye(3)[labels] + 0.9 * generator.normal(size=(60, 3)),
        labels=labels,
        unlabelled=np.empty((0, 3)),
        text=np.eye(3),
        class_names=("ash", "birch", "cedar"),
    )
    folds = torch.as_tensor(generator.permutation(np.arange(60) % 2) + 1)
    parts = [torch.as_tensor(10 * generator.normal(size=(3, 3))).float()] * 3
    parts[place] = 10 * torch.eye(3)
    prototypes, probe, text = parts
    nothing = torch.empty(0)
    fitted = Prototypes(nothing, nothing, nothing, nothing, nothing, prototypes.expand(3, 3, 3), torch.zeros(3, 3))
    weights, _ = LeftOutFusion(data, folds, probe.expand(3, 3, 3), text, dlf=True).fit(fitted)
    alone, _ = LeftOutFusion(data, folds, (10 * torch.eye(3)).expand(3, 3, 3), text, dlf=False).fit(
        Prototypes(*[nothing] * 5, (10 * torch.eye(3)).expand(3, 3, 3), torch.zeros(3, 3))
    )
    assert least < float(weights[place] / (alone[0] / 3)) < most
