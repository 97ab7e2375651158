"""L-BFGS for many smooth problems side by side, from losses and gradients that are written out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MEMORY = 10  # pairs of steps and gradient changes kept
ARMIJO = 1e-4  # share of the promised decrease that a step has to bring
ROUNDING = 1e-6  # relative error of a loss summed from float32 rows


def minimise(
    value_and_gradient: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor, *, max_iter: int, tolerance: float
) -> Tensor:
    """Minimise B losses, each of its own point, by L-BFGS with backtracking (Nocedal and Wright, 2006, algorithm 7.5).

    The problems share every evaluation, so that one matrix product serves them all, and nothing else: a problem whose
    step was too long tries half of it in the next evaluation while the others go on. The first step is the negative
    gradient, so the unknowns should be scaled to a curvature near 1.

    scipy's solvers take one problem at a time, in float64 on the CPU; `torch.optim.LBFGS` takes one too, and loads
    torch's compiler, which takes longer than a whole fit.

    Args:
        value_and_gradient: From points (B, n) to the losses (B,) and the gradients (B, n).
        start: float (B, n); its dtype and device are those of the points.
        max_iter: Evaluations at most, after the first.
        tolerance: A problem has converged when the square of its gradient's norm is at most this. With unknowns scaled
            to a curvature of 1 that is twice what the loss can still fall.

    Returns:
        The best points found, float (B, n).

    Example:
        >>> target = torch.tensor([[3.0, 3.0], [1.0, 2.0]])
        >>> def squared(x):
        ...     return (x - target).square().sum(1), 2 * (x - target)
        >>> minimise(squared, torch.zeros(2, 2), max_iter=20, tolerance=1e-12)
        tensor([[3., 3.],
                [1., 2.]])
    """
    point = start.detach().clone()
    value, gradient = value_and_gradient(point)
    pairs: list[tuple[Tensor, Tensor, Tensor]] = []
    curvature = point.new_ones(len(point))
    direction = -gradient
    length = point.new_ones(len(point))
    for _ in range(max_iter):
        active = _dot(gradient, gradient) > tolerance
        if not active.any():
            break
        step = torch.where(active, length, 0.0)[:, None] * direction
        new_value, new_gradient = value_and_gradient(point + step)
        promised = ARMIJO * _dot(gradient, step)
        taken = active & (new_value <= value + promised + ROUNDING * value.abs())
        change = new_gradient - gradient
        product = _dot(step, change)
        usable = taken & (product > 0)
        # A problem that stays where it is leaves a pair of weight 0.
        pairs = [*pairs[1 - MEMORY :], (step, change, torch.where(usable, 1 / product, 0.0))]
        curvature = torch.where(usable, _dot(change, change) / product, curvature)
        move = taken[:, None]
        point = torch.where(move, point + step, point)
        gradient = torch.where(move, new_gradient, gradient)
        value = torch.where(taken, new_value, value)
        direction = torch.where(move, _towards_minimum(gradient, pairs, curvature), direction)
        length = torch.where(taken, 1.0, 0.5 * length)
    return point


def _towards_minimum(gradient: Tensor, pairs: list[tuple[Tensor, Tensor, Tensor]], curvature: Tensor) -> Tensor:
    """Minus the gradient times the inverse Hessian that the pairs imply: the two-loop recursion, (B, n)."""
    direction = -gradient
    shares: list[Tensor] = []
    for step, change, weight in reversed(pairs):
        share = weight * _dot(step, direction)
        shares.append(share)
        direction = torch.addcmul(direction, change, share[:, None], value=-1)
    direction = direction / curvature[:, None]
    for (step, change, weight), share in zip(pairs, reversed(shares), strict=True):
        direction = torch.addcmul(direction, step, (share - weight * _dot(change, direction))[:, None])
    return direction


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """Inner products of the rows of (B, n) and (B, n), (B,)."""
    return torch.linalg.vecdot(first, second)
