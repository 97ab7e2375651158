"""The index file says where each part is, and nothing outside the cache."""

import json

import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.store.objects.index_file import CacheIndex, Part

DIGITS = "0" * 64
INDEX = CacheIndex(
    "f" * 64,
    [Part("cache.h5", "whole/ab/cache.h5", 10, DIGITS)],
    [Part("shards/00000.h5", "shards/00000.h5", 20, DIGITS, 5)],
)


def test_index__is_what_was_written():
    data = INDEX.to_bytes()
    assert CacheIndex.parsed(data, "s3://b/c/index.json") == INDEX
    assert json.loads(data)["shards"][0]["rows"] == 5
    assert INDEX.part("cache.h5") == INDEX.files[0]
    assert INDEX.part("image.faiss") is None


@pytest.mark.parametrize(
    "change",
    [
        {"at": "../other/shards/00000.h5"},
        {"at": "/etc/passwd"},
        {"name": "../../x.h5"},
        {"name": ".ssh/x"},
        {"bytes": -1},
        {"bytes": "20"},
        {"sha256": "0"},
        {"sha256": 0},
        {"more": 1},
    ],
)
def test_index__that_is_not_sound_is_refused(change):
    said = json.loads(INDEX.to_bytes())
    said["shards"][0] |= change
    with pytest.raises(UlfineError, match=r"s3://b/c/index\.json is damaged: run the command"):
        CacheIndex.parsed(json.dumps(said).encode(), "s3://b/c/index.json")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"format": "other", "version": 1}', b"[" * 100_000])
def test_index__of_something_else_is_refused(data):
    with pytest.raises(UlfineError, match="is damaged"):
        CacheIndex.parsed(data, "s3://b/c/index.json")


def test_index__of_a_later_version_is_refused():
    said = json.loads(INDEX.to_bytes()) | {"version": 2}
    with pytest.raises(UlfineError, match="a later version of ulfine-fast"):
        CacheIndex.parsed(json.dumps(said).encode(), "s3://b/c/index.json")
