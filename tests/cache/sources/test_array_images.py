"""Images in the arrays of an .npz file."""

import os
import zipfile

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.pictures.pixels import decode
from ulfine_cache.sources.open_source import open_source


def pictures(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


def listed(source):
    names = [*source.classes, None]
    return {item.path: (names[item.label], item.set_name) for item in source.items}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays__as_medmnist_has_them(tmp_path, save):
    arrays = {}
    for seed, (name, count) in enumerate((("train", 5), ("val", 2), ("test", 3))):
        arrays[f"{name}_images"] = pictures(count, 28, 28, 3, seed=seed)
        arrays[f"{name}_labels"] = (np.arange(count) % 3)[:, None].astype(np.uint8)
    save(tmp_path / "pathmnist.npz", **arrays)
    source = open_source(tmp_path / "pathmnist.npz")
    assert source.classes == ["0", "1", "2"]
    assert len(source.items) == 10
    assert listed(source)["val_images/0000001"] == ("1", "val")
    for item in source.items:
        name, _, number = item.path.partition("/")
        np.testing.assert_array_equal(np.asarray(decode(source.read(item))), arrays[name][int(number)])
    os.utime(tmp_path / "pathmnist.npz", ns=(1, 1))
    with pytest.raises(OSError, match="its file has changed since it was listed"):
        source.read(source.items[0])


def test_arrays__as_keras_has_them_with_names(tmp_path):
    arrays = {
        "x_train": pictures(2, 8, 8),
        "y_train": np.array([0, 1]),
        "x_test": pictures(1, 8, 8),
        "y_test": np.array([-1]),
    }
    np.savez(tmp_path / "mnist.npz", **arrays, class_names=np.array(["cat", "dog"]), notes=np.zeros(3))
    source = open_source(tmp_path / "mnist.npz")
    assert listed(source) == {
        "x_train/0000000": ("cat", "train"),
        "x_train/0000001": ("dog", "train"),
        "x_test/0000000": (None, "test"),
    }
    grey = np.asarray(decode(source.read(source.items[0])))
    np.testing.assert_array_equal(grey, np.repeat(arrays["x_train"][0][..., None], 3, axis=2))
    assert "not read: 'notes'" in source.account.notes


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pictures(2, 3, 9, 8), lambda images: images.transpose(0, 2, 3, 1)),
        (pictures(2, 9, 8, 1), lambda images: np.repeat(images, 3, axis=3)),
        (pictures(2, 9, 8) > 127, lambda images: np.repeat(images[..., None] * np.uint8(255), 3, axis=3)),
        (pictures(2, 9, 8, dtype=np.uint16) * 257, lambda images: np.repeat((images // 257)[..., None], 3, axis=3)),
    ],
)
def test_arrays__of_other_layouts(tmp_path, array, expected):
    np.savez(tmp_path / "x.npz", images=array, labels=np.array(["cat", "dog"]))
    source = open_source(tmp_path / "x.npz")
    assert source.classes == ["cat", "dog"]
    found = np.stack([np.asarray(decode(source.read(item))) for item in source.items])
    np.testing.assert_array_equal(found, expected(array))


def test_arrays__labels_of_several_columns(tmp_path):
    labels = np.array([[0, 1, 0], [1, 0, 1], [0, 0, 0]])
    np.savez(tmp_path / "chestmnist.npz", train_images=pictures(3, 8, 8), train_labels=labels)
    source = open_source(tmp_path / "chestmnist.npz")
    assert list(listed(source).values()) == [("1", "train"), (None, "train"), (None, "train")]
    with pytest.raises(OSError, match="has several classes: 0, 2"):
        source.read(source.items[1])
    assert source.account.warnings == ["1 image has several classes: it is in skipped.csv"]


def test_arrays__without_labels_of_their_length(tmp_path):
    np.savez(tmp_path / "x.npz", train_images=pictures(3, 8, 8), train_labels=np.zeros(2, int))
    source = open_source(tmp_path / "x.npz")
    assert {label for label, _ in listed(source).values()} == {None}
    assert source.account.warnings == ["'train_images' have no array of labels of the same length: they are unlabelled"]


def test_arrays__that_are_no_images(tmp_path):
    np.savez(tmp_path / "features.npz", features=np.zeros((4, 8), np.float32), labels=np.zeros(4, int))
    with pytest.raises(UlfineError, match="features go through `ulfine import-features`"):
        open_source(tmp_path / "features.npz")
    np.savez(tmp_path / "objects.npz", images=np.array([{}, {}], dtype=object))
    with pytest.raises(UlfineError, match="features go through"):
        open_source(tmp_path / "objects.npz")
    (tmp_path / "page.npz").write_text("<!doctype html>")
    with pytest.raises(UlfineError, match=r"page.npz cannot be read as an .npz file"):
        open_source(tmp_path / "page.npz")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html>", "a page for a browser (HTML), not the file itself: fetch it again, by the link"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS, not the file itself: run `git lfs"),
        (b"", "empty: a download or copy has failed, fetch it again"),
        (b"\x93NUMPY\x01\x00", "a single numpy array (.npy)"),
        (b"PK\x03\x04", "a ZIP archive cut short: fetch it again"),
        (b"\xff\xfe\x00\x01" * 9, "none, or damaged: fetch it again, or save it with numpy.savez"),
    ],
    ids=["page", "pointer", "empty", "npy", "cut", "noise"],
)
def test_arrays__of_a_file_that_is_something_else(tmp_path, content, said):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UlfineError) as caught:
        open_source(tmp_path / "x.npz")
    assert str(caught.value).startswith(f"{tmp_path / 'x.npz'} cannot be read as an .npz file: it is {said}")


def test_arrays__of_a_zip_file_of_pictures(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("cat/1.jpg", b"")
    with pytest.raises(UlfineError, match=r"holds cat/1.jpg, which is no array: it is a zip file of others"):
        open_source(tmp_path / "x.npz")
