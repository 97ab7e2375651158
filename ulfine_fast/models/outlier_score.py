"""How unlike every class a picture is: one number, the same in a run and in the graph of an exported file."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class OutlierScore(nn.Module):
    """`a * -log sum_k exp z_k + b * (1 - max_k cos(x, m_k)) + c`.

    The first is the energy of the logits `z` (Liu et al., Energy-based out-of-distribution detection, NeurIPS 2020),
    the second the distance of the feature `x` to the nearest class mean `m_k`. The energy tells more where the
    unlabelled images are all of known classes, the distance where strangers among them have moved the fit; the sum is
    this project's decision (`docs/method.md`). `a`, `b` and `c` come from left-out labelled rows
    (`ulfine_fast.deciding.learn_outlier_score`): 0 is their middle, 1 what 95 % of them stay below.

    Args:
        class_means: float (M, D), of any length but zero; M is fewer than the classes where some have no labelled row.
        scale: float (3,): a, b and c.

    Example:
        >>> score = OutlierScore(torch.eye(2), torch.tensor([0.0, 1.0, 0.0]))
        >>> score(torch.tensor([[3.0, 0.0], [-1.0, 0.0]]), torch.zeros(2, 2)).tolist()
        [0.0, 1.0]
    """

    class_means: Tensor
    scale: Tensor

    def __init__(self, class_means: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("class_means", normalize(class_means.float(), dim=-1))
        self.register_buffer("scale", scale.float())
        self.eval()

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """The score of N pictures.

        Args:
            features: float (N, D), or (N, V, D) of V views, over which the distance is averaged; of any length but
                zero.
            logits: float (N, C), of all views together, as they were fitted: without a test prior.

        Returns:
            float (N,); above 1 is less like any class than 95 % of left-out labelled rows.
        """
        distances = 1 - (normalize(features, dim=-1) @ self.class_means.mT).amax(-1)
        if distances.ndim == 2:
            distances = distances.mean(-1)
        energies = -torch.logsumexp(logits, dim=-1)
        return self.scale[0] * energies + self.scale[1] * distances + self.scale[2]
