"""Weak and strong distortions: what they may do, and that they do all of it."""

import numpy as np
import pytest
from PIL import Image

from ulfine_cache.pictures.augment import OPERATIONS, POOL, crop_box, strong_view, view_generator, weak_view
from ulfine_cache.preprocess import Preprocess

SIDE = 32
PREPROCESS = Preprocess((SIDE, SIDE), (0.5,) * 3, (0.5,) * 3, "bilinear")
NAMES = [
    "autocontrast",
    "brightness",
    "color",
    "contrast",
    "equalize",
    "identity",
    "posterize",
    "rotate",
    "sharpness",
    "shear_x",
    "shear_y",
    "solarize",
    "translate_x",
    "translate_y",
]


def noise(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def operation(name, strength, image):
    return np.asarray(POOL[NAMES.index(name)][0](image, strength))


def test_weak_view__is_a_flip_and_a_shift_of_at_most_an_eighth():
    pixels = noise()
    reflected = np.pad(pixels, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    possible = {}
    for flipped in (False, True):
        source = reflected[:, ::-1] if flipped else reflected
        for top in range(9):
            for left in range(9):
                possible[source[top : top + SIDE, left : left + SIDE].tobytes()] = (flipped, top, left)
    drawn = [possible[weak_view(pixels, view_generator("w", number)).tobytes()] for number in range(600)]
    assert 240 < sum(flipped for flipped, _, _ in drawn) < 360
    for part in (1, 2):
        assert {draw[part] for draw in drawn} == set(range(9))


def test_weak_view__single_pixel():
    assert weak_view(np.full((1, 1, 3), 9, np.uint8), view_generator("", 0)).tolist() == [[[9, 9, 9]]]


def test_view_generator__differs_by_seed_and_view():
    draws = {view_generator(seed, view).random() for seed in ("", "a", "b", "a/1") for view in range(5)}
    assert len(draws) == 20


def test_pool__is_fixmatchs_table():
    ranges = {name: entry[1:] for name, entry in zip(NAMES, POOL, strict=True)}
    for name in ("brightness", "color", "contrast", "sharpness"):
        assert ranges[name] == (0.05, 0.95)
    for name in ("shear_x", "shear_y", "translate_x", "translate_y"):
        assert ranges[name] == (-0.3, 0.3)
    assert ranges["rotate"] == (-30, 30)
    assert ranges["solarize"] == (0, 1)
    assert OPERATIONS == 2


def test_pool__operations_do_what_they_are_called():
    pixels = noise()
    image = Image.fromarray(pixels)
    dark = Image.fromarray((pixels // 4 + 20).astype(np.uint8))
    assert operation("autocontrast", 0, dark).max() == 255
    assert operation("autocontrast", 0, dark).min() == 0
    np.testing.assert_allclose(operation("brightness", 0.5, image), pixels // 2, atol=1)
    grey = operation("color", 0.05, image).astype(int)
    assert np.ptp(grey, axis=2).max() <= 0.05 * 255 + 2
    assert operation("contrast", 0.05, image).std() < 0.1 * pixels.std()
    assert operation("equalize", 0, dark).max() == 255
    np.testing.assert_array_equal(operation("identity", 0, image), pixels)
    bits = {strength: len(np.unique(operation("posterize", strength, image))) for strength in (4.0, 5.9, 8.99, 9.0)}
    assert bits[4.0] == 16
    assert bits[5.9] == 32
    assert bits[8.99] == bits[9.0] == len(np.unique(pixels))
    np.testing.assert_array_equal(operation("rotate", 0.0, image), pixels)
    assert (operation("rotate", 30.0, image)[0, 0] == 0).all()
    assert np.abs(np.diff(operation("sharpness", 0.05, image).astype(int))).mean() < 60
    assert operation("sharpness", 1.0, image).tolist() == pixels.tolist()
    inverted = operation("solarize", 0.5, image)
    np.testing.assert_array_equal(inverted, np.where(pixels < 128, pixels, 255 - pixels))
    np.testing.assert_array_equal(operation("solarize", 0.0, image), 255 - pixels)
    across = operation("translate_x", -0.25, image)
    np.testing.assert_array_equal(across[:, 8:], pixels[:, :-8])
    assert (across[:, :8] == 0).all()
    down = operation("translate_y", 0.25, image)
    np.testing.assert_array_equal(down[:-8], pixels[8:])
    assert (down[-8:] == 0).all()
    sheared = operation("shear_x", 0.3, image)
    np.testing.assert_array_equal(sheared[0], pixels[0])
    assert (sheared[-1, -8:] == 0).all()
    np.testing.assert_array_equal(operation("shear_y", 0.3, image)[:, 0], pixels[:, 0])


def test_strong_view__covers_up_to_a_quarter_with_grey():
    # No operation makes this grey of white.
    image = Image.new("RGB", (64, 64), "white")
    shares = []
    for number in range(200):
        view = strong_view(image, PREPROCESS, view_generator("c", number))
        assert view.shape == (SIDE, SIDE, 3)
        shares.append((view == 127).all(axis=2).mean())
    assert max(shares) == pytest.approx(0.25)
    # Its centre lies anywhere, so it can be cut off down to a quarter of itself.
    assert 0.06 <= min(shares) < 0.12
    # Per axis half of the centres show all of it, the others three quarters on average: (7 / 16) ** 2.
    assert np.mean(shares) == pytest.approx(0.19, abs=0.02)


def test_crop_box__area_and_aspect():
    boxes = np.array([crop_box(400, 300, view_generator("r", number)) for number in range(1000)])
    across, down = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 400
    assert boxes[:, 3].max() <= 300
    area, aspect = across * down / (400 * 300), across / down
    assert 0.078 < area.min() < 0.1
    assert 0.9 < area.max() <= 1.002
    assert 0.74 < aspect.min() < 0.76
    assert 1.31 < aspect.max() < 1.35
    # Anywhere in the picture.
    assert boxes[:, :2].min(axis=0).tolist() == [0, 0]
    assert boxes[:, 2:].max(axis=0).tolist() == [400, 300]


@pytest.mark.parametrize(("size", "box"), [((1000, 3), (498, 0, 502, 3)), ((3, 1000), (0, 498, 3, 502))])
def test_crop_box__centre_where_nothing_fits(size, box):
    assert crop_box(*size, view_generator("x", 0)) == box


def test_strong_view__flips_half_of_the_pictures():
    """The left half is black, the right half white; solarize apart, no operation changes which is darker."""
    image = Image.new("L", (64, 64), 0)
    image.paste(255, (32, 0, 64, 64))
    views = np.stack([strong_view(image.convert("RGB"), PREPROCESS, view_generator("f", n)) for n in range(400)])
    difference = views[:, :, 16:].mean(axis=(1, 2, 3)) - views[:, :, :16].mean(axis=(1, 2, 3))
    clear = np.abs(difference) > 30
    assert clear.sum() > 150
    assert 0.4 < (difference[clear] < 0).mean() < 0.6
