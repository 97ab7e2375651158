"""Problems side by side against closed forms and scipy's own minimiser."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.optimize import minimize as scipy_minimize
from scipy.optimize import rosen, rosen_der

from ulfine_fast.closed_form.lbfgs import minimise


def quadratics(n_problems=4, width=6):
    """0.5 x'Ax - t'x with A of growing condition; (B, n, n) and (B, n), float64."""
    generator = np.random.default_rng(0)
    roots = generator.normal(size=(n_problems, width, width))
    matrices = roots @ roots.transpose(0, 2, 1) + 10.0 ** -np.arange(n_problems)[:, None, None] * np.eye(width)
    return torch.as_tensor(matrices), torch.as_tensor(generator.normal(size=(n_problems, width)))


def quadratic_losses(matrices, targets):
    def value_and_gradient(x):
        product = (matrices @ x[..., None])[..., 0]
        return (x * (0.5 * product - targets)).sum(1), product - targets

    return value_and_gradient


def rosenbrock(x):
    rows = x.numpy()
    return torch.as_tensor(np.array([rosen(row) for row in rows])), torch.as_tensor(np.array([*map(rosen_der, rows)]))


def test_minimise__known_quadratics_side_by_side():
    matrices, targets = quadratics()
    found = minimise(quadratic_losses(matrices, targets), torch.zeros_like(targets), max_iter=500, tolerance=1e-20)
    np.testing.assert_allclose(found, torch.linalg.solve(matrices, targets), rtol=1e-5, atol=1e-7)


def test_minimise__a_problem_alone_takes_the_steps_it_takes_in_company():
    matrices, targets = quadratics()
    together = minimise(quadratic_losses(matrices, targets), torch.zeros_like(targets), max_iter=6, tolerance=1e-20)
    for b in range(len(targets)):
        loss = quadratic_losses(matrices[b : b + 1], targets[b : b + 1])
        alone = minimise(loss, torch.zeros_like(targets[b : b + 1]), max_iter=6, tolerance=1e-20)
        np.testing.assert_allclose(together[b], alone[0], rtol=1e-9)


def test_minimise__rosenbrock_from_far_off():
    starts = torch.tensor([[-1.2, 1.0, 0.5], [3.0, -2.0, 4.0]], dtype=torch.float64)
    found = minimise(rosenbrock, starts, max_iter=400, tolerance=1e-16)
    np.testing.assert_allclose(found, 1.0, atol=1e-6)


def by_dense_updates(start, evaluations):
    """The same minimisation of one Rosenbrock function, with the inverse Hessian itself instead of products with it.

    Nocedal and Wright (2006): equation 7.19 applied to the pairs of the last ten evaluations, oldest first, from the
    multiple of the identity of equation 7.20; condition 3.4 with c1 = 1e-4 and a millionth of the loss for rounding.
    """
    point, pairs, scale, length = start, [], 1.0, 1.0
    direction = -rosen_der(point)
    for _ in range(evaluations):
        gradient = rosen_der(point)
        step = length * direction
        bound = rosen(point) + 1e-4 * gradient @ step + 1e-6 * abs(rosen(point))
        if rosen(point + step) > bound:
            length /= 2
            pairs.append(None)
            continue
        change = rosen_der(point + step) - gradient
        useful = step @ change > 0
        pairs.append((step, change) if useful else None)
        scale = step @ change / (change @ change) if useful else scale
        inverse = scale * np.eye(len(point))
        for s, y in filter(None, pairs[-10:]):
            towards = np.eye(len(point)) - np.outer(y, s) / (s @ y)
            inverse = towards.T @ inverse @ towards + np.outer(s, s) / (s @ y)
        point, length = point + step, 1.0
        direction = -inverse @ rosen_der(point)
    return point


@pytest.mark.parametrize("evaluations", [1, 2, 5, 10, 15, 20, 25, 30])
def test_minimise__takes_the_steps_of_the_textbook(evaluations):
    starts = np.array([[-1.2, 1.0] * 7, [0.3, -0.4] * 7])
    found = minimise(rosenbrock, torch.tensor(starts), max_iter=evaluations, tolerance=0.0).numpy()
    for start, point in zip(starts, found, strict=True):
        np.testing.assert_allclose(point, by_dense_updates(start, evaluations), rtol=1e-6)


@pytest.mark.parametrize(("fall", "taken"), [(0.95e-4, False), (1.05e-4, True)])
def test_minimise__a_step_has_to_bring_a_ten_thousandth_of_what_it_promises(fall, taken):
    """A slope of 1 promises a fall by 1 at the first step. The loss, 0.1, may be wrong by 1e-7."""
    asked = []

    def value_and_gradient(x):
        asked.append(float(x[0, 0]))
        return torch.where(x[:, 0] == -1, 0.1 - fall, 0.1).double(), torch.ones_like(x)

    minimise(value_and_gradient, torch.zeros(1, 1, dtype=torch.float64), max_iter=2, tolerance=0.0)
    assert asked == [0.0, -1.0, -2.0 if taken else -0.5]


@pytest.mark.parametrize(("rise", "taken"), [(0.9e-3, True), (1.1e-3, False)])
def test_minimise__a_rise_by_a_millionth_of_the_loss_is_rounding(rise, taken):
    asked = []

    def value_and_gradient(x):
        asked.append(float(x[0, 0]))
        return torch.where(x[:, 0] == 0, 1000.0, 1000.0 + rise).double(), torch.full_like(x, 1e-3)

    minimise(value_and_gradient, torch.zeros(1, 1, dtype=torch.float64), max_iter=2, tolerance=0.0)
    assert asked == [0.0, -1e-3, -2e-3 if taken else -0.5e-3]


def test_minimise__converged_is_a_squared_norm_of_the_tolerance():
    asked = []

    def value_and_gradient(x):
        asked.append(len(x))
        return x.sum(1), torch.tensor([[3.0, 4.0]]).double()

    for tolerance in (25.0, 24.9):
        minimise(value_and_gradient, torch.zeros(1, 2, dtype=torch.float64), max_iter=1, tolerance=tolerance)
    assert len(asked) == 1 + 2


def test_minimise__never_rises():
    starts = torch.tensor([[-1.2, 1.0, 0.5], [3.0, -2.0, 4.0]], dtype=torch.float64)
    losses = np.array(
        [rosenbrock(minimise(rosenbrock, starts, max_iter=n, tolerance=0.0))[0].numpy() for n in range(30)]
    )
    assert (losses[1:] <= losses[:-1] * (1 + 1e-5)).all()


def test_minimise__needs_about_as_many_evaluations_as_scipy():
    matrices, targets = quadratics(n_problems=1, width=30)
    calls = 0
    loss = quadratic_losses(matrices, targets)

    def counted(x):
        nonlocal calls
        calls += 1
        return loss(x)

    minimise(counted, torch.zeros_like(targets), max_iter=1000, tolerance=1e-10)

    def flat(x):
        value, gradient = loss(torch.as_tensor(x)[None])
        return float(value[0]), gradient[0].numpy()

    theirs = scipy_minimize(
        flat, np.zeros(30), jac=True, method="L-BFGS-B", options={"gtol": 1e-5, "ftol": 0, "maxfun": 9999}
    )
    assert calls < 1.5 * theirs.nfev


def test_minimise__stops_where_a_problem_starts_at_its_minimum():
    matrices, targets = quadratics()
    best = torch.linalg.solve(matrices, targets)
    calls = 0

    def counted(x):
        nonlocal calls
        calls += 1
        return quadratic_losses(matrices, targets)(x)

    assert torch.equal(minimise(counted, best, max_iter=50, tolerance=1e-12), best)
    assert calls == 1


def test_minimise__keeps_shape_type_and_start():
    start = torch.ones(2, 3)
    found = minimise(lambda x: (x.square().sum(1), 2 * x), start, max_iter=50, tolerance=1e-12)
    assert found.shape == (2, 3)
    assert found.dtype == torch.float32
    assert torch.equal(start, torch.ones(2, 3))
    np.testing.assert_allclose(found, 0, atol=1e-4)


def test_fit__does_not_load_torchs_compiler():
    code = """
import sys
import numpy as np
from ulfine_fast import ULFineClassifier
rows = np.random.default_rng(0).normal(size=(30, 8))
ULFineClassifier(device="cpu").fit(rows, np.arange(30) % 3)
assert "torch._dynamo" not in sys.modules, "the compiler takes longer to load than the fit"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
