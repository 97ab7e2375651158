"""`ulfine verify --repair`: only the same bytes come back, and nothing is lost where they cannot."""

import functools
import os
import shutil
import tarfile

import pytest

from tests.cache.conftest import write_picture
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_cache.stage_one import cache_features
from ulfine_cache.store.datasets import replacing_file
from ulfine_cache.store.lock import writing
from ulfine_cache.verify import verify


@pytest.fixture(scope="module", autouse=True)
def one_tokenizer():
    """Read the tokenizer's vocabulary once: that takes half a second."""
    import open_clip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_clip, "get_tokenizer", functools.cache(open_clip.get_tokenizer))
        yield


@pytest.fixture
def photos(tmp_path):
    """Twelve pictures, one of them broken: four blocks of three."""
    for number in range(11):
        write_picture(tmp_path / "photos" / f"class{number % 2}" / f"{number:02d}.png", number)
    (tmp_path / "photos" / "class0" / "broken.png").write_bytes(b"broken")
    return tmp_path / "photos"


@pytest.fixture
def again(photos, tmp_path, random_model):
    """The command that makes the cache; called once already."""
    name, weights, _ = random_model

    def call():
        options = {"device": "cpu", "precision": "fp32", "batch_size": 2, "shard_size": 3, "index": "Flat"}
        return cache_features(source=photos, out=tmp_path / "cache", model=name, pretrained=weights, **options)

    call()
    return call


@pytest.fixture
def cache(again, tmp_path):
    make_split(cache=tmp_path / "cache", name="tail", labelled_max=2, imbalance=2)
    return tmp_path / "cache"


def content(cache):
    return {
        path.relative_to(cache).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(cache.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def repaired(cache):
    figures = verify(cache=cache, repair=True)
    assert figures["damaged"] == []
    assert figures["foreign"] == []
    return {item["path"].removeprefix(f"{cache}/"): item["how"] for item in figures["repaired"]}


def test_repair__nothing_to_do(cache):
    before = content(cache)
    assert repaired(cache) == {}
    assert content(cache) == before


def test_repair__a_damaged_shard_alone(cache, photos):
    before = content(cache)
    damage(cache / "shards" / "00001.h5")
    assert repaired(cache) == {"shards/00001.h5": f"made again from {photos}, byte for byte the same"}
    after = content(cache)
    assert after["shards/00001.h5"][0] == before["shards/00001.h5"][0]
    del before["shards/00001.h5"], after["shards/00001.h5"]
    assert after == before


def test_repair__every_shard_missing(cache):
    before = {name: data for name, (data, _) in content(cache).items()}
    shutil.rmtree(cache / "shards")
    assert list(repaired(cache)) == [f"shards/{number:05d}.h5" for number in range(4)]
    assert {name: data for name, (data, _) in content(cache).items()} == before


def test_repair__index_skipped_and_digest_need_no_source(cache, photos):
    before = {name: data for name, (data, _) in content(cache).items()}
    shutil.rmtree(photos)
    damage(cache / "image.faiss")
    (cache / "skipped.csv").unlink()
    (cache / "cache.h5.sha256").write_bytes(b"?")
    (cache / "splits" / "tail.h5.sha256").unlink()
    assert list(repaired(cache)) == ["skipped.csv", "image.faiss", "cache.h5.sha256", "splits/tail.h5.sha256"]
    assert {name: data for name, (data, _) in content(cache).items()} == before


def test_repair__an_index_that_comes_out_otherwise(cache):
    # As another version of FAISS might write it: the new digest has to reach cache.h5.
    fingerprint = FeatureCache.open(cache).fingerprint
    with replacing_file(cache / "cache.h5", start=cache / "cache.h5", digest=True) as file:
        file.attrs["index_sha256"] = "0" * 64
    assert "its digest written into cache.h5" in repaired(cache)["image.faiss"]
    assert FeatureCache.open(cache).fingerprint == fingerprint
    assert len(FeatureCache.open(cache).read_split("tail").labelled) > 0


def test_repair__source_has_vanished(cache, photos):
    damage(cache / "shards" / "00002.h5")
    photos.rename(photos.with_name("elsewhere"))
    before = content(cache)
    with pytest.raises(UlfineError, match=r"^shards/00002\.h5 cannot be made again, and nothing was changed: .*photos"):
        verify(cache=cache, repair=True)
    after = content(cache)
    assert {name: after[name] for name in before} == before
    photos.with_name("elsewhere").rename(photos)
    assert list(repaired(cache)) == ["shards/00002.h5"]


def test_repair__images_of_the_damaged_shard_have_changed(cache, photos, again):
    damage(cache / "shards" / "00003.h5")
    before = content(cache)
    write_picture(photos / "class1" / "09.png", 99)
    with pytest.raises(UlfineError, match=r"00003\.h5 made again .* is not what it was, .*: its images have"):
        verify(cache=cache, repair=True)
    assert content(cache) == before
    # The way that the line names.
    (cache / "shards" / "00003.h5").unlink()
    assert again()["shards_encoded"] == 1
    assert [item["path"] for item in verify(cache=cache)["damaged"]] == [str(cache / "splits" / "tail.h5")]


def test_repair__libraries_have_changed(cache, photos):
    with replacing_file(cache / "cache.h5", start=cache / "cache.h5", digest=True) as file:
        file.attrs["versions"] = '{"torch": "1.0"}'
    damage(cache / "shards" / "00003.h5")
    write_picture(photos / "class1" / "09.png", 99)
    with pytest.raises(UlfineError, match=r"the libraries have changed \(torch 1\.0 -> \d"):
        verify(cache=cache, repair=True)


def test_repair__images_of_other_shards_have_changed(cache, photos):
    damage(cache / "shards" / "00003.h5")
    before = content(cache)
    for change in (
        lambda: os.utime(photos / "class0" / "00.png", (0, 0)),
        lambda: write_picture(photos / "class1" / "zz.png", 5),
    ):
        change()
        with pytest.raises(UlfineError, match=r"nothing was changed: images in .*photos were added, rem"):
            verify(cache=cache, repair=True)
        assert content(cache) == before


def test_repair__damaged_cache_file(cache, again):
    shards = {name: data for name, (data, _) in content(cache).items() if name.startswith("shards")}
    damage(cache / "cache.h5")
    with pytest.raises(UlfineError, match=r"cache\.h5 is damaged, .*: run the command that made the cache again"):
        verify(cache=cache, repair=True)
    assert again()["shards_encoded"] == 0
    assert verify(cache=cache)["damaged"] == []
    assert {name: data for name, (data, _) in content(cache).items() if name.startswith("shards")} == shards


def test_repair__a_damaged_split_stays(cache):
    damage(cache / "splits" / "tail.h5")
    damage(cache / "shards" / "00000.h5")
    figures = verify(cache=cache, repair=True)
    assert [item["path"] for item in figures["repaired"]] == [str(cache / "shards" / "00000.h5")]
    assert [item["path"] for item in figures["damaged"]] == [str(cache / "splits" / "tail.h5")]
    assert "ulfine split" in figures["damaged"][0]["reason"]


def test_repair__goes_on_after_a_kill(cache):
    # What a killed repair leaves: a folder with some of the shards, and a half-written one.
    shutil.copytree(cache / "shards", cache / ".repair" / "shards")
    (cache / ".repair" / "shards" / "00001.h5").unlink()
    (cache / ".repair" / "shards" / "00001.h5.partial").write_bytes(b"half")
    damage(cache / "shards" / "00001.h5")
    damage(cache / "shards" / "00002.h5")
    assert list(repaired(cache)) == ["shards/00001.h5", "shards/00002.h5"]


def test_repair__while_another_process_writes(cache):
    damage(cache / "shards" / "00001.h5")
    with writing(cache), pytest.raises(UlfineError, match="another process is writing to"):
        verify(cache=cache, repair=True)


def test_repair__a_cache_of_an_earlier_version(cache):
    with replacing_file(cache / "cache.h5", start=cache / "cache.h5", digest=True) as file:
        del file.attrs["request"]
    damage(cache / "shards" / "00001.h5")
    with pytest.raises(UlfineError, match=r"does not record what shards/00001\.h5 was made from: delete"):
        verify(cache=cache, repair=True)


def test_repair__from_tar_shards(photos, tmp_path, random_model):
    for label in ("class0", "class1"):
        with tarfile.open(tmp_path / f"{label}.tar", "w") as tar:
            for path in sorted((photos / label).iterdir()):
                (tmp_path / "label.cls").write_text(label)
                tar.add(path, path.name)
                tar.add(tmp_path / "label.cls", f"{path.stem}.cls")
    name, weights, _ = random_model
    request = {"pretrained": weights, "device": "cpu", "precision": "fp32", "batch_size": 2, "shard_size": 3}
    cache_features(source=tmp_path / "class{0,1}.tar", out=tmp_path / "tars", model=name, **request)
    damage(tmp_path / "tars" / "shards" / "00002.h5")
    assert list(repaired(tmp_path / "tars")) == ["shards/00002.h5"]
    (tmp_path / "class1.tar").unlink()
    damage(tmp_path / "tars" / "shards" / "00002.h5")
    with pytest.raises(UlfineError, match="cannot be made again, and nothing was changed: "):
        verify(cache=tmp_path / "tars", repair=True)


def test_repair__an_imported_cache(feature_file, tmp_path):
    file = shutil.copy(feature_file, tmp_path / "trees.npz")
    import_features(file=file, out=tmp_path / "trees")
    before = content(tmp_path / "trees")
    damage(tmp_path / "trees" / "shards" / "00000.h5")
    assert repaired(tmp_path / "trees") == {"shards/00000.h5": f"made again from {file}, byte for byte the same"}
    assert content(tmp_path / "trees").keys() == before.keys()
    assert content(tmp_path / "trees")["shards/00000.h5"][0] == before["shards/00000.h5"][0]
    damage(tmp_path / "trees" / "shards" / "00000.h5")
    damage(file)
    with pytest.raises(UlfineError, match=r"trees\.npz has changed since it was imported"):
        verify(cache=tmp_path / "trees", repair=True)
    file.unlink()
    with pytest.raises(UlfineError, match=r"no file .*trees\.npz"):
        verify(cache=tmp_path / "trees", repair=True)
