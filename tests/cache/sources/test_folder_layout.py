"""Which folders are sets, classes, or neither."""

import tarfile
import zipfile

import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.open_source import open_source
from ulfine_cache.sources.words.set_names import known_set, set_folders, set_in_name
from ulfine_cache.sources.words.suspicious_names import NO_CLASS, suspicion

JPEG = b"\xff\xd8\xff"


def touch(root, *names, content=JPEG):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def listed(root):
    source = open_source(root)
    return {
        item.path: (source.classes[item.label] if item.label >= 0 else None, item.set_name) for item in source.items
    }


def count_files(root):
    return sum(1 for path in root.rglob("*") if not path.is_dir())


@pytest.mark.parametrize(
    ("names", "sets"),
    [
        (("train", "valid", "test"), ("train", "val", "test")),
        (("training", "testing"), ("train", "test")),
        (("Train", "Val", "Test"), ("train", "val", "test")),
        (("TRAIN", "DEV"), ("train", "val")),
        (("training", "validation"), ("train", "val")),
        (("seg_train", "seg_test", "seg_pred"), ("train", "test", None)),
        (("train2017", "val2017"), ("train", "val")),
        (("imagenet-train", "imagenet-val"), ("train", "val")),
        (("TrainImages", "TestImages"), ("train", "test")),
        (("Training Set", "Testing Set"), ("train", "test")),
        (("data_train_v2", "data_dev_v2"), ("train", "val")),
        (("train", "test", "train_masks", "test_masks"), ("train", "test", None, None)),
        (("train2014", "val2014", "test2015"), ("train", "val", "test")),
        (("01_train", "02_dev", "03_test"), ("train", "val", "test")),
        (("training_set", "test_set"), ("train", "test")),
        (("train_station", "bus_station"), (None, None)),
        (("train_a", "train_b"), (None, None)),
        (("train_val", "test_val"), (None, None)),
        (("contest", "protest"), (None, None)),
        ((" Test ", "train"), ("test", "train")),
    ],
)
def test_set_folders__by_whole_words_or_with_the_same_text_around_them(names, sets):
    assert set_folders(names) == {name: set_name for name, set_name in zip(names, sets, strict=True) if set_name}


def test_known_set__in_any_case():
    assert [known_set(word) for word in ("TRAIN", " Validation", "Testing", "dev", "", "extra")] == [
        *("train", "val", "test", "val", ""),
        None,
    ]
    assert [set_in_name(name) for name in ("train2017.json", "a/valTest", "dev/x-1.tar", "latest.csv")] == [
        *("train", "", "val", "")
    ]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "valid", "test"),
        ("Training", "dev", "Testing"),
        ("seg_train", "seg_val", "seg_test"),
        ("TRAIN", "DEV", "TEST"),
        ("trainSet", "valSet", "testSet"),
    ],
)
def test_layout__sets_of_any_name(tmp_path, train, val, test):
    touch(tmp_path, f"{train}/cat/1.jpg", f"{train}/dog/2.jpg", f"{val}/cat/3.jpg", f"{test}/dog/deep/4.jpg")
    touch(tmp_path, f"{train}/Unlabeled/5.jpg")
    assert listed(tmp_path) == {
        f"{train}/cat/1.jpg": ("cat", "train"),
        f"{train}/dog/2.jpg": ("dog", "train"),
        f"{val}/cat/3.jpg": ("cat", "val"),
        f"{test}/dog/deep/4.jpg": ("dog", "test"),
        f"{train}/Unlabeled/5.jpg": (None, "train"),
    }


def test_layout__says_what_it_took_for_a_set(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "dev/cat/2.jpg", "extra/3.jpg", "unlabeled/4.jpg")
    source = open_source(tmp_path)
    assert source.classes == ["cat", "extra"]
    assert source.account.notes == ["sets: dev is val"]
    assert source.account.warnings == ["'extra' beside the sets 'dev', 'train' are classes of no set"]


@pytest.mark.parametrize(
    "names", [("train", "test"), ("Training", "Validation"), ("seg_train", "seg_test"), ("train", "test1")]
)
def test_layout__flat_sets_are_never_classes(tmp_path, names):
    touch(tmp_path, *(f"{name}/{number}.jpg" for name in names for number in range(3)))
    with pytest.raises(UlfineError, match=r"hold images and no class folders, so nothing says what is on them: give"):
        open_source(tmp_path)
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg")
    with pytest.raises(UlfineError, match="hold images and no class folders"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        *(("train/1.jpg", "train/2.jpg"), ("x/Training/1.jpg",), ("val2017/1.jpg",), ("seg_train/1.jpg",)),
        *(("dev/1.jpg", "unlabelled/2.jpg"), ("train_1/1.jpg", "train_2/2.jpg"), ("test/1.jpg", "readme.txt")),
        ("train/1.jpg", "train/2.jpg", "train/more/3.jpg"),
    ],
)
def test_layout__a_flat_set_alone_is_no_class(tmp_path, names):
    touch(tmp_path, *names)
    with pytest.raises(UlfineError, match=r"holds? images and no class folders, so nothing says what is on them: give"):
        open_source(tmp_path)


def test_layout__a_flat_set_alone_with_a_table_is_read(tmp_path):
    touch(tmp_path, "train/1.jpg", "train/2.jpg")
    (tmp_path / "labels.csv").write_text("id,label\n1,cat\n2,dog\n")
    assert listed(tmp_path) == {"train/1.jpg": ("cat", ""), "train/2.jpg": ("dog", "")}


def test_layout__a_few_images_beside_the_classes_of_the_only_set_do_not_count(tmp_path):
    touch(tmp_path, "train/odd.jpg", "train/cat/1.jpg", "train/cat/2.jpg", "train/dog/3.jpg")
    assert listed(tmp_path) == {
        "train/odd.jpg": (None, ""),
        "train/cat/1.jpg": ("cat", "train"),
        "train/cat/2.jpg": ("cat", "train"),
        "train/dog/3.jpg": ("dog", "train"),
    }


def test_layout__a_class_called_like_a_set_beside_others_stays_one(tmp_path):
    touch(tmp_path, "train/1.jpg", "bus/2.jpg", "tram/3.jpg")
    assert open_source(tmp_path).classes == ["bus", "train", "tram"]


def pack_zip(folder, target):
    with zipfile.ZipFile(target, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder))
    return target


def pack_tar(folder, target):
    with tarfile.open(target, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.add(path, path.relative_to(folder), recursive=False)
    return target


@pytest.mark.parametrize("pack", [lambda folder, _: folder, pack_zip, pack_tar], ids=["folder", "zip", "tar"])
def test_layout__empty_folders_of_classes_and_sets_are_said(tmp_path, pack):
    photos = tmp_path / "photos"
    touch(photos, "x/train/cat/1.jpg", "x/train/dog/2.jpg", "x/test/cat/3.jpg")
    touch(photos, "x/train/fox/readme.txt", content=b"text")
    for name in ("train/owl", "test/dog", "val/cat", "extra"):
        (photos / "x" / name).mkdir(parents=True)
    source = open_source(pack(photos, tmp_path / f"photos.{'zip' if pack is pack_zip else 'tar'}"))
    assert source.classes == ["cat", "dog"]
    assert source.account.notes[-3:] == [
        "no class, because there is no image in it: 'extra', 'train/fox', 'train/owl'",
        "class folders without an image: 'test/dog'",
        "sets without an image: 'val'",
    ]


def test_layout__a_flat_test_set_beside_classes_is_unlabelled(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg", "train/odd.jpg", "test/3.jpg")
    touch(tmp_path, "test/more.jpg")
    assert listed(tmp_path) == {
        "train/cat/1.jpg": ("cat", "train"),
        "train/dog/2.jpg": ("dog", "train"),
        "train/odd.jpg": (None, ""),
        "test/3.jpg": (None, "test"),
        "test/more.jpg": (None, "test"),
    }
    source = open_source(tmp_path)
    assert source.account.warnings == ["'test' holds images without class folders: they are unlabelled"]
    with pytest.raises(OSError, match="lies in no class folder"):
        source.read(next(item for item in source.items if item.path == "train/odd.jpg"))


def test_layout__folders_that_only_wrap_are_walked_through(tmp_path):
    touch(tmp_path, "x/dataset/train/cat/1.jpg", "x/dataset/test/dog/2.jpg", "x/readme.txt", "__MACOSX/x/._dataset")
    source = open_source(tmp_path)
    assert listed(tmp_path) == {
        "x/dataset/train/cat/1.jpg": ("cat", "train"),
        "x/dataset/test/dog/2.jpg": ("dog", "test"),
    }
    assert source.account.notes == ["the folder x/dataset is walked through: it is the only one with images"]
    assert source.account.ignored == {".txt": 1, "in folders of the system": 1}


def test_layout__an_image_beside_a_wrapping_folder_does_not_count(tmp_path):
    touch(tmp_path, "cover.jpg", "photos/cat/1.jpg", "photos/dog/2.jpg")
    assert listed(tmp_path) == {
        "cover.jpg": (None, ""),
        "photos/cat/1.jpg": ("cat", ""),
        "photos/dog/2.jpg": ("dog", ""),
    }


def test_layout__classes_of_folders_are_said(tmp_path):
    touch(tmp_path, "plants/rose/1.jpg", "plants/tulip/2.jpg", "animals/cat/3.jpg", "animals/dog/4.jpg")
    source = open_source(tmp_path)
    assert source.classes == ["animals", "plants"]
    assert source.account.warnings == [
        "all classes hold folders instead of images, such as animals/cat: these are no classes"
    ]


def test_layout__folds_are_said_to_be_no_classes(tmp_path):
    touch(tmp_path, "fold1/cat/1.jpg", "fold1/dog/2.jpg", "fold2/cat/3.jpg")
    assert open_source(tmp_path).account.warnings == [
        "all classes hold folders instead of images, such as fold1/cat: these are no classes"
    ]


def test_layout__several_flat_sets_beside_one_with_classes(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg", "val/3.jpg", "Test/4.jpg")
    assert open_source(tmp_path).account.warnings == [
        "'Test', 'val' hold images without class folders: they are unlabelled"
    ]


def test_layout__between_a_set_and_its_classes_may_be_images(tmp_path):
    touch(tmp_path, "train/images/cat/1.jpg", "train/images/dog/2.jpg", "test/images/cat/3.jpg", "train/labels/1.txt")
    assert listed(tmp_path) == {
        "train/images/cat/1.jpg": ("cat", "train"),
        "train/images/dog/2.jpg": ("dog", "train"),
        "test/images/cat/3.jpg": ("cat", "test"),
    }


def test_layout__the_nested_sets_of_a_well_known_download(tmp_path):
    touch(tmp_path, "seg_train/seg_train/sea/1.jpg", "seg_train/seg_train/street/2.jpg", "seg_test/seg_test/sea/3.jpg")
    touch(tmp_path, "seg_pred/seg_pred/4.jpg")
    source = open_source(tmp_path)
    assert listed(tmp_path) == {
        "seg_train/seg_train/sea/1.jpg": ("sea", "train"),
        "seg_train/seg_train/street/2.jpg": ("street", "train"),
        "seg_test/seg_test/sea/3.jpg": ("sea", "test"),
        "seg_pred/seg_pred/4.jpg": (None, ""),
    }
    assert source.account.warnings == ["'seg_pred' holds images without class folders: they are unlabelled"]


def test_layout__a_single_class_is_not_walked_through(tmp_path):
    touch(tmp_path, "cat/1.jpg", "cat/deep/2.jpg")
    assert set(listed(tmp_path).values()) == {("cat", "")}
    touch(tmp_path / "other", "unlabelled/a/1.jpg", "unlabelled/b/2.jpg")
    assert set(listed(tmp_path / "other").values()) == {(None, "")}


def test_layout__folders_without_a_readable_image_are_no_classes(tmp_path):
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg")
    touch(tmp_path, "annotations/1.xml", "lists/train.txt", content=b"text")
    touch(tmp_path, "cat/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", "@eaDir/x.jpg", "lost+found/y.jpg", "$RECYCLE.BIN/z.jpg")
    touch(tmp_path, "broken/1.jpg", "broken/2.png", content=b"<html>")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cat" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    source = open_source(tmp_path)
    assert source.classes == ["cat", "dog"]
    assert source.account.ignored == {".xml": 1, ".txt": 1, "in folders of the system": 4}
    assert source.account.notes == [
        "no class: broken holds no readable image",
        "no class, because there is no image in it: 'annotations', 'empty', 'lists'",
    ]
    assert {item.path for item in source.items} == {
        *("broken/1.jpg", "broken/2.png", "cat/1.jpg", "cat/gone.jpg", "dog/2.jpg")
    }
    assert len(source.items) + sum(source.account.ignored.values()) == count_files(tmp_path)


def test_layout__images_of_any_name_leave_a_trace(tmp_path):
    touch(
        tmp_path,
        "cat/1.HEIC",
        "cat/2.jxl",
        "cat/3.mpo",
        "cat/4.j2k",
        "cat/5.jpg_large",
        "cat/6",
        "cat/7.v2",
        "cat/8.jpg!d",
    )
    touch(tmp_path, "cat/9.nef", "cat/10.jpeg~")
    touch(tmp_path, "cat/notes", "cat/a.dat", "cat/b.md", content=b"text")
    touch(tmp_path, "cat/c.svg", "cat/.d.jpg", ".git/e.jpg")
    source = open_source(tmp_path)
    assert len(source.items) == 10
    assert {item.label for item in source.items} == {0}
    assert source.account.ignored == {"without extension": 1, ".dat": 1, ".md": 1, ".svg": 1, "hidden": 2}
    assert len(source.items) + sum(source.account.ignored.values()) == count_files(tmp_path)


def test_layout__the_same_class_in_both_unicode_forms(tmp_path):
    touch(tmp_path, "train/K\u00e4fer/1.jpg", "test/Ka\u0308fer/2.jpg")
    source = open_source(tmp_path)
    assert source.classes == ["K\u00e4fer"]
    assert {item.label for item in source.items} == {0}
    assert [source.read(item) for item in source.items] == [JPEG, JPEG]


@pytest.mark.parametrize(
    ("name", "looks_like"),
    [
        *(("train", "a set"), ("VAL", "a set"), ("val_2", "a set"), ("TestImages", "a set"), ("01_train", "a set")),
        *(("img", "a folder of files"), ("JPEGImages", "a folder of files"), ("segmentations", "a folder of files")),
        *(("unknown", NO_CLASS), ("nan", NO_CLASS), ("1.jpg", "a file")),
        *(("beagle", ""), ("test tube", ""), ("train station", ""), ("valley", ""), ("7", ""), ("", "")),
    ],
)
def test_suspicion__of_names_that_are_no_classes(name, looks_like):
    assert suspicion(name) == looks_like
