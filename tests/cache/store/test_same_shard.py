"""Several writers of one shard: the first one wins, unless it wrote another one."""

from dataclasses import replace

import numpy as np
import pytest

from ulfine_cache.store.shards import Shard, read_header, read_shard, write_shard

SHARD = Shard(
    features=np.eye(4, 8, dtype=np.float16)[:, None],
    labels=np.arange(4),
    paths=["a", "b", "c", "d"],
    set_names=[""] * 4,
    hashes=["0" * 32] * 4,
    listing="listing",
    request={"model": "one"},
)


def place(path):
    return path.stat().st_ino, path.stat().st_mtime_ns


def test_write_shard__leaves_the_same_one_alone(tmp_path):
    path = tmp_path / "00000.h5"
    write_shard(path, SHARD, keep_same=True)
    before, bytes_before = place(path), path.read_bytes()
    write_shard(path, SHARD, keep_same=True)
    assert place(path) == before
    assert not list(tmp_path.glob("*.partial"))
    write_shard(path, SHARD)
    assert path.read_bytes() == bytes_before


@pytest.mark.parametrize("other", [{"listing": "another"}, {"request": {"model": "two"}}])
def test_write_shard__replaces_another_one(tmp_path, other):
    path = tmp_path / "00000.h5"
    write_shard(path, replace(SHARD, **other), keep_same=True)
    write_shard(path, SHARD, keep_same=True)
    assert read_header(path).listing == "listing"
    assert read_header(path).request == {"model": "one"}


def test_write_shard__replaces_a_damaged_one(tmp_path):
    path = tmp_path / "00000.h5"
    write_shard(path, SHARD, keep_same=True)
    sound = path.read_bytes()
    path.write_bytes(sound[:1000] + bytes([sound[1000] ^ 1]) + sound[1001:])
    write_shard(path, SHARD, keep_same=True)
    assert path.read_bytes() == sound
    assert read_shard(path).paths == SHARD.paths
