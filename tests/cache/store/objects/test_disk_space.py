"""Local copies stay below their bound, and what is no copy is left alone."""

import os

import pytest

from ulfine_cache.errors import UsageError
from ulfine_cache.store.objects.copies import keep_version
from ulfine_cache.store.objects.disk_space import bounded, give_up, make_room, size_of


@pytest.fixture
def shards(copies, monkeypatch):
    """Six copies of 100 bytes each, the first used longest ago."""
    monkeypatch.setenv("ULFINE_LOCAL_CACHE", "450B")
    folder = copies / "s3" / "bucket" / "cache" / "shards"
    folder.mkdir(parents=True)
    paths = [folder / f"{number:05d}.h5" for number in range(6)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes(100))
        os.utime(path, (1000 + number, 1000 + number))
        keep_version(path, "1")
    return paths


def sizes(paths):
    return [path.stat().st_size for path in paths]


def test_make_room__gives_up_what_was_not_used_for_longest(shards):
    os.utime(shards[0], (2000, 2000))
    make_room(100, shards[5])
    assert sizes(shards) == [100, 0, 0, 0, 100, 100]


def test_make_room__leaves_what_is_no_copy(shards):
    other = shards[0].with_name("00009.h5")
    other.write_bytes(bytes(10_000))
    make_room(100, shards[5])
    assert other.stat().st_size == 10_000


def test_make_room__keeps_the_one_that_is_wanted_whatever_its_size(shards):
    shards[5].write_bytes(bytes(5000))
    make_room(5000, shards[5])
    assert sizes(shards) == [0, 0, 0, 0, 0, 5000]


def test_give_up__does_not_disturb_a_reader(shards):
    with shards[0].open("rb") as file:
        assert give_up(shards[0])
        assert len(file.read()) == 100
    assert sorted(shards[0].parent.glob("*.h5")) == shards


@pytest.mark.parametrize(
    ("text", "size"), [("20GB", 20_000_000_000), ("1.5 GiB", 3 << 29), ("100", 100), ("5k", 5000), ("2tb", 2 * 10**12)]
)
def test_size_of(text, size):
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "0", "0GB", "-1GB", "20 G B", "auto", "GB", "1e9"])
def test_size_of__refuses(text, monkeypatch):
    monkeypatch.setenv("ULFINE_LOCAL_CACHE", "1GB")
    with pytest.raises(UsageError, match="is no size: write something like 20GB"):
        bounded(text)
    assert os.environ["ULFINE_LOCAL_CACHE"] == "1GB"
