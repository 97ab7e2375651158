"""Times of change that cannot be: in the future, of 1970 and before it; and a clock that goes back."""

import os
import shutil

import numpy as np
import pytest

from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.verify import verify

TIMES = {"2100": 4_102_444_800, "1970": 0, "1968": -50_000_000, "2400": 13_569_465_600}


@pytest.mark.parametrize("seconds", TIMES.values(), ids=TIMES)
def test_times_that_cannot_be(run, photos, tmp_path, seconds):
    files = sorted(photos.rglob("*.png"))
    for path in [*files, photos]:
        os.utime(path, (seconds, seconds))
    run()
    before = FeatureCache.open(tmp_path / "cache").features()
    assert run()["shards_encoded"] == 0
    # Another picture with an earlier time; and the cache itself is of that time.
    shutil.copy(files[3], files[0])
    for path in [files[0], *(tmp_path / "cache").rglob("*")]:
        os.utime(path, (seconds - 90_000, seconds - 90_000))
    assert run()["images_encoded"] + run()["images_encoded"] <= 1
    after = FeatureCache.open(tmp_path / "cache").features()
    np.testing.assert_allclose(after[0], before[3], atol=1e-3)
    np.testing.assert_array_equal(after[1:], before[1:])
    assert verify(cache=tmp_path / "cache", source=True)["damaged"] == []
