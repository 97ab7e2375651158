"""Ranges of shards: what is one, and several processes that fill one cache."""

import os
import subprocess
import sys

import pytest

from tests.cache.conftest import write_picture
from ulfine_cache.encoding.shard_range import shards_of_range
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.info import cache_info
from ulfine_cache.stage_one import cache_features
from ulfine_cache.verify import verify


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("5:3", "--shard-range 5:3 is reversed: give 3:5"),
        ("3:3", "--shard-range 3:3 is empty"),
        ("3:11", "--shard-range 3:11 leads beyond the last of 10 shards: all of them are 0:10"),
        ("10:12", "leads beyond the last of 10 shards"),
        ("-1:3", "'-1:3' is no range: give A:B"),
        ("1:-1", "'1:-1' is no range"),
        ("", "'' is no range"),
        ("4", "'4' is no range"),
        ("1:2:3", "'1:2:3' is no range"),
        ("1.0:2", "'1.0:2' is no range"),
        ("٣:٤", "is no range"),
        ("0:" + "9" * 5000, "is no range"),
        ("4/4", "--shard-range 4/4 is no part: the first number is 0 to 3 of 4"),
        ("0/0", "--shard-range 0/0 is no part"),
    ],
)
def test_shards_of_range__refuses(text, line):
    with pytest.raises(UsageError) as refused:
        shards_of_range(text, 10)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("shards", [1, 2, 10, 97])
@pytest.mark.parametrize("parts", [1, 2, 3, 10, 100])
def test_shards_of_range__parts_are_all_shards_once_and_of_equal_size(shards, parts):
    found = [shards_of_range(f"{part}/{parts}", shards) for part in range(parts)]
    assert [number for part in found for number in part] == list(range(shards))
    sizes = {len(part) for part in found}
    assert max(sizes) - min(sizes) <= 1


def shards_and_rest(cache):
    names = [*(f"shards/{path.name}" for path in sorted((cache / "shards").iterdir())), "skipped.csv", "image.faiss"]
    return {name: (cache / name).read_bytes() for name in names}


def test_ranges__one_after_the_other_and_joined_are_the_same_cache(run, photos, tmp_path, recorder):
    (photos / "cat" / "broken.png").write_bytes(b"broken")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(out=whole)
    figures = run(out=parts, shard_range="3:5", progress=recorder)
    assert figures["shard_range"] == "3:5"
    assert (figures["shards"], figures["shards_of_all"], figures["shards_missing"]) == (2, 5, 3)
    assert figures["shards_encoded"] == 2
    assert recorder.notes[-1] == (
        "2 of 5 shards are there: when all are, the same command without --shard-range joins them"
    )
    assert not (parts / "cache.h5").exists()
    line = "unfinished: run the command that makes it again, it goes on (3 shards are missing of 5: 0 to 2)"
    for look in (cache_info, lambda path: verify(cache=path)):
        with pytest.raises(UlfineError) as refused:
            look(parts)
        assert str(refused.value).endswith(line)
    assert run(out=parts, shard_range="3:5")["shards_encoded"] == 0
    assert run(out=parts, shard_range="0/1")["shards_encoded"] == 3
    with pytest.raises(UlfineError, match="all of its 5 shards are there, and only what lies over them is missing"):
        cache_info(parts)
    joined = run(out=parts)
    assert joined["shards_encoded"] == 0
    assert joined["skipped"] == 1
    assert shards_and_rest(parts) == shards_and_rest(whole)
    assert FeatureCache.open(parts).fingerprint == FeatureCache.open(whole).fingerprint
    found = verify(cache=parts)
    assert (found["damaged"], found["foreign"]) == ([], [])
    assert run(out=parts, shard_range="0:2")["shards_encoded"] == 0
    assert FeatureCache.open(parts).n_rows == 23


def test_ranges__of_a_collection_that_grew_keep_what_was_encoded(run, photos, tmp_path):
    run()
    write_picture(photos / "aardvark" / "00.png", 99)
    figures = run(shard_range="0/2")
    assert figures["images_encoded"] == 1
    assert figures["images_kept"] == len(range(*map(int, figures["shard_range"].split(":")))) * 5 - 1
    run(shard_range="1/2")
    assert run()["shards_encoded"] == 0
    fresh = tmp_path / "fresh"
    run(out=fresh)
    assert shards_and_rest(tmp_path / "cache") == shards_and_rest(fresh)


def test_ranges__make_a_damaged_shard_again(run, photos, tmp_path):
    run(shard_range="0:2")
    shard = tmp_path / "cache" / "shards" / "00001.h5"
    sound = shard.read_bytes()
    shard.write_bytes(sound[:-100] + bytes(100))
    run(shard_range="1:3")
    assert shard.read_bytes() == sound


def test_ranges__and_the_whole_do_not_write_at_once(run, tmp_path):
    from ulfine_cache.store.lock import writing, writing_a_range

    cache = tmp_path / "cache"
    with writing(cache), pytest.raises(UlfineError, match="another process is writing to"):
        run(shard_range="0:1")
    with writing_a_range(cache):
        assert run(shard_range="0:1")["shards_encoded"] == 1
        with pytest.raises(UlfineError, match="another process is writing to"):
            run()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="shared locks are POSIX")
def test_ranges__of_four_processes_that_overlap(tmp_path):
    photos = tmp_path / "photos"
    for number in range(40):
        write_picture(photos / f"class{number % 2}" / f"{number:02d}.png", number)
    asked = {"source": photos, "model": "builtin:tiny", "device": "cpu", "precision": "fp32", "shard_size": 4}
    cache_features(out=tmp_path / "whole", **asked)
    script = (
        "import sys; from pathlib import Path; from ulfine_cache.stage_one import cache_features\n"
        "cache_features(source=Path(sys.argv[1]), out=Path(sys.argv[2]), shard_range=sys.argv[3], "
        "model='builtin:tiny', device='cpu', precision='fp32', shard_size=4)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    arguments = [sys.executable, "-c", script, photos, tmp_path / "parts"]
    processes = [subprocess.Popen([*arguments, text], env=environment) for text in ("0:6", "0:6", "4:10", "1/2")]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    assert cache_features(out=tmp_path / "parts", **asked)["shards_encoded"] == 0
    assert shards_and_rest(tmp_path / "parts") == shards_and_rest(tmp_path / "whole")
    assert verify(cache=tmp_path / "parts")["damaged"] == []
