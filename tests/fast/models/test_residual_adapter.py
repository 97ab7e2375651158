import numpy as np
import pytest
import torch

from ulfine_fast.models.residual_adapter import ResidualAdapter


def unit_rows(n, width, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_forward__by_hand():
    adapter = ResidualAdapter(6, 3)
    generator = np.random.default_rng(1)
    down, up = generator.normal(size=(3, 6)).astype(np.float32), generator.normal(size=(6, 3)).astype(np.float32)
    adapter.load_state_dict({"down": torch.tensor(down), "up": torch.tensor(up)})
    rows = unit_rows(5, 6)
    expected = rows + np.maximum(rows @ down.T, 0) @ up.T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert adapter(torch.tensor(rows)).detach().numpy() == pytest.approx(expected, abs=1e-6)


def test_forward__untrained_is_the_identity():
    rows = torch.tensor(unit_rows(20, 8))
    adapter = ResidualAdapter(8, 4, torch.Generator().manual_seed(0))
    assert adapter(rows).detach().numpy() == pytest.approx(rows.numpy(), abs=1e-6)


def test_init__weights_come_from_the_generator():
    first, again, other = (ResidualAdapter(8, 4, torch.Generator().manual_seed(seed)).down for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_backward__the_untrained_adapter_can_learn():
    adapter = ResidualAdapter(8, 4, torch.Generator().manual_seed(0))
    adapter(torch.tensor(unit_rows(20, 8)))[:, 0].sum().backward()
    assert adapter.up.grad.abs().max() > 1e-3
