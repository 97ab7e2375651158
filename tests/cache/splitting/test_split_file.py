"""A split on disk, without the cache that it belongs to."""

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.splitting.split_draw import Split
from ulfine_cache.splitting.split_file import read_split, split_names, split_path, write_split

ROWS = np.arange(8).reshape(4, 2)


@pytest.fixture
def folder(tmp_path):
    write_split(tmp_path, Split("a.b", *ROWS, protocol={"seed": 3}), "f" * 64)
    return tmp_path


def test_read_split__gives_what_was_written(folder):
    split = read_split(folder, "a.b", "f" * 64, 8)
    assert (split.name, split.protocol) == ("a.b", {"seed": 3})
    np.testing.assert_array_equal([split.labelled, split.unlabelled, split.val, split.test], ROWS)


def test_split_names__dots_and_dashes_sorted_as_names(folder):
    for name in ("a", "a-1"):
        write_split(folder, Split(name, *ROWS, protocol={}), "f" * 64)
    assert split_names(folder) == ["a", "a-1", "a.b"]
    assert all(split_path(folder, name).is_file() for name in split_names(folder))


@pytest.mark.parametrize(("fingerprint", "n_rows"), [("e" * 64, 8), ("f" * 64, 7)])
def test_read_split__of_other_features(folder, fingerprint, n_rows):
    with pytest.raises(UlfineError, match=r"split 'a.b' was drawn from other features than .* holds now"):
        read_split(folder, "a.b", fingerprint, n_rows)
