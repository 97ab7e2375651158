"""`ss-text-u`: class weights in closed form from text, labelled rows and rows assigned by optimal transport.

Source: SS-Text-U (arXiv 2603.02959) and its published code. The weights are

    w_k = t_k + scale / (2 n_l lambda_k) sum_(labelled of k) x_i + scale / n_u sum_i q_ik x_i,   lambda_k = 1 / n_k,

brought to unit length, and the logits `scale x . w_k` with CLIP's scale. The assignments `q` of the unlabelled rows are
the Sinkhorn plan of the logits so far whose class shares are those of the labelled rows; weights and assignments take
turns, three times, from the text on. A class without labelled rows counts as a quarter of the rarest one's share.
Nothing is tuned, as published.

The published code takes the exponential of the logits, which overflows in single precision at CLIP's scale: here all
sums are of logarithms, which is the same plan. Without unlabelled rows their term is dropped, as published for no
iteration. Without text the directions of the labelled class means stand in for it, as in `zero-shot`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from ulfine_cache.config import StrictConfig
from ulfine_fast.gradient.heads import initial_prototypes
from ulfine_fast.method import FitResult, Method, uniform_prior
from ulfine_fast.models.affine_model import AffineModel
from ulfine_fast.seeds import one_by_one

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


class SsTextUSettings(StrictConfig):
    """Settings of `ss-text-u`.

    Attributes:
        scale: Multiplies the cosine similarity of feature and weight; CLIP's own is 100.
        rounds: How often weights and assignments take turns.
        sinkhorn_rounds: How often an assignment is brought to the class shares.
        absent_share: Share of a class without labelled rows, in units of the rarest labelled one's.
    """

    scale: float = Field(default=100.0, gt=0)
    rounds: int = Field(default=3, ge=1)
    sinkhorn_rounds: int = Field(default=10, ge=0)
    absent_share: float = Field(default=0.25, gt=0)


def sinkhorn(logits: Tensor, shares: Tensor, rounds: int) -> Tensor:
    """Assignments of rows to classes whose mean over rows comes close to given shares.

    Source: Cuturi, Sinkhorn Distances, NIPS 2013, with temperature 1, in logarithms.

    Args:
        logits: float (N, C).
        shares: float (C,), positive, sum to 1.
        rounds: Each makes the shares right and then the rows, which are right at the end.

    Returns:
        float (N, C), rows sum to 1.

    Example:
        >>> sinkhorn(torch.zeros(4, 2), torch.tensor([0.75, 0.25]), 5)[0]
        tensor([0.7500, 0.2500])
    """
    plan = torch.log_softmax(logits, dim=-1) if rounds == 0 else logits
    target = shares.log() + torch.tensor(float(len(logits))).log()
    for _ in range(rounds):
        plan = torch.log_softmax(plan - plan.logsumexp(0) + target, dim=-1)
    return plan.exp()


def fit(data: TrainingData, settings: SsTextUSettings, seed: int, progress: Progress) -> FitResult:
    """Alternate weights and assignments."""
    text, unlabelled = initial_prototypes(data).double(), data.all_unlabelled.double()
    counts = data.labelled_counts.double()
    truth = one_hot(data.labels, data.n_classes).double()
    fixed = text + settings.scale / (2.0 * len(data.labels)) * counts[:, None] * (truth.T @ data.features.double())
    shares = torch.where(counts > 0, counts, settings.absent_share * counts[counts > 0].min())
    shares = shares / shares.sum()
    weight = text if len(unlabelled) else fixed
    for _ in range(settings.rounds if len(unlabelled) else 0):
        logits = settings.scale * unlabelled @ normalize(weight, dim=-1).T
        assigned = sinkhorn(logits, shares, settings.sinkhorn_rounds)
        weight = fixed + settings.scale / len(unlabelled) * assigned.T @ unlabelled
    progress.update("training", 1, 1)
    weight = settings.scale * normalize(weight, dim=-1)
    return FitResult(model=AffineModel.of(weight, weight.new_zeros(data.n_classes)))


METHOD = Method(
    name="ss-text-u",
    settings=SsTextUSettings,
    fit_seeds=one_by_one(fit),
    build=lambda architecture: AffineModel(**architecture),
    prior_power=uniform_prior,
    unlabelled=True,
    seeded=False,
)
