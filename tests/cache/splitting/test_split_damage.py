"""A split whose bytes have changed is not used."""

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split


def test_every_flipped_bit_of_a_split_is_found(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "f.npz", features=rng.normal(size=(24, 8)).astype(np.float32), labels=np.arange(24) % 3)
    import_features(file=tmp_path / "f.npz", out=tmp_path / "cache")
    make_split(cache=tmp_path / "cache", name="lt", labelled_max=3, imbalance=2, test_per_class=2)
    cache = FeatureCache.open(tmp_path / "cache")
    file = tmp_path / "cache" / "splits" / "lt.h5"
    whole = file.read_bytes()
    for place in range(0, len(whole), 11):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        file.write_bytes(bytes(data))
        with pytest.raises(UlfineError, match=r"lt\.h5 is damaged"):
            cache.read_split("lt")
    file.write_bytes(whole)
    assert len(cache.read_split("lt").test) == 6
