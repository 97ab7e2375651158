"""L-BFGS for smooth losses written in torch: scipy's solver, torch's gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import minimize as scipy_minimize
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


def minimise(loss: Callable[[Tensor], Tensor], start: Tensor, max_iter: int) -> Tensor:
    """Minimise a loss from a starting point.

    scipy's L-BFGS-B (Zhu, Byrd, Lu, Nocedal, ACM TOMS 1997) rather than `torch.optim.LBFGS`, because torch's optimisers
    load its compiler when the first one is made, which takes seconds, longer than a whole fit.

    Args:
        loss: From a tensor like `start` to a scalar, differentiable.
        start: Where to begin; its dtype and device are those the loss is computed in.
        max_iter: Iterations at most.

    Returns:
        The best point found, like `start`, without gradient.

    Example:
        >>> minimise(lambda x: (x - 3).square().sum(), torch.zeros(2), max_iter=20)
        tensor([3., 3.])
    """

    def value_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        point = torch.as_tensor(flat).to(start).reshape(start.shape).requires_grad_()
        with torch.enable_grad():
            value = loss(point)
        (gradient,) = torch.autograd.grad(value, point)
        return float(value.detach()), gradient.detach().double().cpu().numpy().ravel()

    begin = start.detach().double().cpu().numpy().ravel()
    options = {"maxiter": max_iter, "ftol": 1e-12, "gtol": 1e-7}
    found = scipy_minimize(value_and_gradient, begin, jac=True, method="L-BFGS-B", options=options)
    return torch.as_tensor(found.x).to(start).reshape(start.shape)
