"""`ulfine verify --repair` and `ulfine convert` as they are typed."""

import json

import numpy as np
import pytest


@pytest.fixture
def cache(ulfine_here, feature_file, tmp_path):
    ulfine_here("import-features", feature_file, "--out", tmp_path / "cache").succeeded()
    return tmp_path / "cache"


def test_verify__repair(ulfine_here, cache, feature_file, tmp_path):
    shard = cache / "shards" / "00000.h5"
    good = shard.read_bytes()
    shard.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert f"{shard}: its bytes differ" in ulfine_here("verify", cache).err
    ended = ulfine_here("verify", cache, "--repair", "--json", tmp_path / "figures.json").succeeded()
    assert ended.out.startswith(f"{shard}: made again from {feature_file}, byte for byte the same\n")
    assert json.loads((tmp_path / "figures.json").read_text())["damaged"] == []
    assert shard.read_bytes() == good


def test_verify__repair_is_impossible(ulfine_here, cache):
    content = bytearray((cache / "cache.h5").read_bytes())
    content[100] ^= 1
    (cache / "cache.h5").write_bytes(content)
    assert "run the command that made the cache again" in ulfine_here("verify", cache, "--repair").failed(1)


def test_verify__source(ulfine_here, feature_file, tmp_path):
    file = tmp_path / "trees.npz"
    file.write_bytes(feature_file.read_bytes())
    ulfine_here("import-features", file, "--out", tmp_path / "cache").succeeded()
    ulfine_here("verify", tmp_path / "cache", "--source").succeeded()
    file.write_bytes(file.read_bytes() + b"x")
    ended = ulfine_here("verify", tmp_path / "cache", "--source")
    assert (ended.exit_code, ended.err) == (1, f"error: {file}: has changed since it was imported\n")
    file.unlink()
    assert f"cannot read {file}" in ulfine_here("verify", tmp_path / "cache", "--source").failed(1)


@pytest.mark.parametrize("to", ["npy", "parquet", "clip-retrieval"])
def test_convert__each_format(ulfine_here, cache, tmp_path, to):
    ended = ulfine_here("convert", cache, "--to", to, "--out", tmp_path / "out").succeeded()
    assert "rows      200" in ended.out
    assert (tmp_path / "out" / "about.json").is_file()
    assert "nothing to do" in ulfine_here("convert", cache, "--to", to, "--out", tmp_path / "out").succeeded().err


def test_convert__what_can_go_wrong(ulfine_here, cache, tmp_path):
    (tmp_path / "full").mkdir()
    np.save(tmp_path / "full" / "mine.npy", np.zeros(3))
    assert "holds something else" in ulfine_here("convert", cache, "--to", "npy", "--out", tmp_path / "full").failed(1)
    assert "clip-retrieval" in ulfine_here("convert", cache, "--to", "csv", "--out", tmp_path / "out").failed(2)
    assert "--view 7" in ulfine_here("convert", cache, "--to", "npy", "--out", tmp_path / "out", "--view", 7).failed(2)
    assert "no cache at" in ulfine_here("convert", tmp_path / "no", "--to", "npy", "--out", tmp_path / "out").failed(1)
