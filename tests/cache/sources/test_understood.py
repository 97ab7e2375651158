"""What a run says at its end about the source that it read."""

import numpy as np
import pytest

from ulfine_cache.sources.account import Account
from ulfine_cache.sources.open_source import open_source
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.sources.understood import announce, understood
from ulfine_cache.sources.words.suspicious_names import NO_CLASS


def figures(class_names, rows, account=None):
    """Understand rows of (label, set)."""
    labels = np.array([label for label, _ in rows], np.int64)
    return understood(class_names, labels, np.array([name for _, name in rows], "U5"), account or Account())


def test_understood__counts_classes_by_set():
    account = Account()
    account.ignore(".txt", 2)
    account.ignore("hidden", 3)
    account.warn("odd")
    rows = [(0, "train"), (0, "train"), (1, "train"), (-1, "train"), (0, "test"), (1, ""), (1, "test")]
    found = understood(
        ["cat", "dog"],
        np.array([label for label, _ in rows]),
        np.array([name for _, name in rows]),
        account,
        ["not an image", "truncated file", "not an image"],
    )
    assert found == {
        "sets": {"no set": 1, "train": 4, "test": 2},
        "class_counts": {
            "cat": {"no set": 0, "train": 2, "test": 1},
            "dog": {"no set": 1, "train": 1, "test": 1},
        },
        "skipped_reasons": {"not an image": 2, "truncated file": 1},
        "ignored": {"hidden": 3, ".txt": 2},
        "warnings": ["odd"],
    }


@pytest.mark.parametrize(
    ("names", "rows", "warnings"),
    [
        (["cat", "dog"], [(0, ""), (1, "train")], []),
        ([], [(-1, "")], ["no image has a label"]),
        (["cat"], [(0, "")], ["there is only one class, 'cat': a classifier needs at least two"]),
        (
            ["images"],
            [(0, "")],
            [
                "there is only one class, 'images': a classifier needs at least two",
                "classes called like a folder of files: 'images'",
            ],
        ),
        (["cat", "valid"], [(0, ""), (1, "")], ["classes called like a set: 'valid'"]),
        (["cat", "unknown"], [(0, ""), (1, "")], [f"classes called like {NO_CLASS}: 'unknown'"]),
        (["cat", "dog"], [(0, "")], ["classes without a readable image: 'dog'"]),
        (["cat", "dog"], [(0, ""), (1, "test")], ["classes whose images are all of the sets val or test: 'dog'"]),
        (
            ["cat", "dog"],
            [(0, "test"), (1, "val")],
            ["all labelled images are of the sets val or test: there is none to learn from"],
        ),
        (
            ["Red fox", "red-fox"],
            [(0, ""), (1, "")],
            ["classes that differ in capitals or blanks only: 'Red fox' and 'red-fox'"],
        ),
        (
            [f"{number}x" for number in range(30)],
            [(number, "") for number in range(30)],
            ["30 classes for 30 labelled images: are these names of single images?"],
        ),
    ],
)
def test_understood__warns_of_what_looks_wrong(names, rows, warnings):
    assert figures(names, rows)["warnings"] == warnings


def test_understood__a_class_is_what_the_user_says(tmp_path):
    rows = [(0, ""), (1, "")] * 20
    assert figures(["NA", "cat"], rows)["warnings"] == [f"classes called like {NO_CLASS}: 'NA'"]
    (tmp_path / "t.csv").write_text("path,label\n1.jpg,NA\n2.jpg,cat\n3.jpg,\n")
    for name in "123":
        (tmp_path / f"{name}.jpg").touch()
    source = open_source(tmp_path / "t.csv", SourceOptions(missing_labels=""))
    assert (source.classes, [item.label for item in source.items]) == (["NA", "cat"], [0, 1, -1])
    assert not [note for note in source.account.notes if "taken for unlabelled" in note]
    assert figures(["NA", "cat"], rows, source.account)["warnings"] == []


def test_announce__images_of_several_classes_are_not_unlabelled(tmp_path, recorder):
    lines = ["path,cat,dog", "1.jpg,1,0", "2.jpg,1,1", "3.jpg,0,0", "4.jpg,0,1", "5.jpg,1,1"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    for name in "12345":
        (tmp_path / f"{name}.jpg").touch()
    announce(open_source(tmp_path / "t.csv"), ["cat", "dog"], recorder)
    assert "found 5 images, 2 classes, 1 unlabelled, 2 of several classes; not images: 1 .csv" in recorder.notes
    assert "warning: 2 images have several classes each: they are in skipped.csv" in recorder.notes


def test_announce__images_that_will_have_no_row_are_not_unlabelled(tmp_path, recorder):
    for name in ("cat/1.jpg", "cat/2.jpg", "dog/3.jpg", "dog/4.jpg", "unlabelled/5.jpg", "stray.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\xff\xd8\xff")
    announce(open_source(tmp_path), ["cat", "dog"], recorder)
    assert recorder.notes == ["found 6 images, 2 classes, 1 unlabelled, 1 that cannot be used"]


def test_understood__reasons_of_several_classes_are_one():
    reasons = ["has several classes: cat, dog", "not an image", "has several classes: cat, owl"]
    found = understood(["cat"], np.array([0]), np.array([""]), Account(), reasons)
    assert found["skipped_reasons"] == {"has several classes": 2, "not an image": 1}


def test_understood__unlabelled_images_to_judge_by_are_said():
    rows = [(0, "train"), (1, "train"), (0, "test"), (-1, "test"), (-1, "val"), (-1, "train")]
    assert figures(["cat", "dog"], rows)["warnings"] == [
        "2 unlabelled images are of the sets val or test: nothing is learned from such, and nothing is judged by them"
    ]
