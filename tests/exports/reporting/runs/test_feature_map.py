"""The map: which rows are on it, and where."""

from types import SimpleNamespace

import numpy as np
import pytest

from ulfine_exports.reporting.runs.feature_map import MOST_POINTS, SIDE, feature_map


class Cache:
    """Rows on a plane in eight dimensions."""

    def __init__(self, places):
        self._features = np.zeros((len(places), 8), np.float32)
        self._features[:, :2] = places
        turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))
        self._features = (self._features @ turn).astype(np.float32)

    def features(self, rows):
        return self._features[rows]


def split(labelled, unlabelled, test):
    ends = np.cumsum([labelled, unlabelled, test])
    parts = np.split(np.arange(ends[-1]), ends[:-1])
    return SimpleNamespace(labelled=parts[0], unlabelled=parts[1], test=parts[2])


def test_pca__keeps_the_distances_of_a_plane():
    places = np.random.default_rng(3).normal(size=(60, 2)) * (3, 1)
    found = feature_map(Cache(places), split(20, 20, 20), "pca")
    order = np.argsort(found.rows)
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    drawn = np.linalg.norm(found.places[order][:, None] - found.places[order][None], axis=-1)
    scale = drawn[0, 1] / apart[0, 1]
    assert drawn == pytest.approx(apart * scale, rel=1e-3, abs=0.5)
    assert found.places.min() >= 0 and found.places.max() <= SIDE
    assert found.places.max() - found.places.min() > 0.9 * SIDE


def test_rows__are_bounded_and_small_parts_are_whole():
    places = np.random.default_rng(3).normal(size=(5000, 2))
    found = feature_map(Cache(places), split(50, 3000, 1950), "pca")
    counts = {name: found.parts.count(name) for name in set(found.parts)}
    assert counts["labelled"] == 50
    assert sum(counts.values()) == MOST_POINTS
    assert abs(counts["unlabelled"] - counts["judged"]) <= 1
    assert len(set(found.rows.tolist())) == MOST_POINTS


@pytest.mark.parametrize("n_rows", [1, 2, 3])
def test_few_rows(n_rows):
    found = feature_map(Cache(np.ones((n_rows, 2))), split(n_rows, 0, 0), "tsne")
    assert found.method == "pca"
    assert np.isfinite(found.places).all()
