"""The convex probe against scipy's general minimiser in float64."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import softmax

from ulfine_fast.closed_form import text_anchored_probe
from ulfine_fast.closed_form.text_anchored_probe import fit_text_anchored_probes

WIDTH = 5
EXACT = {"max_iter": 400, "tolerance": 1e-9}


def task(counts, width=WIDTH, seed=0):
    generator = np.random.default_rng(seed)
    text = generator.normal(size=(len(counts), width))
    labels = np.repeat(np.arange(len(counts)), counts)
    rows = text[labels] + 0.8 * generator.normal(size=(len(labels), width))
    unit = [array / np.linalg.norm(array, axis=1, keepdims=True) for array in (rows, text)]
    return unit[0].astype(np.float32), labels, unit[1].astype(np.float32)


def objective(departure, rows, labels, anchor, penalty, tau):
    """Loss written out in numpy, and its gradient."""
    n_classes, width = anchor.shape
    departure = departure.reshape(n_classes, width)
    counts = np.bincount(labels, minlength=n_classes)
    logits = rows @ (anchor + 50 * departure).T + tau * np.log(np.maximum(counts, 0.5))
    logits -= logits.max(1, keepdims=True)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    loss = -np.log(p[np.arange(len(labels)), labels]).mean() + penalty * (departure**2).sum()
    p[np.arange(len(labels)), labels] -= 1
    return loss, (50 * p.T @ rows / len(labels) + 2 * penalty * departure).ravel()


def by_scipy(rows, labels, anchor, penalty, tau):
    arguments = (rows.astype(np.float64), labels, anchor.astype(np.float64), penalty, tau)
    options = {"gtol": 1e-9, "maxiter": 5000}
    found = minimize(objective, np.zeros(anchor.size), arguments, jac=True, method="BFGS", options=options)
    return anchor + 50 * found.x.reshape(anchor.shape), found.fun


def probe(rows, labels, anchor, **settings):
    everything = torch.ones(1, len(rows), dtype=torch.bool)
    tensors = (torch.tensor(rows), torch.tensor(labels), torch.tensor(anchor), everything)
    return fit_text_anchored_probes(*tensors, **EXACT | settings)[0]


@pytest.mark.parametrize("tau", [0.0, 1.0])
@pytest.mark.parametrize("anchor_scale", [0.0, 30.0])
def test_fit__against_scipy_with_more_rows_than_dimensions(tau, anchor_scale):
    rows, labels, text = task((20, 8, 3))
    anchor = anchor_scale * text
    expected, best = by_scipy(rows, labels, anchor, 0.1, tau)
    found = probe(rows, labels, anchor, penalty=0.1, tau=tau).double().numpy()
    loss, _ = objective((found - anchor) / 50, rows.astype(np.float64), labels, anchor.astype(np.float64), 0.1, tau)
    assert loss == pytest.approx(best, abs=2e-5)
    assert softmax(rows @ found.T, axis=1) == pytest.approx(softmax(rows @ expected.T, axis=1), abs=5e-3)


def test_fit__in_the_span_of_few_rows_equals_the_full_space():
    rows, labels, text = task((4, 2, 1), width=12)
    anchor = 30 * text
    expected, _ = by_scipy(rows, labels, anchor, 0.1, 1.0)
    found = probe(rows, labels, anchor, penalty=0.1).numpy()
    assert found == pytest.approx(expected, abs=0.05)
    # The departure lies in the span of the rows.
    inside = np.linalg.lstsq(rows.T, (found - anchor).T, rcond=None)[0]
    assert rows.T @ inside == pytest.approx((found - anchor).T, abs=1e-4)


def test_fit__the_default_tolerance_is_close_enough():
    rows, labels, text = task((16, 8, 4, 2, 1, 1), width=64)
    exact = probe(rows, labels, 30 * text, penalty=0.1)
    everything = torch.ones(1, len(rows), dtype=torch.bool)
    tensors = (torch.tensor(rows), torch.tensor(labels), torch.tensor(30 * text))
    found = fit_text_anchored_probes(*tensors, everything, penalty=0.1)[0]
    losses = [
        objective((probe.numpy() - 30 * text) / 50, rows, labels, 30 * text, 0.1, 1.0)[0] for probe in (found, exact)
    ]
    assert losses[0] - losses[1] < 2e-5
    assert (torch.tensor(rows) @ (found - exact).T).abs().max() < 0.3


@pytest.mark.parametrize("width", [WIDTH, 40])
def test_fit__selections_side_by_side_equal_selections_alone(width):
    rows, labels, text = task((12, 8, 5, 2), width=width)
    keep = np.concatenate([np.ones((1, len(rows)), bool), np.random.default_rng(1).random((3, len(rows))) < 0.7])
    tensors = (torch.tensor(rows), torch.tensor(labels), torch.tensor(30 * text))
    together = fit_text_anchored_probes(*tensors, torch.tensor(keep), penalty=0.1, **EXACT)
    for b, chosen in enumerate(keep):
        alone = probe(rows[chosen], labels[chosen], 30 * text, penalty=0.1)
        assert rows @ together[b].numpy().T == pytest.approx(rows @ alone.numpy().T, abs=0.05)


def test_fit__a_selection_of_no_rows_is_zero_shot():
    rows, labels, text = task((4, 2, 1))
    keep = torch.zeros(1, len(rows), dtype=torch.bool)
    found = fit_text_anchored_probes(torch.tensor(rows), torch.tensor(labels), torch.tensor(text), keep, penalty=0.1)
    assert torch.equal(found[0], torch.tensor(text))


def test_fit__a_large_penalty_is_zero_shot():
    rows, labels, text = task((20, 8, 3))
    assert probe(rows, labels, 30 * text, penalty=1e6).numpy() == pytest.approx(30 * text, abs=0.01)


def test_fit__duplicate_rows_change_nothing():
    rows, labels, text = task((4, 2, 1), width=12)
    twice = probe(np.tile(rows, (2, 1)), np.tile(labels, 2), 30 * text, penalty=0.1)
    assert torch.isfinite(twice).all()
    assert twice.numpy() == pytest.approx(probe(rows, labels, 30 * text, penalty=0.1).numpy(), abs=0.05)


def test_fit__a_class_without_rows_keeps_a_finite_weight():
    rows, labels, text = task((20, 8, 0))
    expected, _ = by_scipy(rows, labels, 30 * text, 0.1, 1.0)
    assert probe(rows, labels, 30 * text, penalty=0.1).numpy() == pytest.approx(expected, abs=0.05)


def test_fit__a_class_that_the_problem_does_not_know_of_keeps_its_anchor_where_it_takes_no_part():
    rows, labels, text = task((20, 8, 0))
    found = probe(rows, labels, 30 * text, penalty=0.1, unseen=False).numpy()
    expected, _ = by_scipy(rows, labels, 30 * text[:2], 0.1, 1.0)
    assert found[:2] == pytest.approx(expected, abs=0.05)
    assert (found[2] == 30 * text[2]).all()


def test_fit__of_no_rows_at_all_is_zero_shot():
    text = torch.eye(3, WIDTH)
    nothing = torch.empty(0, dtype=torch.int64)
    keep = torch.empty(2, 0, dtype=torch.bool)
    found = fit_text_anchored_probes(torch.empty(0, WIDTH), nothing, text, keep, penalty=0.1)
    assert torch.equal(found, text.expand(2, -1, -1))


def test_fit__a_selection_of_one_row_learns_from_it_in_full():
    rows, labels, text = task((4, 2, 1))
    keep = torch.zeros(2, len(rows), dtype=torch.bool)
    keep[0, 5] = keep[1, :] = True
    tensors = (torch.tensor(rows), torch.tensor(labels), torch.zeros_like(torch.tensor(text)))
    found = fit_text_anchored_probes(*tensors, keep, penalty=100.0, **EXACT)[0].numpy()
    counts = np.bincount(labels[5:6], minlength=3)
    assert counts.tolist() == [0, 1, 0]
    expected, _ = by_scipy(rows[5:6], labels[5:6], 0 * text, 100.0, 1.0)
    assert np.abs(expected).max() > 1.0
    assert found == pytest.approx(expected, abs=1e-3)


def problem_of(monkeypatch, *arguments, **settings):
    """What a fit gives to the minimiser: losses and gradients of points, the start, and when to end."""
    given = {}

    def watched(value_and_gradient, start, **limits):
        given.update(value_and_gradient=value_and_gradient, start=start, limits=limits)
        return start

    monkeypatch.setattr(text_anchored_probe, "minimise", watched)
    fit_text_anchored_probes(*arguments, **settings)
    return given


def curvatures(given):
    """Second derivative of each problem's loss along each unknown at the start, (B, n)."""
    start, step = given["start"], 1e-2
    _, middle = given["value_and_gradient"](start)
    found = torch.empty_like(start)
    for unknown in range(start.shape[1]):
        moved = start.clone()
        moved[:, unknown] += step
        found[:, unknown] = (given["value_and_gradient"](moved)[1] - middle)[:, unknown] / step
    return found


@pytest.mark.parametrize("penalty", [0.01, 20.0, 500.0])
def test_fit__unknowns_are_scaled_to_a_curvature_of_one(monkeypatch, penalty):
    """Where all classes are equally probable, what is left out of the scale is nothing: it is one to all digits."""
    rows, labels, text = task((8, 6, 4, 4))
    keep = torch.ones(2, len(rows), dtype=torch.bool)
    tensors = (torch.tensor(rows), torch.tensor(labels), torch.zeros_like(torch.tensor(text)))
    given = problem_of(monkeypatch, *tensors, keep, penalty=penalty, tau=0.0)
    assert given["start"].shape == (2, 4 * WIDTH)
    assert curvatures(given).numpy() == pytest.approx(np.ones((2, 4 * WIDTH)), rel=0.01)


def test_fit__a_start_that_is_sure_of_itself_does_not_make_the_first_step_too_long(monkeypatch):
    """Without curvature of its own the loss counts a thousandth: rows of variance 1/3 give 2500 / 3000 beside 2."""
    rows, labels = torch.eye(3), torch.tensor([0, 1, 2])
    keep = torch.ones(1, 3, dtype=torch.bool)
    given = problem_of(monkeypatch, rows, labels, 1000 * rows, keep, penalty=1.0)
    assert curvatures(given).numpy() == pytest.approx(np.full((1, 9), 2 / (2500 / 3000 + 2)), rel=1e-3)


def test_fit__ends_a_hundred_thousandth_of_a_nat_above_the_minimum(monkeypatch):
    """With unknowns of curvature 1 that is half the square of the gradient's norm."""
    rows, labels, text = (torch.tensor(array) for array in task((8, 6, 4, 4)))
    given = problem_of(monkeypatch, rows, labels, text, torch.ones(1, len(rows), dtype=torch.bool), penalty=0.1)
    assert given["limits"] == {"max_iter": 60, "tolerance": pytest.approx(2e-5)}
