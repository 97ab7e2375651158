"""Listing folders of images."""

import os
import socket

import pytest

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.open_source import open_source
from ulfine_cache.sources.source import listing_digest

JPEG = b"\xff\xd8\xff"
"""How a JPEG begins: nothing more is looked at when a source is listed."""


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(JPEG)


def listed(root):
    return [(item.path, item.label, item.set_name) for item in open_source(root).items]


def read_all(root):
    """Return the bytes of each item, or the reason why there are none."""
    source = open_source(root)
    found = {}
    for item in source.items:
        try:
            found[item.path] = source.read(item)
        except OSError as error:
            found[item.path] = reason(error)
    assert list(found) == sorted(found)
    return found


def test_image_folder__classes_and_unlabelled(tmp_path):
    touch(
        tmp_path, "dog/b.JPG", "cat/a.png", "cat/deep/c.webp", "unlabelled/u.jpeg", "cat/notes.txt", "cat/.hidden.jpg"
    )
    touch(tmp_path, ".cache/x.jpg", "top.jpg")
    assert open_source(tmp_path).classes == ["cat", "dog"]
    assert listed(tmp_path) == [
        ("cat/a.png", 0, ""),
        ("cat/deep/c.webp", 0, ""),
        ("dog/b.JPG", 1, ""),
        ("top.jpg", -1, ""),
        ("unlabelled/u.jpeg", -1, ""),
    ]
    assert read_all(tmp_path)["top.jpg"] == "lies in no class folder: move it into one, or into unlabelled/"
    assert open_source(tmp_path).account.ignored == {"hidden": 2, ".txt": 1}


def test_image_folder__sets(tmp_path):
    touch(tmp_path, "train/b/1.jpg", "train/unlabelled/2.jpg", "val/a/3.jpg", "test/b/4.jpg", "c/5.jpg")
    assert open_source(tmp_path).classes == ["a", "b", "c"]
    assert sorted(listed(tmp_path)) == [
        ("c/5.jpg", 2, ""),
        ("test/b/4.jpg", 1, "test"),
        ("train/b/1.jpg", 1, "train"),
        ("train/unlabelled/2.jpg", -1, "train"),
        ("val/a/3.jpg", 0, "val"),
    ]


def test_image_folder__a_class_may_be_called_train(tmp_path):
    touch(tmp_path, "train/1.jpg", "bus/2.jpg")
    assert open_source(tmp_path).classes == ["bus", "train"]


def test_image_folder__links_are_followed_but_not_in_circles(tmp_path):
    touch(tmp_path, "elsewhere/1.jpg", "root/cat/2.jpg", "root/cat/3.jpg")
    root = tmp_path / "root"
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "cat" / "loop").symlink_to(root / "cat")
    (root / "cat" / "whole").symlink_to(root)
    (root / "cat" / "again.jpg").symlink_to(root / "cat" / "again.jpg")
    (root / "cat" / "linked.jpg").symlink_to(tmp_path / "elsewhere" / "1.jpg")
    (root / "cat" / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    (root / "cat" / "unmounted").symlink_to(tmp_path / "gone")
    (root / "cat" / "notes.txt").symlink_to(tmp_path / "gone.txt")
    assert read_all(root) == {
        "cat/2.jpg": JPEG,
        "cat/3.jpg": JPEG,
        "cat/again.jpg": "too many levels of symbolic links",
        "cat/broken.jpg": "no such file or directory",
        "cat/linked.jpg": JPEG,
        "cat/loop": "a link in a circle: the folder lies in itself",
        "cat/unmounted": "no such file or directory",
        "cat/whole": "a link in a circle: the folder lies in itself",
        "dog/1.jpg": JPEG,
    }


def test_image_folder__a_folder_called_like_an_image_is_a_folder(tmp_path):
    touch(tmp_path, "cat/1.jpg", "cat/odd.jpg/2.jpg", "odd.png/3.jpg", "train/dog/4.jpg", "train/odd.gif/5.jpg")
    assert read_all(tmp_path) == {
        "cat/1.jpg": JPEG,
        "cat/odd.jpg/2.jpg": JPEG,
        "odd.png/3.jpg": JPEG,
        "train/dog/4.jpg": JPEG,
        "train/odd.gif/5.jpg": JPEG,
    }
    assert open_source(tmp_path).classes == ["cat", "dog", "odd.gif", "odd.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are files on POSIX only")
def test_image_folder__what_is_no_file_is_never_opened(tmp_path):
    touch(tmp_path, "cat/1.jpg")
    os.mkfifo(tmp_path / "cat" / "pipe.jpg")
    (tmp_path / "cat" / "null.jpg").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as endpoint:
        # A relative name, because the names of sockets are at most 107 bytes long.
        endpoint.bind(os.path.relpath(tmp_path / "cat" / "socket.jpg"))
        assert read_all(tmp_path) == {
            "cat/1.jpg": JPEG,
            "cat/null.jpg": "is a device",
            "cat/pipe.jpg": "is a named pipe",
            "cat/socket.jpg": "is a socket",
        }


def test_image_folder__enormous_files_are_not_read(tmp_path):
    touch(tmp_path, "cat/1.jpg")
    with (tmp_path / "cat" / "1.jpg").open("wb") as file:
        file.truncate(2**30 + 1)
    assert read_all(tmp_path) == {"cat/1.jpg": "larger than 1 GiB: 1073741825 bytes"}


@pytest.mark.skipif(os.name == "nt", reason="file names are bytes only on POSIX")
def test_image_folder__names_that_are_not_utf8(tmp_path):
    (tmp_path / "cat").mkdir()
    try:
        (tmp_path / "cat" / os.fsdecode(b"\xff.jpg")).write_bytes(JPEG)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    source = open_source(tmp_path)
    assert source.read(source.items[0]) == JPEG
    assert listing_digest(source.items)


def test_image_folder__refusals(tmp_path):
    with pytest.raises(UlfineError, match=r"no folder .*missing: expected a folder with one folder per class"):
        open_source(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UlfineError, match="no images in the folders of"):
        open_source(tmp_path / "empty")
    touch(tmp_path, "flat/1.jpg", "flat/2.png", "flat/readme.md")
    with pytest.raises(UlfineError, match=r"\(2 images lie directly in it\)"):
        open_source(tmp_path / "flat")


def test_listing_digest__sees_every_change(tmp_path):
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg")
    digests = {listing_digest(open_source(tmp_path).items)}
    (tmp_path / "cat" / "1.jpg").write_bytes(b"longer")
    digests.add(listing_digest(open_source(tmp_path).items))
    os.utime(tmp_path / "cat" / "1.jpg", ns=(5, 5))
    digests.add(listing_digest(open_source(tmp_path).items))
    (tmp_path / "cat" / "1.jpg").rename(tmp_path / "dog" / "1.jpg")
    digests.add(listing_digest(open_source(tmp_path).items))
    assert len(digests) == 4
    assert listing_digest(open_source(tmp_path).items) in digests
