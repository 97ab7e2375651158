"""Thumbnails: of the right row, within the budget, and a reason where there are none."""

import base64
import io
import shutil

import numpy as np
import pytest
from PIL import Image

from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.stage_one import cache_features
from ulfine_exports.pages.thumbnails import PLACEHOLDER, Thumbnails

COLOURS = {"red": (200, 30, 30), "green": (30, 160, 40), "blue": (30, 50, 190)}


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coloured")
    for name, colour in COLOURS.items():
        (folder / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (300, 150), colour).save(folder / "photos" / name / "one.png")
    cache_features(source=folder / "photos", out=folder / "cache", model="builtin:tiny", device="cpu", index="none")
    return folder


def opened(uri):
    kind, _, data = uri.partition(";base64,")
    assert kind == "data:image/webp"
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def test_thumbnail__is_the_picture_of_its_row(coloured):
    cache = FeatureCache.open(coloured / "cache")
    thumbnails = Thumbnails(cache, size=60)
    for row in range(3):
        picture = opened(thumbnails.of(row))
        assert picture.size == (60, 30)
        colour = COLOURS[cache.class_names[cache.labels[row]]]
        assert np.abs(np.asarray(picture).mean(axis=(0, 1)) - colour).max() < 6
    assert Thumbnails(cache, size=60).of(1) == thumbnails.of(1)


def test_budget__ends_with_no_picture_and_keeps_those_that_were_made(coloured):
    thumbnails = Thumbnails(FeatureCache.open(coloured / "cache"), budget=1)
    first = thumbnails.of(0)
    assert first
    assert thumbnails.of(1) == ""
    assert thumbnails.of(0) == first
    assert thumbnails.bytes == len(first)


def test_picture__that_is_gone_is_a_placeholder(coloured, tmp_path):
    for name in ("cache", "photos"):
        shutil.copytree(coloured / name, tmp_path / name)
    cache = FeatureCache.open(tmp_path / "cache")
    cache.attributes["source"] = str(tmp_path / "photos")
    (tmp_path / "photos" / cache.paths[0]).write_bytes(b"no picture")
    (tmp_path / "photos" / cache.paths[1]).unlink()
    thumbnails = Thumbnails(cache)
    assert [thumbnails.of(row) == PLACEHOLDER for row in range(3)] == [True, True, False]
    shutil.rmtree(tmp_path / "photos")
    gone = Thumbnails(cache)
    assert "photos" in gone.missing
    assert gone.of(2) == ""


def test_features_made_elsewhere__have_no_pictures(feature_cache):
    thumbnails = Thumbnails(FeatureCache.open(feature_cache))
    assert "was not made from images" in thumbnails.missing
    assert thumbnails.of(0) == ""
