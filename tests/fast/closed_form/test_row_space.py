import numpy as np
import pytest
import torch

from ulfine_fast.closed_form.row_space import principal_axes, row_space


def rows_of(n_rows, width, rank=None, seed=0):
    generator = np.random.default_rng(seed)
    rank = rank or min(n_rows, width)
    strengths = np.geomspace(1.0, 0.05, rank)[:, None]
    return (generator.normal(size=(n_rows, rank)) @ (strengths * generator.normal(size=(rank, width)))).astype(
        np.float32
    )


@pytest.mark.parametrize(("n_rows", "width", "rank"), [(40, 8, 8), (8, 40, 8), (40, 12, 5), (12, 40, 5)])
def test_principal_axes__are_those_of_the_singular_value_decomposition(n_rows, width, rank):
    rows = rows_of(n_rows, width, rank)
    axes = principal_axes(torch.tensor(rows)).numpy()
    assert axes.shape == (width, rank)
    assert axes.T @ axes == pytest.approx(np.eye(rank), abs=1e-4)
    assert rows @ axes @ axes.T == pytest.approx(rows, abs=1e-4)
    _, values, _ = np.linalg.svd(rows.astype(np.float64))
    assert np.linalg.norm(rows @ axes, axis=0)[::-1] == pytest.approx(values[:rank], rel=1e-3)


def test_principal_axes__of_no_rows_and_of_zeros():
    assert principal_axes(torch.zeros(0, 5)).shape == (5, 0)
    assert principal_axes(torch.zeros(3, 5)).shape == (5, 0)


def test_row_space__holds_all_parts_and_is_orthonormal():
    parts = [torch.tensor(rows_of(n, 20, seed=n)) for n in (3, 5)]
    basis = row_space(*parts)
    assert basis.shape == (20, 8)
    assert (basis.T @ basis).numpy() == pytest.approx(np.eye(8), abs=1e-5)
    for rows in parts:
        assert (rows @ basis @ basis.T).numpy() == pytest.approx(rows.numpy(), abs=1e-5)


def test_row_space__is_not_needed_where_rows_are_many():
    assert row_space(torch.zeros(10, 20), torch.zeros(10, 20)) is None
    assert row_space(torch.zeros(10, 20), torch.zeros(9, 20)) is not None


def test_row_space__of_copies_stays_orthonormal():
    rows = torch.tensor(rows_of(3, 20)).repeat(3, 1)
    basis = row_space(rows)
    assert (basis.T @ basis).numpy() == pytest.approx(np.eye(9), abs=1e-5)
    assert (rows @ basis @ basis.T).numpy() == pytest.approx(rows.numpy(), abs=1e-5)


def test_principal_axes__of_few_rows_are_exact_down_to_the_faintest():
    """Lengths 1 and 0.0015: in single precision a Gram matrix hardly knows the second, whose square is 2e-6."""
    generator = np.random.default_rng(0)
    directions = np.linalg.qr(generator.normal(size=(300, 6)))[0].T
    rows = (np.geomspace(1.0, 1.5e-3, 6)[:, None] * directions).astype(np.float32)
    axes = principal_axes(torch.tensor(rows)).numpy()
    assert axes.shape == (300, 6)
    assert np.abs(np.sum(axes.T[::-1] * directions, axis=1)) == pytest.approx(np.ones(6), abs=1e-6)
