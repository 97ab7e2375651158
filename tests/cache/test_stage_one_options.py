"""The options of stage one: strict, batches, drafts, and the record from which a cache can be made again."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.stage_one import cache_features
from ulfine_cache.store.shards import read_header, shard_path
from ulfine_cache.store.versions import call_of


def shard_bytes(cache):
    return {path.name: path.read_bytes() for path in sorted((cache / "shards").glob("*.h5"))}


def test_strict__stops_and_keeps_what_is_complete(run, photos, tmp_path):
    broken = photos / "red_fox" / "03.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:50])
    with pytest.raises(UlfineError, match=r"^red_fox/03.png: truncated file \(--strict stops"):
        run(strict=True)
    assert list(shard_bytes(tmp_path / "cache")) == ["00000.h5"]
    broken.write_bytes(whole)
    assert run(strict=True)["skipped"] == 0


def test_strict__refuses_what_an_earlier_call_skipped(run, photos, tmp_path):
    (photos / "cat" / "00.png").write_bytes(b"")
    assert run()["skipped"] == 1
    with pytest.raises(UlfineError, match=r"^cat/00.png: empty file"):
        run(strict=True)
    assert FeatureCache.open(tmp_path / "cache").n_rows == 22


def test_batch_size__is_found_once_and_kept(run, tmp_path):
    found = run(batch_size="auto")["batch_size"]
    assert found >= 1
    out = tmp_path / "other"
    assert run(out=out, batch_size=2)["batch_size"] == 2
    shard_path(out, 1).unlink()
    before = shard_bytes(out)
    assert run(out=out, batch_size="auto")["batch_size"] == 2
    assert read_header(shard_path(out, 1)).request["batch_size"] == 2
    assert shard_bytes(out)["00000.h5"] == before["00000.h5"]


def test_jpeg_draft__changes_large_photographs_a_little_and_is_not_mixed(run, photos, tmp_path):
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    coarse.resize((1600, 1200), Image.Resampling.BICUBIC).save(photos / "cat" / "large.jpg")
    run()
    run(out=tmp_path / "draft", jpeg_draft=True)
    plain, draft = FeatureCache.open(tmp_path / "cache"), FeatureCache.open(tmp_path / "draft")
    large = plain.paths.index("cat/large.jpg")
    one, other = plain.features(), draft.features()
    assert not np.array_equal(one[large], other[large])
    assert one[large] @ other[large] > 0.99
    np.testing.assert_array_equal(np.delete(one, large, 0), np.delete(other, large, 0))
    with pytest.raises(UlfineError, match=r"made in another way \(jpeg draft none -> True\)"):
        run(jpeg_draft=True)


def test_request__makes_the_same_cache_again(run, photos, tmp_path, monkeypatch):
    templates = tmp_path / "templates.txt"
    templates.write_text("a drawing of a {}.\n")
    classes = tmp_path / "classes.csv"
    classes.write_text("folder,name\nred_fox,fox\n")
    monkeypatch.chdir(tmp_path)
    relative = {"source": Path("photos"), "templates": "templates.txt", "classes": Path("classes.csv")}
    run(out=Path("cache"), batch_size="auto", pre_projection=True, **relative)
    monkeypatch.chdir(photos)
    first = FeatureCache.open(tmp_path / "cache")
    call = call_of(first.attributes) or {}
    paths = {name: Path(call[name]) for name in ("source", "classes")}
    cache_features(out=tmp_path / "again", **(call | paths))
    again = FeatureCache.open(tmp_path / "again")
    assert shard_bytes(tmp_path / "again") == shard_bytes(tmp_path / "cache")
    assert again.fingerprint == first.fingerprint
    for name in ("request", "call"):
        assert again.attributes[name] == first.attributes[name]
    # Nothing is said twice.
    assert not set(json.loads(first.attributes["call"]).items()) & set(json.loads(first.attributes["request"]).items())


def test_classes__that_are_numbers_are_pointed_out(run, photos, tmp_path, recorder):
    for number, folder in enumerate(("cat", "red_fox", "zebra")):
        (photos / folder).rename(photos / str(number))
    run(progress=recorder)
    assert [note for note in recorder.notes if "--classes" in note]
    classes = tmp_path / "classes.csv"
    classes.write_text("folder,name\n0,cat\n1,red fox\n2,zebra\n")
    recorder.notes.clear()
    run(out=tmp_path / "named", classes=classes, progress=recorder)
    assert not [note for note in recorder.notes if "--classes" in note]
    assert FeatureCache.open(tmp_path / "named").class_names == ["cat", "red fox", "zebra"]
