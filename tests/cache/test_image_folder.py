"""Listing folders of images."""

import os

import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.image_folder import ImageFolder
from ulfine_cache.source import listing_digest


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def listed(root):
    return [(item.path, item.label, item.set_name) for item in ImageFolder(root).items]


def test_image_folder__classes_and_unlabelled(tmp_path):
    touch(
        tmp_path, "dog/b.JPG", "cat/a.png", "cat/deep/c.webp", "unlabelled/u.jpeg", "cat/notes.txt", "cat/.hidden.jpg"
    )
    touch(tmp_path, ".cache/x.jpg", "top.jpg")
    assert ImageFolder(tmp_path).classes == ["cat", "dog"]
    assert listed(tmp_path) == [
        ("cat/a.png", 0, ""),
        ("cat/deep/c.webp", 0, ""),
        ("dog/b.JPG", 1, ""),
        ("unlabelled/u.jpeg", -1, ""),
    ]


def test_image_folder__sets(tmp_path):
    touch(tmp_path, "train/b/1.jpg", "train/unlabelled/2.jpg", "val/a/3.jpg", "test/b/4.jpg", "c/5.jpg")
    assert ImageFolder(tmp_path).classes == ["a", "b", "c"]
    assert sorted(listed(tmp_path)) == [
        ("c/5.jpg", 2, ""),
        ("test/b/4.jpg", 1, "test"),
        ("train/b/1.jpg", 1, "train"),
        ("train/unlabelled/2.jpg", -1, "train"),
        ("val/a/3.jpg", 0, "val"),
    ]


def test_image_folder__a_class_may_be_called_train(tmp_path):
    touch(tmp_path, "train/1.jpg", "bus/2.jpg")
    assert ImageFolder(tmp_path).classes == ["bus", "train"]


def test_image_folder__links_are_followed_but_not_in_circles(tmp_path):
    touch(tmp_path, "elsewhere/1.jpg", "root/cat/2.jpg")
    (tmp_path / "root" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "cat" / "loop").symlink_to(tmp_path / "root" / "cat")
    (tmp_path / "root" / "cat" / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    assert [path for path, _, _ in listed(tmp_path / "root")] == ["cat/2.jpg", "cat/broken.jpg", "dog/1.jpg"]


def test_image_folder__a_folder_called_like_an_image(tmp_path):
    touch(tmp_path, "cat/odd.jpg/1.jpg")
    assert listed(tmp_path) == [("cat/odd.jpg/1.jpg", 0, "")]


@pytest.mark.skipif(os.name == "nt", reason="file names are bytes only on POSIX")
def test_image_folder__names_that_are_not_utf8(tmp_path):
    (tmp_path / "cat").mkdir()
    try:
        (tmp_path / "cat" / os.fsdecode(b"\xff.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    source = ImageFolder(tmp_path)
    assert source.read(source.items[0]) == b"x"
    assert listing_digest(source.items)


def test_image_folder__refusals(tmp_path):
    with pytest.raises(UlfineError, match=r"no folder .*missing: expected one folder per class"):
        ImageFolder(tmp_path / "missing")
    touch(tmp_path, "file")
    with pytest.raises(UlfineError, match="is a file"):
        ImageFolder(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UlfineError, match="no images in the folders of"):
        ImageFolder(tmp_path / "empty")
    touch(tmp_path, "flat/1.jpg", "flat/2.png", "flat/readme.md")
    with pytest.raises(UlfineError, match=r"\(2 images lie directly in it\)"):
        ImageFolder(tmp_path / "flat")


def test_listing_digest__sees_every_change(tmp_path):
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg")
    digests = {listing_digest(ImageFolder(tmp_path).items)}
    (tmp_path / "cat" / "1.jpg").write_bytes(b"longer")
    digests.add(listing_digest(ImageFolder(tmp_path).items))
    os.utime(tmp_path / "cat" / "1.jpg", ns=(5, 5))
    digests.add(listing_digest(ImageFolder(tmp_path).items))
    (tmp_path / "cat" / "1.jpg").rename(tmp_path / "dog" / "1.jpg")
    digests.add(listing_digest(ImageFolder(tmp_path).items))
    assert len(digests) == 4
    assert listing_digest(ImageFolder(tmp_path).items) in digests
