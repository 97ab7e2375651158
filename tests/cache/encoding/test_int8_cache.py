"""`cache-features --precision int8`: what the cache says of itself, and that its bytes do not depend on the call."""

import numpy as np
import pytest
import torch
from PIL import Image

from ulfine_cache.encoders.int8_tower import multiplies_int8
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.info import cache_info
from ulfine_cache.stage_one import cache_features

pytestmark = pytest.mark.skipif(not multiplies_int8(torch.device("cpu")), reason="this CPU has no VNNI instructions")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Encode 13 pictures into a cache of that name; returns its figures."""
    folder = tmp_path_factory.mktemp("int8-cache")
    generator = np.random.default_rng(0)
    for number in range(13):
        place = folder / "photos" / ("one" if number % 2 else "two") / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(generator.integers(0, 256, (5, 5, 3), np.uint8))
        coarse.resize((40, 36), Image.Resampling.BICUBIC).save(place)

    def make(name, **changes):
        options = {"model": "builtin:tiny", "precision": "int8", "device": "cpu", "batch_size": 8} | changes
        return cache_features(source=folder / "photos", out=folder / name, **options)

    make("first")
    return make, folder


def features(cache):
    found = FeatureCache.open(cache)
    return found.features(np.arange(found.n_rows))


def test_int8__says_what_it_costs(made, recorder):
    make, folder = made
    figures = make("told", progress=recorder)
    assert 0.995 < figures["cosine_to_fp32"] < 1
    assert any(note.startswith("int8: mean cosine 0.999") for note in recorder.notes)
    assert figures["precision"] == cache_info(folder / "told")["precision"] == "int8"
    assert cache_info(folder / "told")["cosine_to_fp32"] == figures["cosine_to_fp32"]
    assert make("told")["cosine_to_fp32"] == figures["cosine_to_fp32"]
    assert "cosine_to_fp32" not in make("exact", precision="fp32")


def test_int8__same_bytes_for_any_call(made):
    make, folder = made
    make("other", workers=3, batch_size=5)
    np.testing.assert_array_equal(features(folder / "first"), features(folder / "other"))


def test_int8__is_not_mixed_with_other_precisions(made):
    make, folder = made
    with pytest.raises(UlfineError, match=r"made in another way \(precision int8 -> fp32\): choose another --out"):
        make("first", precision="fp32")
    make("exact", precision="fp32")
    assert FeatureCache.open(folder / "first").fingerprint != FeatureCache.open(folder / "exact").fingerprint
