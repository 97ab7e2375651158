"""`knn`: the nearest labelled rows vote, weighted by similarity.

Source: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018, section 3.4: a
neighbour of cosine similarity s weighs `exp(s / 0.07)`. They take 200 neighbours of 1.3 million rows; here k is chosen
by cross-validation on the labelled rows. Neither text nor unlabelled rows are used, so a class without labelled rows is
never predicted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field
from torch import Tensor
from torch.nn.functional import one_hot

from ulfine_cache.config import StrictConfig
from ulfine_fast.method import FitResult, Method, labelled_prior
from ulfine_fast.models.neighbour_vote import NeighbourVote, vote_logits
from ulfine_fast.rows.cross_validation import choose_setting
from ulfine_fast.seeds import one_by_one

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


class NearestNeighboursSettings(StrictConfig):
    """Settings of `knn`.

    Attributes:
        neighbours: Numbers of neighbours to choose from; more than there are means all.
        default_neighbours: The one taken where no labelled row can be left out.
        temperature: Of the weights.
        folds: Folds of the cross-validation that chooses.
    """

    neighbours: tuple[int, ...] = Field(default=(1, 3, 5, 10, 20, 50, 100, 200), min_length=1)
    default_neighbours: int = Field(default=20, ge=1)
    temperature: float = Field(default=0.07, gt=0)
    folds: int = Field(default=5, ge=2)


def fit(data: TrainingData, settings: NearestNeighboursSettings, seed: int, progress: Progress) -> FitResult:
    """Choose k and store the labelled rows."""
    neighbours = sorted({*settings.neighbours, settings.default_neighbours})
    votes = one_hot(data.labels, data.n_classes).to(data.features.dtype)

    def fold_logits(keep: Tensor) -> Iterator[Tensor]:
        similarities = data.features[~keep] @ data.features[keep].T
        for k in neighbours:
            yield vote_logits(similarities, votes[keep], min(k, similarities.shape[1]), settings.temperature)

    choice = choose_setting(
        data,
        fold_logits,
        n_settings=len(neighbours),
        default=neighbours.index(settings.default_neighbours),
        n_folds=settings.folds,
        seed=seed,
    )
    k = neighbours[choice.index]
    progress.update("training", 1, 1)
    return FitResult(
        model=NeighbourVote.of(data.features, votes, k, settings.temperature),
        diagnostics={"neighbours": k, "left_out_macro_accuracy": choice.macro_accuracy},
    )


METHOD = Method(
    name="knn",
    settings=NearestNeighboursSettings,
    fit_seeds=one_by_one(fit),
    build=lambda architecture: NeighbourVote(**architecture),
    prior_power=labelled_prior,
)
