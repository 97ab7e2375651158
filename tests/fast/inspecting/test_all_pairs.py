"""Nearest neighbours of all rows, compared in full and through an index."""

import numpy as np

from tests.fast.inspecting.made import rows_of
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.progress import Silent
from ulfine_fast.inspecting import all_pairs
from ulfine_fast.inspecting.all_pairs import nearest_of_all


def test_nearest_of_all__finds_copies_either_way(make_cache, monkeypatch):
    features, labels = rows_of([150, 150])
    features[200:210] = features[:10]
    cache = FeatureCache.open(make_cache("pairs", features=features, labels=labels))
    rows = np.arange(300)
    _, exact = nearest_of_all(cache, rows, 3, Silent())
    monkeypatch.setattr(all_pairs, "EXACT_ROWS", 100)
    monkeypatch.setattr(all_pairs, "_BLOCK", 64)
    similarities, found = nearest_of_all(cache, rows, 3, Silent())
    for places in (exact, found):
        assert places[200:210, 0].tolist() == list(range(10))
    assert (similarities[:10, 0] > 0.999).all()
    assert (found != rows[:, None]).all()
    assert (np.sort(found, 1) == np.sort(exact, 1)).mean() > 0.7
