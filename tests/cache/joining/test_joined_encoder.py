"""`cache-features --model A+B`: the same rows as two caches that are joined, resumed and refused like one encoder's."""

import json

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.joining.load import load_encoder, named_encoders
from ulfine_cache.verify import verify
from ulfine_fast.join import join


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes(255 - byte for byte in content[middle : middle + 64]) + content[middle + 64 :]


@pytest.fixture
def models(random_model):
    return f"builtin:tiny+{random_model[0]}", f"+{random_model[1]}"


@pytest.mark.parametrize("views", ["center", "five-crop", "weak-strong:1"])
def test_cache__is_what_join_makes_of_two(run, models, random_model, tmp_path, views):
    both = run(model=models[0], pretrained=models[1], views=views)
    run(model="builtin:tiny", pretrained="openai", out=tmp_path / "one", views=views)
    run(out=tmp_path / "two", views=views)
    join(caches=[tmp_path / "one", tmp_path / "two"], out=tmp_path / "joined")
    made, joined, one = (FeatureCache.open(tmp_path / name) for name in ("cache", "joined", "one"))
    assert both["model"] == joined.attributes["model"] == models[0]
    assert made.n_views == joined.n_views == one.n_views
    for view in range(made.n_views):
        np.testing.assert_allclose(made.features(view=view), joined.features(view=view), atol=6e-4)
    np.testing.assert_allclose(made.text_features, joined.text_features, atol=1e-6)
    for name in ("weights_hash", "preprocess", "precision", "views", "source"):
        assert made.attributes[name] == joined.attributes[name], name
    parts = json.loads(made.attributes["parts"])
    assert [part["model"] for part in parts] == ["builtin:tiny", random_model[0]]
    assert sum(part["width"] for part in parts) == made.n_features


def test_cache__goes_on_where_it_was_and_is_repaired(run, models, recorder):
    run(model=models[0], pretrained=models[1])
    whole = FeatureCache.open(run(model=models[0], pretrained=models[1])["cache"])
    shard = whole.shard_paths[1]
    wanted = shard.read_bytes()
    shard.unlink()
    (whole.path / "cache.h5").unlink()
    again = run(model=models[0], pretrained=models[1], progress=recorder)
    assert again["shards_encoded"] == 1
    assert shard.read_bytes() == wanted
    shard.write_bytes(flipped(wanted))
    verify(cache=whole.path, repair=True)
    assert shard.read_bytes() == wanted
    with pytest.raises(UlfineError, match="features made in another way"):
        run()


def test_encoder__of_a_cache_encodes_its_pictures_again(run, models, photos, tmp_path):
    from PIL import Image

    run(model=models[0], pretrained=models[1])
    cache = FeatureCache.open(tmp_path / "cache")
    encoder = load_encoder(cache.attributes, "cpu")
    row = cache.paths.index("cat/02.png")
    pixels = encoder.preprocess.to_pixels(Image.open(photos / "cat" / "02.png").convert("RGB"))
    np.testing.assert_allclose(encoder.encode_images(pixels[None])[0], cache.features([row])[0], atol=2e-3)
    lost = dict(cache.attributes, weights_hash="")
    with pytest.raises(UlfineError, match="several encoders, of which some are not known"):
        load_encoder(lost, "cpu")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"model": "builtin:tiny+builtin:tiny", "pretrained": ""}, "names builtin:tiny twice"),
        ({"model": "builtin:tiny+"}, "an encoder without a name"),
        ({"pretrained": "a+b+c"}, "names 2 encoders and --pretrained a.b.c weights of 3"),
        ({"mean": "0.5"}, "--mean is for one encoder"),
        ({"preprocess": "openai"}, "--preprocess is for one encoder"),
        ({"pre_projection": True}, "--pre-projection is for one encoder"),
        ({"model": "+".join(f"m{number}" for number in range(9)), "pretrained": ""}, "8 at the most"),
        ({"model": "builtin:tiny+ViT-B-99"}, "no model 'ViT-B-99'"),
    ],
)
def test_what_cannot_be_combined__gets_one_line(run, models, options, complaint):
    with pytest.raises(UsageError, match=complaint):
        run(**{"model": models[0], "pretrained": models[1], **options})


def test_names__of_a_folder_with_a_plus_are_one(tmp_path):
    (tmp_path / "a+b").mkdir()
    assert named_encoders(f"local-dir:{tmp_path / 'a+b'}", "") == [(f"local-dir:{tmp_path / 'a+b'}", "")]


def test_joined_cache__damaged_says_what_to_repair(run, random_model, tmp_path):
    run(out=tmp_path / "one")
    run(model="builtin:tiny", out=tmp_path / "two")
    join(caches=[tmp_path / "one", tmp_path / "two"], out=tmp_path / "joined")
    [shard] = FeatureCache.open(tmp_path / "joined").shard_paths
    shard.write_bytes(flipped(shard.read_bytes()))
    with pytest.raises(UlfineError, match=r"joined from .*repair those, delete .*cache.h5 and give"):
        verify(cache=tmp_path / "joined", repair=True)
