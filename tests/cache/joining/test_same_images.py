"""Rows are matched by path; what differs is refused by name."""

import numpy as np
import pytest
from PIL import Image

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.joining.same_images import rows_of_same_images
from ulfine_cache.stage_one import cache_features


def made(folder, name, order, **changes):
    rng = np.random.default_rng(len(name))
    arrays = {
        "features": rng.normal(size=(len(order), 5)),
        "labels": np.array([0, 1, 0, 1])[order],
        "paths": np.array(["a.png", "b.png", "c.png", "d.png"])[order],
        "class_names": np.array(["x", "y"]),
    } | changes
    np.savez(folder / f"{name}.npz", **arrays)
    import_features(file=folder / f"{name}.npz", out=folder / name, index="none")
    return FeatureCache.open(folder / name)


def test_rows__in_the_order_of_the_first(tmp_path):
    first, other = made(tmp_path, "one", [0, 1, 2, 3]), made(tmp_path, "other", [2, 0, 3, 1])
    rows = rows_of_same_images([first, other])
    assert [other.paths[row] for row in rows[1]] == first.paths


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": np.array([0, 1, 1, 1])}, r"another label for c\.png"),
        ({"paths": np.array(["a.png", "b.png", "c.png", "e.png"])}, r"not of the same images .* d\.png"),
        ({"class_names": np.array(["x", "z"])}, "other classes"),
        ({"paths": np.array(["a.png", "b.png", "c.png", "c.png"])}, "a path stands there twice"),
        ({"set": np.array(["test", "", "", ""])}, r"another set for a\.png"),
    ],
)
def test_rows__what_differs_is_named(tmp_path, changes, words):
    with pytest.raises(UlfineError, match=words):
        rows_of_same_images([made(tmp_path, "one", [0, 1, 2, 3]), made(tmp_path, "other", [0, 1, 2, 3], **changes)])


def test_rows__fewer(tmp_path):
    with pytest.raises(UlfineError, match=r"4 rows and 3; first of one alone: d\.png"):
        rows_of_same_images([made(tmp_path, "one", [0, 1, 2, 3]), made(tmp_path, "other", [0, 1, 2])])
    with pytest.raises(UlfineError, match=r"first of one alone: d\.png"):
        rows_of_same_images([made(tmp_path, "three", [0, 1, 2]), made(tmp_path, "four", [0, 1, 2, 3])])


def test_rows__a_picture_that_changed_in_between(tmp_path):
    for number in range(4):
        (tmp_path / "photos" / "xy"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (60 * number, 9, 9)).save(tmp_path / "photos" / "xy"[number % 2] / f"{number}.png")
    options = {"source": tmp_path / "photos", "model": "builtin:tiny", "device": "cpu", "index": "none"}
    cache_features(out=tmp_path / "before", **options)
    Image.new("RGB", (32, 32), (1, 2, 3)).save(tmp_path / "photos" / "x" / "2.png")
    cache_features(out=tmp_path / "after", **options)
    caches = [FeatureCache.open(tmp_path / name) for name in ("before", "after")]
    with pytest.raises(UlfineError, match=r"another content for x/2\.png"):
        rows_of_same_images(caches)
