"""A split on disk, without the cache that it belongs to."""

import h5py
import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.splitting.split_draw import Split
from ulfine_cache.splitting.split_file import read_split, split_names, split_path, write_split

ROWS = np.arange(12).reshape(4, 3)


@pytest.fixture
def folder(tmp_path):
    write_split(tmp_path, Split("a.b", *ROWS, protocol={"seed": 3}), "f" * 64)
    return tmp_path


def test_read_split__gives_what_was_written(folder):
    split = read_split(folder, "a.b", "f" * 64, 12)
    assert (split.name, split.protocol) == ("a.b", {"seed": 3})
    np.testing.assert_array_equal([split.labelled, split.unlabelled, split.val, split.test], ROWS)


def test_split_names__dots_and_dashes_sorted_as_names(folder):
    for name in ("a", "a-1"):
        write_split(folder, Split(name, *ROWS, protocol={}), "f" * 64)
    assert split_names(folder) == ["a", "a-1", "a.b"]
    assert all(split_path(folder, name).is_file() for name in split_names(folder))


@pytest.mark.parametrize(("fingerprint", "n_rows"), [("e" * 64, 12), ("f" * 64, 11)])
def test_read_split__of_other_features(folder, fingerprint, n_rows):
    with pytest.raises(UlfineError, match=r"split 'a.b' was drawn from other features than .* holds now"):
        read_split(folder, "a.b", fingerprint, n_rows)


def test_read_split__of_a_file_that_still_opens_but_is_not_what_was_written(folder):
    with h5py.File(split_path(folder, "a.b"), "r+") as file:
        file["labelled"][0] = 3
    with pytest.raises(UlfineError, match=r"a\.b\.h5 is damaged or not a split: delete it and draw it again"):
        read_split(folder, "a.b", "f" * 64, 12)


def test_write_split__same_bytes_whatever_the_order_of_the_protocol_s_keys(tmp_path):
    protocol = {"seed": 3, "imbalance": 2.0, "drawn": {"ranks": [1, 0], "clipped": []}}
    turned = dict(reversed(protocol.items()))
    files = [
        write_split(tmp_path / name, Split("a", *ROWS, protocol=values), "f" * 64)
        for name, values in (("one", protocol), ("two", turned))
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_read_split__of_a_later_version(folder):
    with h5py.File(split_path(folder, split_names(folder)[0]), "r+") as file:
        file.attrs["schema_version"] = 99
    (folder / "splits" / f"{split_names(folder)[0]}.h5.sha256").unlink(missing_ok=True)
    with pytest.raises(
        UlfineError, match="has cache format 99, and this version of ulfine-fast reads 1 to 2: take a newer"
    ):
        read_split(folder, split_names(folder)[0], "f" * 64, 100)
