"""Views and features before the projection, from pictures to an open cache."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from ulfine_cache.encoders.encoder import load_encoder
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.pictures.views import make_views
from ulfine_cache.store.shards import content_hash, shard_path


def all_views(cache):
    return np.stack([cache.features(view=view) for view in range(cache.n_views)], axis=1)


@pytest.mark.parametrize(("recipe", "count"), [("five-crop", 5), ("weak-strong:2", 3)])
def test_views__are_rows_of_one_array(run, photos, tmp_path, recipe, count):
    figures = run(views=recipe)
    assert (figures["rows"], figures["views"]) == (23, count)
    cache = FeatureCache.open(tmp_path / "cache")
    encoder = load_encoder(cache.attributes, "cpu")
    features = all_views(cache)
    for row in (0, 7, 22):
        picture = Image.open(photos / cache.paths[row]).convert("RGB")
        seed = content_hash((photos / cache.paths[row]).read_bytes())
        pixels = make_views(picture, replace(encoder.preprocess, resize=None), recipe, seed)
        np.testing.assert_allclose(encoder.encode_images(pixels), features[row], atol=2e-3)
        if recipe == "five-crop":
            # New pictures become what the first view is.
            np.testing.assert_array_equal(encoder.preprocess.to_pixels(picture), pixels[0])


def test_weak_strong__the_same_pixels_again_whatever_the_name(run, photos, tmp_path):
    run(views="weak-strong:2")
    before = FeatureCache.open(tmp_path / "cache")
    features, paths = all_views(before), before.paths
    shard_path(tmp_path / "cache", 1).unlink()
    whole = {path.name: path.read_bytes() for path in (tmp_path / "cache" / "shards").iterdir()}
    run(views="weak-strong:2")
    assert all((tmp_path / "cache" / "shards" / name).read_bytes() == content for name, content in whole.items())
    np.testing.assert_array_equal(all_views(FeatureCache.open(tmp_path / "cache")), features)
    (photos / "cat" / "00.png").rename(photos / "zebra" / "renamed.png")
    run(views="weak-strong:3", out=tmp_path / "other")
    after = FeatureCache.open(tmp_path / "other")
    moved = all_views(after)[after.paths.index("zebra/renamed.png"), :3]
    np.testing.assert_allclose(moved, features[paths.index("cat/00.png")], atol=2e-3)


def test_views__are_not_mixed(run):
    run(views="weak-strong:2")
    with pytest.raises(UlfineError, match="views weak-strong:2 -> weak-strong:3"):
        run(views="weak-strong:3")
    with pytest.raises(UlfineError, match="pre projection none -> True"):
        run(views="weak-strong:2", pre_projection=True)


def test_pre_projection__projects_to_the_features(run, tmp_path, random_model):
    run(pre_projection=True, views="weak-strong:1")
    cache = FeatureCache.open(tmp_path / "cache")
    assert (cache.n_features, cache.n_features_pre) == (16, 32)
    projection = load_file(random_model[1])["visual.proj"]
    for view in range(2):
        projected = cache.features(view=view, pre_projection=True) @ projection
        projected /= np.linalg.norm(projected, axis=1, keepdims=True)
        np.testing.assert_allclose(projected, cache.features(view=view), atol=3e-3)
    mapped = cache.text_features @ projection.T
    mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
    np.testing.assert_allclose(cache.text_features_pre, mapped, atol=1e-6)


def test_pre_projection__a_shard_without_readable_images(run, photos, tmp_path):
    for path in sorted((photos / "cat").iterdir())[:5]:
        path.write_bytes(b"")
    figures = run(pre_projection=True, shard_size=5, source=photos)
    assert figures["rows"] == 18
    cache = FeatureCache.open(tmp_path / "cache")
    assert cache.features(pre_projection=True).shape == (18, 32)
    assert np.isfinite(cache.features(pre_projection=True)).all()
