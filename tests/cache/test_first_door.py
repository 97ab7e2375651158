import subprocess
import sys

import pytest

import ulfine_cache


def test_first_door__hands_on_what_it_names():
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.preprocess import Preprocess
    from ulfine_cache.splits import make_split
    from ulfine_cache.stage_one import cache_features

    assert (ulfine_cache.FeatureCache, ulfine_cache.Preprocess) == (FeatureCache, Preprocess)
    assert (ulfine_cache.cache_features, ulfine_cache.make_split) == (cache_features, make_split)
    assert set(dir(ulfine_cache)) == {"FeatureCache", "Preprocess", "cache_features", "make_split"}


def test_first_door__import_features_stays_the_module():
    from ulfine_cache import import_features

    assert import_features.__name__ == "ulfine_cache.import_features"


def test_first_door__unknown_name():
    with pytest.raises(AttributeError, match="has no attribute 'magic'"):
        _ = ulfine_cache.magic


def test_first_door__opens_without_anything_heavy():
    code = "import sys, ulfine_cache; assert not {'torch', 'h5py', 'numpy', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
