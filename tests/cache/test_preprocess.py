"""The preprocessing against open_clip's own transform."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from ulfine_cache.preprocess import Preprocess

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def picture(width, height, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(noise)


def both(cfg, image):
    theirs = image_transform_v2(cfg, is_train=False)(image).numpy()
    preprocess = Preprocess.from_open_clip(vars(cfg))
    ours = preprocess.normalise(preprocess.to_pixels(image)[None])[0]
    return ours, theirs


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [32, (32, 32), (24, 40)])
@pytest.mark.parametrize("shape", [(50, 37), (37, 50), (32, 32), (9, 100), (20, 20), (331, 200)])
def test_preprocess__equals_open_clip(resize_mode, interpolation, size, shape):
    cfg = PreprocessCfg(
        size=size, mean=MEAN, std=STD, interpolation=interpolation, resize_mode=resize_mode, fill_color=17
    )
    ours, theirs = both(cfg, picture(*shape))
    np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=60, deadline=None)
@given(width=st.integers(1, 90), height=st.integers(1, 90), mode=st.sampled_from(["shortest", "longest", "squash"]))
def test_preprocess__equals_open_clip_for_any_shape(width, height, mode):
    if max(width, height) > 16 * min(width, height):
        return  # beyond this aspect the far ends are cut off first, see below
    cfg = PreprocessCfg(size=20, mean=MEAN, std=STD, resize_mode=mode)
    ours, theirs = both(cfg, picture(width, height, seed=width))
    np.testing.assert_array_equal(ours, theirs)


def test_preprocess__random_interpolation_means_bicubic():
    cfg = PreprocessCfg(size=20, mean=MEAN, std=STD, interpolation="random")
    ours, theirs = both(cfg, picture(31, 50))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30_000), (30_000, 1)])
def test_to_pixels__extreme_shapes_stay_small(mode, shape):
    preprocess = Preprocess((16, 16), MEAN, STD, resize_mode=mode)
    pixels = preprocess.to_pixels(Image.new("RGB", shape, (10, 20, 30)))
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    if mode != "longest":
        assert (pixels == (10, 20, 30)).all()


def test_json__round_trip():
    preprocess = Preprocess((24, 40), MEAN, STD, "bilinear", "longest", 9)
    assert Preprocess.from_json(preprocess.to_json()) == preprocess
