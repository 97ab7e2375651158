"""Recipes of views: five crops as LIFT takes them, and weak and strong views that a re-run makes again."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import FiveCrop, InterpolationMode, Resize

from ulfine_cache.errors import UsageError
from ulfine_cache.pictures.views import check_views, first_view, make_views
from ulfine_cache.preprocess import Preprocess

SQUARE = Preprocess((224, 224), (0.5,) * 3, (0.5,) * 3)
SMALL = Preprocess((32, 32), (0.5,) * 3, (0.5,) * 3)


def picture(width, height, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def test_check_views__counts_and_refusals():
    assert check_views("center") == 1
    assert check_views("five-crop") == 5
    assert [check_views(f"weak-strong:{strong}") for strong in (1, 2, 16)] == [2, 3, 17]
    for bad in ("", "seven", "weak-strong", "weak-strong:0", "weak-strong:17", "weak-strong:-1", "weak-strong:2.5"):
        with pytest.raises(UsageError, match=f"no views '{bad}': there are center, five-crop and weak-strong:K"):
            check_views(bad)
        with pytest.raises(UsageError):
            make_views(picture(9, 9), SMALL, bad)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("shape", [(500, 375), (375, 500), (251, 249), (224, 224), (100, 90), (90, 400)])
def test_five_crop__equals_torchvision(shape, interpolation):
    image = picture(*shape)
    mode = InterpolationMode(interpolation)
    crops = FiveCrop(224)(Resize(248, interpolation=mode)(image))
    top_left, top_right, bottom_left, bottom_right, centre = (np.asarray(crop) for crop in crops)
    views = make_views(image, Preprocess((224, 224), (0.5,) * 3, (0.5,) * 3, interpolation), "five-crop")
    assert views.dtype == np.uint8
    np.testing.assert_array_equal(views, np.stack([centre, top_left, top_right, bottom_left, bottom_right]))


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [(32, 32), (24, 40), (40, 24)])
@pytest.mark.parametrize("shape", [(60, 50), (30, 90), (33, 32), (1, 1), (1, 500)])
def test_five_crop__any_encoder(mode, size, shape):
    preprocess = Preprocess(size, (0.5,) * 3, (0.5,) * 3, "bilinear", mode, fill_color=7)
    image = picture(*shape)
    views = make_views(image, preprocess, "five-crop")
    assert views.shape == (5, *size, 3)
    np.testing.assert_array_equal(views[0], first_view("five-crop", preprocess).to_pixels(image))


def test_five_crop__pads_only_what_longest_leaves_empty():
    preprocess = Preprocess((28, 28), (0.5,) * 3, (0.5,) * 3, "bilinear", "longest", fill_color=7)
    views = make_views(Image.new("RGB", (62, 31), (200, 200, 200)), preprocess, "five-crop")
    # 62 x 31 becomes 31 x 16 (15.5 is rounded) in 31 x 31, 7 rows of padding above it and 8 below.
    above, below = (views[1:, :14, 0, 0] == 7).sum(axis=1), (views[1:, 14:, 0, 0] == 7).sum(axis=1)
    assert above.tolist() == [7, 7, 4, 4]
    assert below.tolist() == [5, 5, 8, 8]
    assert (views[:, 12] == 200).all()


def test_first_view__is_the_encoders_own_but_for_five_crop():
    assert first_view("center", SQUARE) is SQUARE
    assert first_view("weak-strong:3", SQUARE) is SQUARE
    assert first_view("five-crop", SQUARE).resize == (248, 248)
    assert first_view("five-crop", Preprocess((384, 336), (0.5,) * 3, (0.5,) * 3)).resize == (425, 372)
    with pytest.raises(UsageError):
        first_view("all", SQUARE)


def test_center__is_the_preprocessing():
    image = picture(50, 40)
    np.testing.assert_array_equal(make_views(image, SMALL), SMALL.to_pixels(image)[None])


def test_weak_strong__depends_on_the_seed_alone():
    image = picture(60, 45)
    before = np.asarray(image).copy()
    views = make_views(image, SMALL, "weak-strong:4", "a")
    assert views.shape == (5, 32, 32, 3)
    assert views.dtype == np.uint8
    np.testing.assert_array_equal(np.asarray(image), before)
    # Neither K nor what runs beside it changes a view.
    np.testing.assert_array_equal(make_views(image, SMALL, "weak-strong:2", "a"), views[:3])
    np.random.seed(1)  # noqa: NPY002
    with ThreadPoolExecutor(4) as pool:
        seeds = ["a", "b", "c", "d"] * 5
        again = list(pool.map(lambda seed: make_views(image, SMALL, "weak-strong:4", seed), seeds))
    for seed, made in zip(seeds, again, strict=True):
        np.testing.assert_array_equal(made, views if seed == "a" else again[seeds.index(seed)])
    different = {made.tobytes() for made in [*views, *make_views(image, SMALL, "weak-strong:4", "b")]}
    assert len(different) == 10


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (2, 2)])
def test_weak_strong__any_picture(shape):
    for seed in range(10):
        assert make_views(Image.new("RGB", shape), SMALL, "weak-strong:2", str(seed)).shape == (3, 32, 32, 3)
