"""Which images belong to no class: what a fit is surprised by, what lies far from every class, and their neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ulfine_cache.progress import Silent
from ulfine_fast.inspecting.nearest import nearest
from ulfine_fast.inspecting.whitened_space import WhitenedSpace
from ulfine_fast.registry import get_method
from ulfine_fast.rows.folds import stratified_folds
from ulfine_fast.settings import resolve_settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_cache.progress import Progress
    from ulfine_fast.models.logit_model import LogitModel
    from ulfine_fast.rows.streamed_rows import StreamedRows
    from ulfine_fast.rows.training_data import TrainingData

FOLDS = 5
NEIGHBOURS = 10
ROUNDS = 3
"""How often a row takes on half of what its neighbours are thought of."""
SHARES = tuple(step / 6 for step in range(7))
"""Of the energy in the score, the rest is the distance."""
KNOWN = 0.95
"""Share of the left-out rows of known classes whose own score stays below what the threshold is taken from."""
LEFT_OF_SPREAD = 0.6
"""What the neighbours' say leaves of a row's distance from the middle: with it about one known row in ten is taken for
an outlier on draws that no figure comes from, and on average half of the foreign ones."""
ALIKE = 0.005
"""Difference in AUROC that says nothing."""
_BLOCK = 4096
_ENOUGH = 3000
"""Labelled rows that classes are left out of; of more, a regular sample."""


_Fold = tuple["NDArray[np.float64]", "NDArray[np.float64]"]
"""Parts (n, 2) of left-out rows of known classes and of hidden ones."""


@dataclass(frozen=True)
class Outliers:
    """How little each unlabelled row belongs to a class.

    Attributes:
        scores: float64 (N,), high is foreign: 0 is as the middle of left-out rows of known classes, 1 as far beyond it
            as these are spread.
        threshold: From here on a row is taken for an outlier, by what left-out rows of known classes reach.
        classes: int64 (N,), the class that is nearest nevertheless.
        energies: float64 (N,), `-log sum_k exp z_k` of the calibrated logits, less the median of labelled rows.
        distances: float64 (N,), one less the cosine to the nearest class mean among whitened features, in [0, 2].
        energy_share: What the energy counts in the score, in [0, 1], chosen by leaving out labelled classes.
        separation: AUROC, in [0, 1], of the chosen score between left-out classes and left-out rows of the others
            there; None where there are too few classes or rows for it.
    """

    scores: NDArray[np.float64]
    threshold: float
    classes: NDArray[np.int64]
    energies: NDArray[np.float64]
    distances: NDArray[np.float64]
    energy_share: float
    separation: float | None

    def order(self) -> NDArray[np.int64]:
        """Rows, the most foreign first."""
        return np.argsort(-self.scores, kind="stable")

    def suspected(self) -> NDArray[np.bool_]:
        """Bool (N,): beyond the threshold."""
        return self.scores > self.threshold


@dataclass(frozen=True)
class _Parts:
    """Energies and distances of rows, float64 (N,), and the nearest class, int64 (N,)."""

    energies: NDArray[np.float64]
    distances: NDArray[np.float64]
    classes: NDArray[np.int64]

    def stacked(self) -> NDArray[np.float64]:
        return np.stack([self.energies, self.distances], 1)


def find_outliers(data: TrainingData, seed: int, progress: Progress) -> Outliers:
    """Score the unlabelled rows.

    Two views of a row: the energy of the calibrated logits of a fit of `ulfine` on the labelled rows (Liu et al.,
    Energy-based out-of-distribution detection, NeurIPS 2020), in which the text speaks too, and the distance to the
    nearest class mean among whitened features. Which of them tells more depends on the collection: groups of labelled
    classes are left out by turns, and the share is taken that best tells their rows from left-out rows of the other
    classes. The same rows give the scale and the threshold. Last, foreign images come in groups: a row takes on half of
    what its nearest unlabelled rows are thought of. The truth of no unlabelled row is used.

    Args:
        data: Labelled rows, unlabelled ones (at least one), text.
        seed: Of the folds and fits.
        progress: Told about the fits.
    """
    rows = data.unlabelled
    labelled = replace(data, unlabelled=data.features[:0], strong_views=None)
    space = WhitenedSpace.of(_blocks(data.features, rows))
    folds = _left_out(labelled, space, seed, progress)
    parts = _parts(labelled, space, rows, seed)
    progress.update("fitting", FOLDS + 1, FOLDS + 1)
    usable = [pair for pair in folds if len(pair[0])]
    own = np.concatenate([known for known, _ in usable]) if usable else parts.stacked()
    middle = np.median(own, 0)
    spread = np.mean([_spread(known) for known, _ in usable], 0) if usable else _spread(own)
    share, separation = _best_share([(known / spread, hidden / spread) for known, hidden in usable])
    weights = np.array([share, 1 - share])
    scores = _smoothed((parts.stacked() - middle) / spread @ weights, space, rows)
    return Outliers(
        scores=scores,
        threshold=LEFT_OF_SPREAD * float(np.quantile((own - middle) / spread @ weights, KNOWN)),
        classes=parts.classes,
        energies=parts.energies,
        distances=parts.distances,
        energy_share=share,
        separation=separation,
    )


def _blocks(*parts: Tensor | StreamedRows) -> Iterator[Tensor]:
    for part in parts:
        yield from part.split(_BLOCK) if len(part) else ()


def _fitted(data: TrainingData, seed: int) -> LogitModel:
    method = get_method("ulfine")
    return method.fit(data, resolve_settings(method, values={"unlabelled": False}), seed, Silent()).model


def _parts(data: TrainingData, space: WhitenedSpace, rows: Tensor | StreamedRows, seed: int) -> _Parts:
    """What a fit on labelled rows says of other rows, block by block."""
    model = _fitted(data, seed)
    there = torch.nonzero(data.labelled_counts).flatten()
    white = space(data.features)
    sums = torch.zeros(data.n_classes, white.shape[1]).to(white).index_add_(0, data.labels, white)
    means = torch.nn.functional.normalize(sums[there], dim=-1)
    energies, distances, classes = [], [], []
    with torch.no_grad():
        # What is high for one fit need not be for another: its own rows give the level.
        level = torch.logsumexp(model(data.features).double(), dim=-1).median()
        for block in _blocks(rows):
            logits = model(block).double()
            energies.append(level - torch.logsumexp(logits, dim=-1))
            distances.append(1 - (space(block) @ means.T).amax(-1).double())
            classes.append(logits.argmax(-1))
    return _Parts(*(torch.cat(arrays).cpu().numpy() for arrays in (energies, distances, classes)))


def _spread(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 (2,): from the middle up to where a normal distribution has its standard deviation."""
    return np.maximum(np.percentile(parts, 84, axis=0) - np.median(parts, 0), 1e-6)


def _left_out(data: TrainingData, space: WhitenedSpace, seed: int, progress: Progress) -> list[_Fold]:
    """Parts of rows of known classes, and of classes that are hidden, by fits that saw neither.

    Every fold hides some classes wholly and leaves out some rows of the others.
    """
    labels = data.labels
    if len(labels) > _ENOUGH:
        order = torch.argsort(labels, stable=True)
        chosen = order[torch.linspace(0, len(order) - 1, _ENOUGH, device=order.device).round().long()]
        alone = torch.nonzero(data.labelled_counts[labels] < FOLDS).flatten()
        chosen = torch.unique(torch.cat([chosen, alone]))
        data, labels = replace(data, features=data.features[chosen], labels=labels[chosen]), labels[chosen]
    generator = torch.Generator().manual_seed(seed)
    there = torch.nonzero(data.labelled_counts).flatten()
    if len(there) < 3:
        return []
    number = min(FOLDS, len(there))
    of_class = torch.zeros(data.n_classes, dtype=torch.int64)
    of_class[there[torch.randperm(len(there), generator=generator)].cpu()] = torch.arange(len(there)) % number
    hidden_in, fold = of_class.to(labels.device)[labels], stratified_folds(labels, number, generator)
    folds: list[_Fold] = []
    for place in range(number):
        hides = hidden_in == place
        kept = ~hides & (fold != place)
        classes = torch.unique(labels[kept])
        tested = ~kept & (hides | torch.isin(labels, classes))
        if len(classes) < 2 or not bool((tested & hides).any()):
            continue
        renamed = torch.full((data.n_classes,), -1, device=labels.device)
        renamed[classes] = torch.arange(len(classes), device=labels.device)
        without = replace(
            data,
            features=data.features[kept],
            labels=renamed[labels[kept]],
            text=None if data.text is None else data.text[classes],
            class_names=tuple(data.class_names[k] for k in classes.tolist()),
        )
        found = _parts(without, space, data.features[tested], seed).stacked()
        foreign = hides[tested].cpu().numpy()
        folds.append((found[~foreign], found[foreign]))
        progress.update("fitting", place + 1, FOLDS + 1)
    return folds


def _best_share(folds: list[_Fold]) -> tuple[float, float | None]:
    """The share of the energy with the best AUROC of hidden against known rows, the mean over folds, and that.

    Folds are judged by themselves, since the energies of two fits are not of one scale. Of shares that are as good but
    for `ALIKE` it is the nearest to a half, which it is too where there is nothing to choose by.
    """
    if not folds:
        return 0.5, None
    from sklearn.metrics import roc_auc_score

    def area(share: float) -> float:
        found = []
        for known, hidden in folds:
            foreign = np.repeat([0, 1], [len(known), len(hidden)])
            found.append(roc_auc_score(foreign, np.concatenate([known, hidden]) @ [share, 1 - share]))
        return float(np.mean(found))

    areas = [area(share) for share in SHARES]
    good = [place for place, area in enumerate(areas) if area >= max(areas) - ALIKE]
    best = min(good, key=lambda place: abs(SHARES[place] - 0.5))
    return SHARES[best], areas[best]


def _smoothed(scores: NDArray[np.float64], space: WhitenedSpace, rows: Tensor | StreamedRows) -> NDArray[np.float64]:
    _, places = nearest(_InSpace(space, rows), NEIGHBOURS)
    there = places >= 0
    count = np.maximum(there.sum(1), 1)
    result = scores
    for _ in range(ROUNDS):
        around = np.where(there, result[places], 0.0).sum(1) / count
        result = np.where(there.any(1), 0.5 * scores + 0.5 * around, scores)
    return result


class _InSpace:
    """Rows of a whitened space, made block by block."""

    def __init__(self, space: WhitenedSpace, rows: Tensor | StreamedRows) -> None:
        self._space, self._rows = space, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, places: Tensor) -> Tensor:
        return self._space(self._rows[places])

    def split(self, size: int) -> Iterator[Tensor]:
        for block in self._rows.split(size):
            yield self._space(block)
