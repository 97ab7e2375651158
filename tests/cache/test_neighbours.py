"""Nearest images by picture, by words, and by a path of the cache."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ulfine_cache.encoders.encoder import load_encoder
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.neighbours import neighbours
from ulfine_cache.stage_one import cache_features

BUILTIN = {"model": "builtin:tiny", "precision": "fp32", "device": "cpu"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """24 pictures of noise, one of them twice."""
    root = tmp_path_factory.mktemp("collection") / "photos"
    rng = np.random.default_rng(4)
    for folder in ("red_fox", "cat", "zebra", "unlabelled"):
        (root / folder).mkdir(parents=True)
        for number in range(6):
            coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
            coarse.resize((40, 36), Image.Resampling.BILINEAR).save(root / folder / f"{number:02d}.png")
    shutil.copy(root / "cat" / "00.png", root / "unlabelled" / "05.png")
    return root


@pytest.fixture(scope="module")
def cache(photos):
    cache_features(source=photos, out=photos.parent / "cache", **BUILTIN)
    return photos.parent / "cache"


@pytest.fixture
def imported(tmp_path):
    features = np.random.default_rng(2).standard_normal((12, 2, 8)).astype(np.float32)
    np.savez(tmp_path / "f.npz", features=features, labels=np.arange(12) % 3 - 1)
    import_features(file=tmp_path / "f.npz", out=tmp_path / "imported", index="none")
    return tmp_path / "imported"


def ask(cache, *queries, **options):
    return [answer["neighbours"] for answer in neighbours(cache=cache, queries=queries, **options)["queries"]]


def by_hand(cache, query, k):
    """Paths and similarities by one matrix product."""
    opened = FeatureCache.open(cache)
    similarities = opened.features() @ query
    order = np.argsort(-similarities, kind="stable")[:k]
    return [opened.paths[row] for row in order], similarities[order]


def test_neighbours__of_a_row_without_itself_but_with_its_duplicate(cache):
    (found,) = ask(cache, "cat/00.png", k=4)
    assert (found[0]["path"], found[0]["similarity"], found[0]["class"]) == ("unlabelled/05.png", 1.0, None)
    assert [item["rank"] for item in found] == [1, 2, 3, 4]
    opened = FeatureCache.open(cache)
    paths, similarities = by_hand(cache, opened.features(np.array([opened.paths.index("cat/00.png")]))[0], 6)
    assert {item["path"] for item in found} == set(paths) - {"cat/00.png"} - {paths[5]}
    np.testing.assert_allclose([item["similarity"] for item in found[1:]], similarities[2:5], atol=1e-4)
    assert all(item["class"] == item["path"].split("/")[0].replace("_", " ") for item in found[1:] if item["class"])


def test_neighbours__of_a_picture_and_of_words(cache, photos, tmp_path):
    shutil.copy(photos / "zebra" / "02.png", tmp_path / "new.png")
    picture, words = ask(cache, str(tmp_path / "new.png"), "a photo of a seven", k=3)
    assert (picture[0]["path"], picture[0]["class"]) == ("zebra/02.png", "zebra")
    assert picture[0]["similarity"] > 0.999
    encoder = load_encoder(FeatureCache.open(cache).attributes, "cpu")
    paths, similarities = by_hand(cache, encoder.encode_text(["a photo of a seven"])[0], 3)
    assert [item["path"] for item in words] == paths
    np.testing.assert_allclose([item["similarity"] for item in words], similarities, atol=1e-4)


def test_neighbours__a_path_of_the_cache_comes_before_a_file(cache, photos, tmp_path, monkeypatch):
    (tmp_path / "cat").mkdir()
    shutil.copy(photos / "zebra" / "00.png", tmp_path / "cat" / "00.png")
    monkeypatch.chdir(tmp_path)
    answers = neighbours(cache=cache, queries=["cat/00.png", "./cat/00.png"], k=1)["queries"]
    assert [answer["meaning"] for answer in answers] == ["row", "picture"]
    assert [answer["neighbours"][0]["path"] for answer in answers] == ["unlabelled/05.png", "zebra/00.png"]


def test_neighbours__more_than_there_are(cache):
    (found,) = ask(cache, "zebra/00.png", k=100)
    assert len(found) == 23
    assert "zebra/00.png" not in {item["path"] for item in found}


def test_neighbours__imported_and_without_an_index(imported, recorder):
    path = FeatureCache.open(imported).paths[4]
    (found,) = ask(imported, path, k=3, progress=recorder)
    assert recorder.notes == ["the cache has no index: every row is compared"]
    paths, _ = by_hand(imported, FeatureCache.open(imported).features()[4], 4)
    assert [item["path"] for item in found] == paths[1:]
    import_features(file=imported.parent / "f.npz", out=imported, index="Flat")
    (imported / "image.faiss").unlink()
    assert ask(imported, path, k=3, progress=recorder) == [found]
    for query in ("a red car", __file__):
        with pytest.raises(UlfineError, match="holds imported features, whose encoder is not known: ask with one of"):
            ask(imported, query)


def test_neighbours__what_cannot_be_asked(cache, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    for query, message in [
        ("cat/99.png", r"cat/99.png: no such file, nor a path of the cache; these look like cat/00.png"),
        (str(broken), "broken.png: not an image"),
        (str(tmp_path), "is a folder"),
        (" ", "a query is empty"),
    ]:
        with pytest.raises(UlfineError, match=message):
            ask(cache, query)
    with pytest.raises(UsageError, match="k=0"):
        ask(cache, "cat/00.png", k=0)
    with pytest.raises(UsageError, match="no query"):
        ask(cache)
    assert ask(cache, "word " * 200)[0]


def test_neighbours__words_for_an_encoder_without_text(photos, tmp_path):
    import timm
    import torch
    from safetensors.torch import save_file

    weights = str(tmp_path / "weights.safetensors")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(timm.create_model("test_vit", num_classes=0).state_dict(), weights)
    made = {"model": "timm:test_vit", "pretrained": weights, "precision": "fp32", "device": "cpu"}
    cache_features(source=photos, out=tmp_path / "cache", **made)
    (found,) = ask(tmp_path / "cache", str(photos / "zebra" / "01.png"), k=1)
    assert found[0]["path"] == "zebra/01.png"
    with pytest.raises(UlfineError, match="a red car: timm:test_vit has no text encoder: ask with a picture"):
        ask(tmp_path / "cache", "a red car")


def test_neighbours__a_path_of_the_cache_loads_no_torch(imported):
    code = (
        "import sys; from pathlib import Path; from ulfine_cache.neighbours import neighbours; "
        "neighbours(cache=Path(sys.argv[1]), queries=[sys.argv[2]]); assert 'torch' not in sys.modules"
    )
    path = FeatureCache.open(imported).paths[0]
    root = Path(__file__).parents[2] / "cache"
    subprocess.run([sys.executable, "-c", code, imported, path], check=True, env={"PYTHONPATH": str(root)})
