"""`ecalp`: labels propagated over a graph of class texts, labelled and unlabelled rows. Nothing is trained or tuned.

Source: Li et al., Efficient and Context-Aware Label Propagation for Zero-/Few-Shot Training-Free Adaptation of
Vision-Language Model, ICLR 2025 (arXiv 2412.18303), and its published code. Every unlabelled row has edges to its 3
nearest texts, 8 nearest labelled and 8 nearest unlabelled rows, of weight `cosine^10`; before rows are compared,
coordinates of the one that looks are multiplied by the variance of the texts in them (towards unlabelled rows), or by
one over that of the labelled rows (towards these). With `W~ = D^-1/2 (W + W^T) D^-1/2` labels of texts and labelled
rows stay, and those of the others are `W~ Y`, three times, from zero on.

There rows come one after another, each joins the graph, and its own label is the answer. Here the graph of the
unlabelled rows is fixed; a new row joins it alone, so that its answer depends on no other new row, and takes the third
step. What other rows would take from it is left out. The answer's probabilities are the shares of the classes in its
label; the paper has none.

Without text the directions of the labelled class means stand in for it, as in `zero-shot`. Without unlabelled rows a
new row takes the labels of texts and labelled rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import one_hot

from ulfine_cache.config import StrictConfig
from ulfine_fast.gradient.heads import initial_prototypes
from ulfine_fast.method import FitResult, Method, uniform_prior
from ulfine_fast.models.neighbour_vote import SIMILARITIES_AT_ONCE
from ulfine_fast.models.propagated_votes import TINY, Nodes, PropagatedVotes, edges
from ulfine_fast.seeds import one_by_one

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


class EcalpSettings(StrictConfig):
    """Settings of `ecalp`.

    Attributes:
        texts: Nearest texts of a row.
        labelled: Nearest labelled rows.
        unlabelled: Nearest unlabelled rows.
        gamma: Power of the cosines.
        steps: Of the propagation.
    """

    texts: int = Field(default=3, ge=1)
    labelled: int = Field(default=8, ge=1)
    unlabelled: int = Field(default=8, ge=1)
    gamma: float = Field(default=10.0, gt=0)
    steps: int = Field(default=3, ge=1)


def nearest_edges(rows: Tensor, among: Tensor, channels: Tensor, neighbours: int, gamma: float) -> Tensor:
    """Edges of rows to their nearest among others, sparse (N, M)."""
    k = min(neighbours, len(among))
    size = max(1, SIMILARITIES_AT_ONCE // max(1, len(among)))
    found = [edges(block, among, channels, gamma).topk(k, dim=-1) for block in rows.split(size)]
    weights, numbers = torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])
    starts = torch.arange(len(rows), device=rows.device).repeat_interleave(k)
    places = torch.stack([starts, numbers.flatten()])
    return torch.sparse_coo_tensor(
        places, weights.flatten(), (len(rows), len(among)), check_invariants=False
    ).coalesce()


def fit(data: TrainingData, settings: EcalpSettings, seed: int, progress: Progress) -> FitResult:
    """Build the graph, and propagate all but the last step."""
    texts, labelled, unlabelled = initial_prototypes(data), data.features, data.all_unlabelled
    given = one_hot(data.labels, data.n_classes).to(labelled)
    plain = torch.ones_like(texts[0])
    spread = texts.var(0, correction=0)
    # Texts or rows that are all alike vary nowhere; then all coordinates count the same.
    of_texts = spread if bool((spread > 0).any()) else plain
    spread = labelled.var(0, correction=0)
    of_labelled = 1.0 / spread.clamp_min(1e-6 * float(spread.max())) if bool((spread > 1e-12).any()) else plain

    to_texts = labelled.new_zeros(len(texts))
    to_labelled = labelled.new_zeros(len(labelled))
    own, label = labelled.new_zeros(len(unlabelled)), labelled.new_zeros(len(unlabelled), data.n_classes)
    if len(unlabelled):
        text_edges = nearest_edges(unlabelled, texts, plain, settings.texts, settings.gamma)
        label_edges = nearest_edges(unlabelled, labelled, of_labelled, settings.labelled, settings.gamma)
        row_edges = nearest_edges(unlabelled, unlabelled, of_texts, settings.unlabelled, settings.gamma)
        both_ways = (row_edges + row_edges.mT).coalesce()
        to_texts, to_labelled = (torch.sparse.sum(each, 0).to_dense() for each in (text_edges, label_edges))
        own = sum((torch.sparse.sum(each, 1).to_dense() for each in (text_edges, label_edges, both_ways)), own)
        root = 1.0 / (own.sqrt() + TINY)[:, None]
        taught = torch.sparse.mm(text_edges, torch.diag(1.0 / (to_texts.sqrt() + TINY)))
        taught = taught + torch.sparse.mm(label_edges, given / (to_labelled.sqrt() + TINY)[:, None])
        for _ in range(settings.steps - 1):
            label = root * (taught + torch.sparse.mm(both_ways, root * label))
    identity = torch.eye(data.n_classes, device=texts.device)
    kinds = [
        Nodes(texts, plain, to_texts, identity, settings.texts),
        Nodes(labelled, of_labelled, to_labelled, given, settings.labelled),
        Nodes(unlabelled, of_texts, own, label, settings.unlabelled),
    ]
    progress.update("training", 1, 1)
    return FitResult(model=PropagatedVotes.of(kinds, settings.gamma))


METHOD = Method(
    name="ecalp",
    settings=EcalpSettings,
    fit_seeds=one_by_one(fit),
    build=lambda architecture: PropagatedVotes(**architecture),
    prior_power=uniform_prior,
    unlabelled=True,
    seeded=False,
)
