"""Do new rows look like the rows that a model was fitted on? Permutation tests, exact at any size. numpy only.

Three questions, each answered by how rarely a random choice of as many rows out of both sets would differ as much: are
the means of the features apart (in the leading principal components of both, each of variance one); do new rows have
more new rows among their nearest neighbours than chance (Schilling, Multivariate two-sample tests based on nearest
neighbors, JASA 81, 1986), which sees any change of the distribution; are the classes that the model names as frequent.
An alarm is raised where the least of the three p-values, times three, is below `ALARM`.
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


@dataclass(frozen=True)
class Drift:
    """What the tests say.

    Attributes:
        p_values: Of `QUESTIONS`, in their order.
        shares: float64 (C, 2): share of each predicted class among the former and the new rows.
        distances: float32 (N,): of each new row the cosine distance to the nearest former one.
        usual: Such a distance that 95 % of the former rows stay below, each to the others.
    """

    p_values: tuple[float, ...]
    shares: NDArray[np.float64]
    distances: NDArray[np.float32]
    usual: float

    @property
    def alarm(self) -> bool:
        """Whether the rows are not alike."""
        return min(self.p_values) * len(self.p_values) < ALARM

    @property
    def changed(self) -> list[str]:
        """Which of `QUESTIONS` raise the alarm."""
        return [name for name, p in zip(QUESTIONS, self.p_values, strict=True) if p * len(self.p_values) < ALARM]

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
        former: float (M, D), unit length, M of at least 2.
        new: float (N, D), unit length, N of at least 1.
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
    similar = pool @ pool.T
    np.fill_diagonal(similar, -2.0)
    whitened = _whitened(pool)
    # Rows in all are centred, so the mean of the others follows from that of the chosen ones.
    means = ((masks @ whitened) ** 2).sum(1)
    nearest = np.argpartition(-similar, min(NEIGHBOURS, m + n - 1) - 1, axis=1)[:, :NEIGHBOURS]
    graph = np.zeros_like(similar)
    np.put_along_axis(graph, nearest, 1.0, axis=1)
    neighbours = ((masks @ graph) * masks).sum(1)
    counted = masks @ np.eye(n_classes, dtype=np.float32)[classes]
    expected = n * np.bincount(classes, minlength=n_classes) / (m + n)
    # The class that is furthest off: a sum over many classes would drown one whose share has doubled.
    frequencies = (np.abs(counted - expected) / np.sqrt(expected + 1)).max(1)
    return Drift(
        tuple(_p_value(of) for of in (means, neighbours, frequencies)),
        np.stack([np.bincount(former_classes, minlength=n_classes) / m, counted[0] / n], axis=1),
        (1 - similar[m:, :m].max(1)).astype(np.float32),
        float(np.quantile(1 - similar[:m, :m].max(1), 0.95)),
    )


def _whitened(pool: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows in their leading principal components, each of mean 0 and variance 1."""
    centred = pool - pool.mean(0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    # Fewer components where there are few rows: noise would have a say otherwise.
    kept = min(COMPONENTS, max(1, len(pool) // 10), int((sizes > 1e-6 * sizes[0]).sum()) or 1)
    return left[:, :kept] * np.sqrt(len(pool), dtype=np.float32)


def _p_value(statistics: NDArray[np.floating]) -> float:
    """How often one of the random choices, or the rows themselves, are as far off; the first are the rows."""
    return float((statistics >= statistics[0] * (1 - 1e-6)).mean())
