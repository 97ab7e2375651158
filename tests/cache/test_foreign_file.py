"""What files are that are not what their names say."""

import gzip

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.foreign_file import what_it_is
from ulfine_cache.import_features import import_features


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty: a download or copy has failed, fetch it again"),
        (b"  <!doctype HTML><title>Sign in</title>", "a page for a browser (HTML), not the file itself: fetch"),
        (b"<html>", "a page for a browser (HTML)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "a pointer of Git LFS, not the file"),
        (gzip.compress(b"x", mtime=0), "compressed with gzip: unpack it first"),
        (b"\x89HDF\r\n\x1a\n\x00", "an HDF5 file"),
        (b"%PDF-1.7\n\xe2\xe3", "a PDF document"),
        (b"PAR1\x15\x04\x00", "a Parquet table"),
        (b"PK\x03\x04 and no more", "a ZIP archive cut short: fetch it again"),
        ("größe,höhe\n".encode() * 1000, "text"),
        # Cut in the middle of a character.
        (("x" + "ü" * 5000).encode(), "text"),
        (bytes(5000), "nothing but zeros: a download has failed, fetch it again"),
        (b"\x00\x01\x02\xff" * 50, ""),
    ],
)
def test_what_it_is(tmp_path, content, words):
    (tmp_path / "file").write_bytes(content)
    said = what_it_is(tmp_path / "file")
    assert said.startswith(words) if words else said == ""


def test_what_it_is__a_whole_archive(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones(2))
    assert what_it_is(tmp_path / "a.npz") == ""


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"<!DOCTYPE html><html>", "is a page for a browser (HTML), not the file itself: fetch it again, by"),
        (b"", "is empty: a download or copy has failed, fetch it again"),
        (b"a,b\n1,2\n", "is text, not an .npz file: save it with numpy.savez(file, features=..., labels=...)"),
        (b"\x80\x04K\x01.", "is not an .npz file: save it with numpy.savez(file, features=..., labels=...)"),
        (b"PK\x03\x04", "is a ZIP archive cut short: fetch it again"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS, not the file itself: run"),
    ],
)
def test_import_features__of_what_is_no_npz(tmp_path, content, line):
    path = tmp_path / "features.npz"
    path.write_bytes(content)
    with pytest.raises(UlfineError) as caught:
        import_features(file=path, out=tmp_path / "cache")
    assert str(caught.value).startswith(f"{path} {line}")
    assert "unsafe" not in str(caught.value)
    assert not (tmp_path / "cache").exists()
