"""Do new rows look like the rows that a model was fitted on? Permutation tests, exact at any size.

Three questions, each answered by how rarely a random choice of as many rows out of both sets would differ as much: are
the means of the features apart (in the leading principal components of both, each of variance one); do new rows have
more new rows among their nearest neighbours than chance (Schilling, Multivariate two-sample tests based on nearest
neighbors, JASA 81, 1986), which sees any change of the distribution; are the classes that the model names as frequent.
Of the last the class decides whose number is the least likely, by its exact distribution (hypergeometric); how small
the least of many gets by chance is told by the permutations (Westfall and Young's minP), so no class pays for another.
An alarm is raised where a p-value is below its part of `ALARM`; the parts add up to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALARM = 0.03
"""Share of batches of unchanged rows that may raise an alarm."""

COMPONENTS, NEIGHBOURS, PERMUTATIONS = 32, 10, 1999

QUESTIONS = ("features", "neighbours", "classes")

PARTS = (1 / 6, 1 / 6, 2 / 3)
"""Of `ALARM` for each question: changed pictures are found at any level, a class twice as frequent hardly is."""


@dataclass(frozen=True)
class Drift:
    """What the tests say.

    Attributes:
        p_values: Of `QUESTIONS`, in their order.
        shares: float64 (C, 2): share of each predicted class among the former and the new rows.
        distances: float32 (N,): of each new row the cosine distance to the nearest former one (half the squared one).
        usual: Such a distance that 95 % of the former rows stay below, each to the others.
        class_p_values: float64 (C,), how rarely the number of any class is as unlikely as that of this one.
    """

    p_values: tuple[float, ...]
    shares: NDArray[np.float64]
    distances: NDArray[np.float32]
    usual: float
    class_p_values: NDArray[np.float64]

    @property
    def alarm(self) -> bool:
        """Whether the rows are not alike."""
        return bool(self.changed)

    @property
    def changed(self) -> list[str]:
        """Which of `QUESTIONS` raise the alarm."""
        asked = zip(QUESTIONS, self.p_values, PARTS, strict=True)
        return [name for name, p, part in asked if p < part * ALARM]

    @property
    def changed_classes(self) -> list[int]:
        """The classes whose share has changed beyond chance, the surest first."""
        order = np.argsort(self.class_p_values, kind="stable").tolist()
        return [k for k in order if self.class_p_values[k] < PARTS[2] * ALARM]

    def figures(self) -> dict[str, Any]:
        """``alarm``, ``changed``, and ``p_values`` by question, JSON-able."""
        p_values = dict(zip(QUESTIONS, self.p_values, strict=True))
        return {"alarm": self.alarm, "changed": self.changed, "p_values": p_values}


def compare_rows(
    former: NDArray[np.floating],
    new: NDArray[np.floating],
    former_classes: NDArray[np.integer],
    new_classes: NDArray[np.integer],
    n_classes: int,
    seed: int = 0,
) -> Drift:
    """Compare new rows with former ones.

    Args:
        former: float (M, D), of about unit length, M of at least 2.
        new: float (N, D), N of at least 1.
        former_classes: int (M,), what the model takes them for.
        new_classes: int (N,).
        n_classes: C.
        seed: Of the permutations.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(300, 8))
        >>> rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        >>> none = np.zeros(300, int)
        >>> compare_rows(rows[:250], rows[250:], none[:250], none[250:], 1).alarm
        False
    """
    m, n = len(former), len(new)
    pool = np.concatenate([former, new]).astype(np.float32)
    classes = np.concatenate([former_classes, new_classes])
    generator = np.random.default_rng(seed)
    # As many rows as are new, out of both; the first are the new ones themselves.
    chosen = np.argsort(generator.random((PERMUTATIONS, m + n), dtype=np.float32), axis=1)[:, :n]
    chosen = np.concatenate([np.arange(m, m + n)[None], chosen])
    masks = np.zeros((len(chosen), m + n), np.float32)
    np.put_along_axis(masks, chosen, 1.0, axis=1)
    # Of rows of unit length that is the cosine less 1, and the projections of exports have other lengths.
    lengths = (pool**2).sum(1)
    similar = np.minimum(pool @ pool.T - (lengths[:, None] + lengths) / 2, 0.0)
    np.fill_diagonal(similar, -np.inf)
    whitened = _whitened(pool)
    # Rows in all are centred, so the mean of the others follows from that of the chosen ones.
    means = ((masks @ whitened) ** 2).sum(1)
    nearest = np.argpartition(-similar, min(NEIGHBOURS, m + n - 1) - 1, axis=1)[:, :NEIGHBOURS]
    graph = np.zeros_like(similar)
    np.put_along_axis(graph, nearest, 1.0, axis=1)
    neighbours = ((masks @ graph) * masks).sum(1)
    counted = masks @ np.eye(n_classes, dtype=np.float32)[classes]
    frequency, of_each_class = frequency_test(counted.astype(np.int64), np.bincount(classes, minlength=n_classes))
    return Drift(
        (_p_value(means), _p_value(neighbours), frequency),
        np.stack([np.bincount(former_classes, minlength=n_classes) / m, counted[0] / n], axis=1),
        (-similar[m:, :m].max(1)).astype(np.float32),
        float(np.quantile(-similar[:m, :m].max(1), 0.95)),
        of_each_class,
    )


def _whitened(pool: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows in their leading principal components, each of mean 0 and variance 1."""
    centred = pool - pool.mean(0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    # Fewer components where there are few rows: noise would have a say otherwise.
    kept = min(COMPONENTS, max(1, len(pool) // 10), int((sizes > 1e-6 * sizes[0]).sum()) or 1)
    return left[:, :kept] * np.sqrt(len(pool), dtype=np.float32)


def frequency_test(counted: NDArray[np.int64], totals: NDArray[np.int64]) -> tuple[float, NDArray[np.float64]]:
    """Ask whether classes are as frequent among the new rows, whichever it may be.

    The class that is furthest off decides: a sum over many would drown one whose share has doubled.

    Args:
        counted: int (P, C), how many rows of each class are among the new ones, and then among random choices.
        totals: int (C,), among all rows.

    Returns:
        The p-value, and float64 (C,) that of each class.
    """
    from scipy.stats import hypergeom

    n = int(counted[0].sum())
    unlikely = np.zeros(counted.shape)
    for total in np.unique(totals[totals > 0]).tolist():
        chances = hypergeom.pmf(np.arange(n + 1), int(totals.sum()), total, n)
        # Both tails, the number itself by half.
        below = np.cumsum(chances) - chances / 2
        mine = totals == total
        unlikely[:, mine] = -np.log(np.clip(np.minimum(below, 1 - below), 1e-300, None))[counted[:, mine]]
    furthest = unlikely.max(1)
    return _p_value(furthest), (furthest[:, None] >= unlikely[0] * (1 - 1e-6)).mean(0)


def _p_value(statistics: NDArray[np.floating]) -> float:
    """How often one of the random choices, or the rows themselves, are as far off; the first are the rows."""
    return float((statistics >= statistics[0] * (1 - 1e-6)).mean())
