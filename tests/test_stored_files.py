"""Files of every version of the formats that a reader must still open: `stored/README.md` says how they were made."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.stage_one import cache_features
from ulfine_cache.store.layout import SCHEMA_VERSION
from ulfine_cache.verify import verify
from ulfine_exports.export import export_onnx
from ulfine_exports.onnx_classifier import OnnxClassifier
from ulfine_fast.evaluate import evaluate
from ulfine_fast.run import load_run

STORED = Path(__file__).parent / "stored"
CLASSES = ["ash", "birch", "cedar"]


@pytest.fixture(params=sorted(path.name for path in STORED.glob("version-*")))
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy, since some commands lock or extend what they read."""
    return Path(shutil.copytree(STORED / request.param, tmp_path / request.param))


@pytest.fixture
def features() -> np.ndarray:
    with np.load(STORED / "features.npz", allow_pickle=False) as arrays:
        rows = arrays["features"]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_stored__there_is_every_version():
    assert sorted(path.name for path in STORED.glob("version-*")) == [
        f"version-{number}" for number in range(1, SCHEMA_VERSION + 1)
    ]


def test_cache__is_read(stored, features):
    cache = FeatureCache.open(stored / "cache")
    assert cache.features() == pytest.approx(features, abs=1e-3)
    expected = np.repeat([0, 1, 2], 8)
    expected[[3, 11, 19]] = -1
    assert cache.labels.tolist() == expected.tolist()
    assert cache.class_names == CLASSES
    assert {name: int((cache.set_names == name).sum()) for name in ("train", "val", "test")} == {
        "train": 15,
        "val": 3,
        "test": 6,
    }
    assert cache.text_features is not None
    assert np.linalg.norm(cache.text_features, axis=1) == pytest.approx(np.ones(3))
    assert cache.attributes["model"] == "imported"


def test_cache__split_is_read(stored):
    cache = FeatureCache.open(stored / "cache")
    split = cache.read_split("lt")
    assert np.bincount(cache.labels[split.labelled]).tolist() == [2, 2, 4]
    assert (split.test.tolist(), split.val.tolist()) == ([6, 7, 14, 15, 22, 23], [4, 12, 20])
    assert split.protocol["seed"] == 3


def test_cache__is_sound(stored):
    for name in ("cache", "pictures-cache"):
        assert verify(cache=stored / name)["damaged"] == []


def test_cache__of_pictures_is_read_and_gone_on_with(stored, tmp_path):
    pictures = Path(shutil.copytree(STORED / "pictures", tmp_path / "pictures"))
    for path in pictures.rglob("*.png"):
        os.utime(path, (1_700_000_000, 1_700_000_000))  # as when they were cached
    cache = FeatureCache.open(stored / "pictures-cache")
    assert cache.paths == [f"{name}/{number}.png" for name in ("blue", "red") for number in range(3)]
    assert (cache.n_views, cache.n_features, len(cache.shard_paths)) == (2, 128, 2)
    assert (stored / "pictures-cache" / "skipped.csv").read_text("utf-8").startswith("path,reason\nblue/broken.png,")
    assert cache.features(pre_projection=True).shape[0] == 6
    before = [path.read_bytes() for path in cache.shard_paths]
    figures = cache_features(
        source=pictures,
        out=stored / "pictures-cache",
        model="builtin:tiny",
        device="cpu",
        precision="fp32",
        views="weak-strong:1",
        pre_projection=True,
        shard_size=4,
        batch_size=2,
    )
    assert figures["shards_encoded"] == 0
    assert [path.read_bytes() for path in cache.shard_paths] == before


def test_cache__of_pictures_grows(stored, tmp_path):
    pictures = Path(shutil.copytree(STORED / "pictures", tmp_path / "pictures"))
    for path in pictures.rglob("*.png"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    before = FeatureCache.open(stored / "pictures-cache").features(view=1)
    (pictures / "azure").mkdir()
    (pictures / "red" / "0.png").rename(pictures / "azure" / "0.png")
    options = {"model": "builtin:tiny", "device": "cpu", "precision": "fp32", "views": "weak-strong:1"}
    options |= {"pre_projection": True, "shard_size": 4, "batch_size": 2}
    figures = cache_features(source=pictures, out=stored / "pictures-cache", **options)
    assert (figures["images_encoded"], figures["images_kept"]) == (0, 6)
    cache = FeatureCache.open(stored / "pictures-cache")
    assert cache.class_names == ["azure", "blue", "red"]
    assert cache.labels.tolist() == [0, 1, 1, 1, 2, 2]
    assert (cache.features(view=1) == before[[3, 0, 1, 2, 4, 5]]).all()


def test_cache__damaged_shard_is_made_again_or_explained(stored, tmp_path):
    shard = stored / "cache" / "shards" / "00000.h5"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(UlfineError, match=r"cannot be made again"):
        verify(cache=stored / "cache", repair=True)


def test_run__is_read(stored, features):
    run = load_run(stored / "run")
    written = pd.read_csv(stored / "run" / "predictions.csv")
    rows = [int(path.removeprefix("row ")) for path in written["path"]]
    assert run.predict_proba(features[rows]) == pytest.approx(written[CLASSES].to_numpy(), abs=5e-3)
    assert run.metrics["macro_accuracy"] == pytest.approx(5 / 6)
    assert (run.method, run.class_names, run.labelled_counts) == ("ulfine", tuple(CLASSES), (2, 2, 4))


def test_run__is_evaluated_and_exported(stored):
    assert evaluate(run=stored / "run", cache=stored / "cache")["macro_accuracy"] == pytest.approx(5 / 6)
    assert export_onnx(run=stored / "run", onnx=stored / "again.onnx")["parity"]["largest_difference"] < 1e-5


def test_onnx__is_read(stored, features):
    classifier = OnnxClassifier(stored / "model.onnx")
    assert classifier.class_names == tuple(CLASSES)
    ours = load_run(stored / "run").predict_proba(features)
    assert classifier.predict_proba(features.astype(np.float32)) == pytest.approx(ours, abs=1e-5)
