"""Directions in which all rows vary much count less."""

import torch

from ulfine_fast.inspecting.whitened_space import WhitenedSpace


def test_whitened_space__has_the_covariance_it_should():
    rows = torch.randn(500, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([9.0, 3, 1, 1, 1, 1]) + 5
    space = WhitenedSpace.of(rows.split(64), ridge=0.0)
    white = (rows - space.centre) @ space.axes
    assert torch.allclose(white.T @ white / 500, torch.eye(6), atol=1e-3)


def test_whitened_space__gives_unit_rows_and_survives_rows_that_do_not_vary():
    space = WhitenedSpace.of([torch.ones(3, 4)])
    assert torch.isfinite(space(torch.eye(4))).all()
    assert torch.allclose(space(torch.eye(4)).norm(dim=1), torch.ones(4))


def test_whitened_space__blocks_do_not_matter():
    rows = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    one, other = WhitenedSpace.of([rows]), WhitenedSpace.of(rows.split(7))
    assert torch.allclose(one(rows) @ one(rows).T, other(rows) @ other(rows).T, atol=1e-5)
