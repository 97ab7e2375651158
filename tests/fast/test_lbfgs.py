import subprocess
import sys

import numpy as np
import torch
from scipy.optimize import rosen

from ulfine_fast.lbfgs import minimise


def test_minimise__a_known_quadratic():
    generator = np.random.default_rng(0)
    root = generator.normal(size=(6, 6))
    matrix, target = torch.as_tensor(root @ root.T + np.eye(6)), torch.as_tensor(generator.normal(size=6))
    found = minimise(lambda x: 0.5 * x @ matrix @ x - target @ x, torch.zeros(6, dtype=torch.float64), max_iter=200)
    np.testing.assert_allclose(found, torch.linalg.solve(matrix, target), atol=1e-5)


def test_minimise__rosenbrock():
    def loss(x):
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    found = minimise(loss, torch.tensor([-1.2, 1.0, 0.5], dtype=torch.float64), max_iter=200)
    assert rosen(found.numpy()) < 1e-8


def test_minimise__keeps_shape_type_and_start():
    start = torch.ones(2, 3, requires_grad=True)
    found = minimise(lambda x: x.square().sum(), start, max_iter=50)
    assert found.shape == (2, 3)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert torch.equal(start.detach(), torch.ones(2, 3))
    np.testing.assert_allclose(found, 0, atol=1e-4)


def test_minimise__one_iteration_is_not_many():
    def loss(x):
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    start = torch.tensor([-1.2, 1.0], dtype=torch.float64)
    assert loss(minimise(loss, start, 1)) > loss(minimise(loss, start, 100)) + 1e-3


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
