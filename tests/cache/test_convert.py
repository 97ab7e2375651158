"""`ulfine convert`: what other tools read, checked with NumPy and pyarrow alone."""

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from ulfine_cache.atomic import new_directory
from ulfine_cache.conversion.row_blocks import row_blocks
from ulfine_cache.conversion.to_clip_retrieval import write_clip_retrieval
from ulfine_cache.convert import convert
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.progress import Silent
from ulfine_cache.splits import make_split
from ulfine_cache.store.cache_file import CacheContent, TextPrototypes, write_cache_file
from ulfine_cache.store.datasets import replacing_file
from ulfine_cache.store.shards import Shard, shard_path, write_shard
from ulfine_cache.store.skipped import write_skipped

SIZES, VIEWS, WIDTH = (5, 0, 15), 2, 6
ODD = os.fsdecode(b"ash/\xe4\n.jpg")
"""A file name that is not UTF-8 and holds the end of a line."""


def make_cache(folder, *, with_text=True, with_pre=False):
    generator = np.random.default_rng(3)
    (folder / "shards").mkdir(parents=True)
    features = generator.normal(size=(sum(SIZES), VIEWS, WIDTH))
    features = (features / np.linalg.norm(features, axis=2, keepdims=True)).astype(np.float16)
    labels = np.arange(sum(SIZES)) % 4 - 1
    # Before a projection that drops the last values.
    before = np.concatenate([features, features[..., :2]], axis=2) / np.float16(2)
    names = [ODD if row == 7 else f"birch/{row}.jpg" for row in range(sum(SIZES))]
    sets = [("", "train", "val", "test")[row // 3 % 4] for row in range(sum(SIZES))]
    start = 0
    for number, size in enumerate(SIZES):
        part = slice(start, start + size)
        pre = before[part] if with_pre and size else None
        shard = Shard(features[part], labels[part], names[part], sets[part], ["0"] * size, features_pre=pre)
        write_shard(shard_path(folder, number), shard)
        start += size
    text_before = np.eye(3, WIDTH + 2, dtype=np.float32) if with_pre else None
    text = TextPrototypes(np.eye(3, WIDTH, dtype=np.float32), pre=text_before) if with_text else None
    content = CacheContent(["ash", "birch", "weiße Tanne"], {"model": "m", "source": "/nowhere", "index": "none"}, text)
    write_skipped(folder, [])
    write_cache_file(folder, [shard_path(folder, number) for number in range(3)], content, progress=Silent())
    return folder, features, labels, names, sets


@pytest.fixture
def made(tmp_path):
    return make_cache(tmp_path / "cache")


@pytest.mark.parametrize("view", [0, 1])
def test_npy__reads_with_numpy_alone(made, tmp_path, view, recorder):
    cache, features, labels, names, sets = made
    make_split(cache=cache, name="tail", labelled_max=1, imbalance=1)
    figures = convert(cache=cache, to="npy", out=tmp_path / "out", view=view, progress=recorder)
    out = tmp_path / "out"
    mapped = np.load(out / "features.npy", mmap_mode="r")
    assert mapped.dtype == np.float16
    np.testing.assert_array_equal(mapped, features[:, view])
    np.testing.assert_array_equal(np.load(out / "labels.npy"), labels)
    assert np.load(out / "sets.npy").tolist() == sets
    assert json.loads((out / "paths.json").read_text()) == names
    assert json.loads((out / "class_names.json").read_text("utf-8")) == ["ash", "birch", "weiße Tanne"]
    np.testing.assert_array_equal(np.load(out / "text_features.npy"), np.eye(3, WIDTH, dtype=np.float32))
    split = FeatureCache.open(cache).read_split("tail")
    for part, rows in np.load(out / "splits" / "tail.npz").items():
        np.testing.assert_array_equal(rows, getattr(split, part))
    about = json.loads((out / "about.json").read_text("utf-8"))
    assert (about["rows"], about["view"], about["model"], about["splits"]) == (20, view, "m", ["tail"])
    assert about["fingerprint"] == FeatureCache.open(cache).fingerprint
    assert (figures["rows"], figures["features"]) == (20, WIDTH)
    assert figures["bytes"] == sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    assert recorder.updates[-1] == ("converting", 20, 20)


def test_npy__without_text(tmp_path):
    cache, *_ = make_cache(tmp_path / "cache", with_text=False)
    convert(cache=cache, to="npy", out=tmp_path / "out")
    assert not (tmp_path / "out" / "text_features.npy").exists()


@pytest.mark.parametrize("to", ["npy", "parquet", "clip-retrieval"])
def test_convert__before_the_projection(tmp_path, to):
    cache, features, *_ = make_cache(tmp_path / "cache", with_pre=True)
    figures = convert(cache=cache, to=to, out=tmp_path / "out", view=1, pre_projection=True)
    assert figures["features"] == WIDTH + 2
    if to == "npy":
        written = np.load(tmp_path / "out" / "features.npy")
        assert np.load(tmp_path / "out" / "text_features.npy").shape == (3, WIDTH + 2)
    elif to == "parquet":
        written = np.stack(parquet.read_table(tmp_path / "out" / "features.parquet")["feature"].to_numpy())
    else:
        written = np.load(tmp_path / "out" / "img_emb" / "img_emb_0.npy")
    np.testing.assert_array_equal(written[:, :WIDTH], features[:, 1] / np.float16(2))


def test_parquet__one_table(made, tmp_path):
    cache, features, labels, names, sets = made
    convert(cache=cache, to="parquet", out=tmp_path / "out", view=1)
    table = parquet.read_table(tmp_path / "out" / "features.parquet")
    assert table.column_names == ["path", "label", "class_name", "set", "feature"]
    assert str(table.schema.field("feature").type) == f"fixed_size_list<element: float>[{WIDTH}]"
    np.testing.assert_array_equal(np.array(table["feature"].to_pylist(), np.float16), features[:, 1])
    assert table["label"].to_pylist() == [None if label < 0 else label for label in labels]
    assert table["class_name"].to_pylist()[:4] == [None, "ash", "birch", "weiße Tanne"]
    assert table["set"].to_pylist() == sets
    assert table["path"].to_pylist() == [r"ash/\xe4" + "\n.jpg" if name == ODD else name for name in names]


def test_clip_retrieval__layout(made, tmp_path):
    cache, features, _, names, _ = made
    convert(cache=cache, to="clip-retrieval", out=tmp_path / "out")
    embeddings = np.load(tmp_path / "out" / "img_emb" / "img_emb_0.npy")
    assert embeddings.dtype == np.float16
    np.testing.assert_array_equal(embeddings, features[:, 0])
    np.testing.assert_allclose(np.linalg.norm(embeddings.astype(np.float32), axis=1), 1, atol=1e-3)
    table = parquet.read_table(tmp_path / "out" / "metadata" / "metadata_0.parquet")
    assert table.column_names == ["image_path", "class_name", "set"]
    assert table["image_path"].to_pylist()[:3] == names[:3]
    assert table["class_name"].to_pylist()[:2] == ["", "ash"]


def test_clip_retrieval__partitions_sort_by_name(made, tmp_path):
    cache, features, _, names, _ = made
    write_clip_retrieval(FeatureCache.open(cache), 0, tmp_path, Silent(), partition_rows=1)
    arrays = sorted((tmp_path / "img_emb").iterdir())
    tables = sorted((tmp_path / "metadata").iterdir())
    assert [path.name for path in arrays] == [f"img_emb_{number:02d}.npy" for number in range(20)]
    assert [path.name for path in tables] == [f"metadata_{number:02d}.parquet" for number in range(20)]
    np.testing.assert_array_equal(np.concatenate([np.load(path) for path in arrays]), features[:, 0])
    paths = [path for table in tables for path in parquet.read_table(table)["image_path"].to_pylist()]
    assert paths[:7] == names[:7]
    assert len(paths) == 20


def test_clip_retrieval__absolute_paths_where_the_images_are(made, tmp_path):
    cache, _, _, names, _ = made
    with replacing_file(cache / "cache.h5", start=cache / "cache.h5", digest=True) as file:
        file.attrs["source"] = str(tmp_path)
    convert(cache=cache, to="clip-retrieval", out=tmp_path / "out")
    table = parquet.read_table(tmp_path / "out" / "metadata" / "metadata_0.parquet")
    assert table["image_path"].to_pylist()[0] == str(tmp_path / names[0])


@pytest.mark.parametrize("rows", [1, 4, 8192])
def test_row_blocks__any_size(made, rows):
    cache, features, labels, *_ = made
    blocks = list(row_blocks(FeatureCache.open(cache), 0, rows=rows))
    assert max(len(block.labels) for block in blocks) <= rows
    np.testing.assert_array_equal(np.concatenate([block.features for block in blocks]), features[:, 0])
    np.testing.assert_array_equal(np.concatenate([block.labels for block in blocks]), labels)


def test_convert__again_and_elsewhere(made, tmp_path, recorder):
    cache, *_ = made
    out = tmp_path / "far" / "out"
    first = convert(cache=cache, to="npy", out=out)
    written = (out / "features.npy").stat().st_mtime_ns
    assert convert(cache=cache, to="npy", out=out, progress=recorder) == first
    assert recorder.notes == [f"{out} is complete: nothing to do"]
    assert (out / "features.npy").stat().st_mtime_ns == written
    for other in ({"to": "parquet"}, {"to": "npy", "view": 1}):
        with pytest.raises(UlfineError, match="holds something else"):
            convert(cache=cache, out=out, **other)
    (tmp_path / "file").touch()
    with pytest.raises(UlfineError, match="file holds something else"):
        convert(cache=cache, to="npy", out=tmp_path / "file")
    (tmp_path / "empty").mkdir()
    convert(cache=cache, to="npy", out=tmp_path / "empty")


def test_convert__leaves_nothing_half_done(made, tmp_path):
    cache, features, *_ = made
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "left over").touch()
    broken = bytearray((cache / "shards" / "00002.h5").read_bytes())
    broken[broken.find(features[9].tobytes())] ^= 1
    (cache / "shards" / "00002.h5").write_bytes(broken)
    with pytest.raises(UlfineError, match=r"00002\.h5 is damaged"):
        convert(cache=cache, to="npy", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.partial").exists()


def test_new_directory__disk_full(tmp_path):
    with (
        pytest.raises(UlfineError, match=r"cannot write .*out: no space left on device; free some space"),
        new_directory(tmp_path / "out") as folder,
    ):
        (folder / "file").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_convert__wrong_values(made, tmp_path):
    cache, *_ = made
    with pytest.raises(UsageError, match=r"--view 2: .* has the views 0 to 1"):
        convert(cache=cache, to="npy", out=tmp_path / "out", view=2)
    with pytest.raises(UsageError, match=r"--pre-projection: .* was made without"):
        convert(cache=cache, to="npy", out=tmp_path / "out", pre_projection=True)
    with pytest.raises(UsageError, match="view=-1"):
        convert(cache=cache, to="npy", out=tmp_path / "out", view=-1)
    with pytest.raises(UsageError, match="to='csv'"):
        convert(cache=cache, to="csv", out=tmp_path / "out")
    with pytest.raises(UlfineError, match="no cache at"):
        convert(cache=tmp_path / "none", to="npy", out=tmp_path / "out")


@pytest.mark.parametrize("to", ["parquet", "clip-retrieval"])
def test_convert__without_pyarrow(made, tmp_path, monkeypatch, to):
    cache, *_ = made
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UlfineError, match=rf"--to {to} needs pyarrow: pip install 'ulfine-fast\[parquet\]'"):
        convert(cache=cache, to=to, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_convert__a_cache_that_moved(made, tmp_path, monkeypatch):
    cache, features, *_ = made
    shutil.move(cache, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    convert(cache=Path("moved"), to="npy", out=Path("out"))
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "features.npy"), features[:, 0])
