"""Tables beside images in folders: Hugging Face's imagefolder, Kaggle, COCO."""

import json

import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.open_source import open_source
from ulfine_cache.sources.source_options import SourceOptions

JPEG = b"\xff\xd8\xff"


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(JPEG)


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return path


def listed(source):
    names = [*source.classes, None]
    return {item.path: (names[item.label], item.set_name) for item in source.items}


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_metadata__one_for_all(tmp_path, ending):
    touch(tmp_path, "train/1.png", "train/2.png", "test/3.png")
    rows = [("train/1.png", "cat"), ("train/2.png", "dog"), ("test/3.png", "cat")]
    lines = ["file_name,label", *map(",".join, rows)]
    if ending == "jsonl":
        lines = [json.dumps({"file_name": path, "label": label}) for path, label in rows]
    write(tmp_path / f"metadata.{ending}", *lines)
    source = open_source(tmp_path)
    assert listed(source) == {
        "train/1.png": ("cat", "train"),
        "train/2.png": ("dog", "train"),
        "test/3.png": ("cat", "test"),
    }
    assert source.account.notes[0] == f"labels by the table metadata.{ending}"
    assert source.account.ignored == {f".{ending}": 1}
    assert source.location == str(tmp_path)


def test_metadata__one_a_set(tmp_path):
    touch(tmp_path, "train/1.png", "train/deep/2.png", "validation/1.png")
    write(tmp_path / "train/metadata.csv", "file_name,label", "1.png,cat", "deep/2.png,dog")
    write(tmp_path / "validation/metadata.csv", "file_name,label", "1.png,dog")
    assert listed(open_source(tmp_path)) == {
        "train/1.png": ("cat", "train"),
        "train/deep/2.png": ("dog", "train"),
        "validation/1.png": ("dog", "val"),
    }


def test_metadata__of_captions_beside_class_folders_and_without(tmp_path):
    touch(tmp_path, "cat/1.png", "dog/2.png")
    write(tmp_path / "metadata.csv", "file_name,text", "cat/1.png,a cat that sleeps", "dog/2.png,a dog")
    assert listed(open_source(tmp_path)) == {"cat/1.png": ("cat", ""), "dog/2.png": ("dog", "")}
    touch(tmp_path / "flat", "1.png")
    write(tmp_path / "flat/metadata.csv", "file_name,text", "1.png,a cat that sleeps")
    with pytest.raises(UlfineError, match=r"name it with --label-column, one of 'text', or say --label-column none"):
        open_source(tmp_path / "flat")
    assert listed(open_source(tmp_path / "flat", SourceOptions(label_column="none"))) == {"1.png": (None, "")}


def test_kaggle__flat_sets_with_a_table_for_each(tmp_path):
    touch(tmp_path, "train/7.jpg", "train/8.jpg", "test/9.jpg")
    write(tmp_path / "train.csv", "id,label", "7,cat", "8,dog")
    write(tmp_path / "test.csv", "id", "9")
    write(tmp_path / "sample_submission.csv", "id,label", "9,cat")
    source = open_source(tmp_path)
    assert listed(source) == {
        "train/7.jpg": ("cat", "train"),
        "train/8.jpg": ("dog", "train"),
        "test/9.jpg": (None, "test"),
    }
    assert "not read, because of the tables that count: 'sample_submission.csv'" in source.account.notes
    assert source.account.ignored == {".csv": 3}


def test_roboflow__one_hot_columns_in_each_set(tmp_path):
    touch(tmp_path, "train/1.jpg", "train/2.jpg", "valid/3.jpg")
    write(tmp_path / "train/_classes.csv", "filename, cat, dog", "1.jpg, 1, 0", "2.jpg, 0, 1")
    write(tmp_path / "valid/_classes.csv", "filename, cat, dog", "3.jpg, 0, 1")
    assert listed(open_source(tmp_path)) == {
        "train/1.jpg": ("cat", "train"),
        "train/2.jpg": ("dog", "train"),
        "valid/3.jpg": ("dog", "val"),
    }


def test_kaggle__an_unknown_label_column_is_an_error_for_the_folder_too(tmp_path):
    touch(tmp_path, "train/7.jpg", "train/8.jpg", "test/9.jpg")
    write(tmp_path / "labels.csv", "id,breed", "7,beagle", "8,pug")
    with pytest.raises(UlfineError, match="name it with --label-column, one of 'breed'"):
        open_source(tmp_path)
    assert open_source(tmp_path, SourceOptions(label_column="breed")).classes == ["beagle", "pug"]


def test_kaggle__one_table_for_a_flat_folder(tmp_path):
    touch(tmp_path, "images/a.jpg", "images/b.jpg", "images/c.jpg")
    write(tmp_path / "labels.csv", "filename,class", "a.jpg,cat", "b.jpg,dog")
    source = open_source(tmp_path)
    assert listed(source) == {"images/a.jpg": ("cat", ""), "images/b.jpg": ("dog", "")}
    assert source.account.ignored == {".csv": 1, "images that no row names": 1}
    # Also where the images lie directly beside it.
    touch(tmp_path / "flat", "a.jpg")
    write(tmp_path / "flat/labels.csv", "filename,class", "a.jpg,cat")
    assert listed(open_source(tmp_path / "flat")) == {"a.jpg": ("cat", "")}


def test_tables__that_nobody_can_choose_from(tmp_path):
    touch(tmp_path, "images/a.jpg", "images/b.jpg")
    write(tmp_path / "one.csv", "filename,class", "a.jpg,cat")
    write(tmp_path / "two.csv", "filename,class", "a.jpg,dog")
    with pytest.raises(UlfineError, match=r"several tables of its images, 'one.csv', 'two.csv': give the one"):
        open_source(tmp_path)
    assert listed(open_source(tmp_path / "two.csv")) == {"images/a.jpg": ("dog", "")}


def test_tables__beside_class_folders_are_not_read_and_said(tmp_path):
    touch(tmp_path, "cat/a.jpg", "dog/b.jpg")
    write(tmp_path / "labels.csv", "filename,class", "cat/a.jpg,x")
    source = open_source(tmp_path)
    assert source.classes == ["cat", "dog"]
    assert source.account.notes == ["not read, because the folders are the classes: 'labels.csv'"]
    # Of other things they do not matter.
    (tmp_path / "labels.csv").unlink()
    write(tmp_path / "x.csv", "city,weight", "Paris,3")
    assert open_source(tmp_path).classes == ["cat", "dog"]


@pytest.fixture
def coco(tmp_path):
    def make(name="annotations.json", folder="", **changes):
        content = {
            "info": {"year": 2022},
            "images": [
                {"id": 11, "file_name": f"{folder}1.jpg", "width": 9, "height": 9, "location": 3},
                {"id": "b", "file_name": f"{folder}2.jpg"},
                {"id": 13, "file_name": f"{folder}3.jpg"},
                {"id": 14, "file_name": f"{folder}4.jpg"},
            ],
            "annotations": [
                {"id": 1, "image_id": 11, "category_id": 5, "bbox": [1, 2, 3, 4]},
                {"id": 2, "image_id": 11, "category_id": 5, "bbox": [1, 2, 3, 4]},
                {"id": 3, "image_id": "b", "category_id": 0},
                {"id": 4, "image_id": 13, "category_id": 5},
                {"id": 5, "image_id": 13, "category_id": 7},
            ],
            "categories": [
                {"id": 0, "name": "empty"},
                {"id": 5, "name": "red fox", "supercategory": "mammal"},
                {"id": 7, "name": "owl"},
            ],
        } | changes
        touch(tmp_path, *(f"{folder or 'images/'}{number}.jpg" for number in (1, 2, 3, 4)))
        return write(tmp_path / name, json.dumps(content))

    return make


def test_coco__camera_traps(coco, tmp_path):
    source = open_source(coco())
    assert listed(source) == {
        "images/1.jpg": ("red fox", ""),
        "images/2.jpg": ("empty", ""),
        "images/3.jpg": (None, ""),
        "images/4.jpg": (None, ""),
    }
    assert source.account.warnings == ["1 image has several classes: it is in skipped.csv"]
    with pytest.raises(OSError, match="has several classes: red fox, owl"):
        source.read(source.items[2])
    assert source.read(source.items[3]) == JPEG
    assert source.account.ignored == {".json": 1}
    assert "no class, because no image is of it alone: 'owl'" in source.account.notes
    # The same by way of the folder, which holds nothing else of use.
    assert listed(open_source(tmp_path)) == listed(source)


def test_coco__categories_without_images_are_said(coco):
    categories = [
        {"id": number, "name": name} for number, name in ((0, "empty"), (5, "red fox"), (7, "owl"), (9, "elk"))
    ]
    annotations = [{"id": 1, "image_id": 11, "category_id": 5}, {"id": 2, "image_id": "b", "category_id": 7}]
    source = open_source(coco(categories=categories, annotations=annotations))
    assert source.classes == ["owl", "red fox"]
    assert "no class, because no image is of it alone: 'empty', 'elk'" in source.account.notes


def test_coco__in_the_folders_of_coco_itself(coco, tmp_path):
    coco("annotations/instances_train2017.json", "train2017/")
    coco("annotations/instances_val2017.json", "val2017/")
    found = listed(open_source(tmp_path))
    assert found["train2017/1.jpg"] == ("red fox", "train")
    assert found["val2017/2.jpg"] == ("empty", "val")
    assert len(found) == 8


def test_coco__without_annotations_and_with_sets(coco):
    images = [
        {"id": 1, "file_name": "images/1.jpg", "split": "train"},
        {"id": 2, "file_name": "images/2.jpg", "split": "dev"},
    ]
    source = open_source(coco(images=images, annotations=[]))
    assert listed(source) == {"images/1.jpg": (None, "train"), "images/2.jpg": (None, "val")}
    captions = [{"id": 1, "image_id": 1, "caption": "a fox"}]
    assert open_source(coco(images=images, annotations=captions)).classes == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": [{"id": 1}]}, "image 1: expected an id and a file_name"),
        ({"images": [{"id": 1, "file_name": "a.jpg"}] * 2, "annotations": []}, "two images have the same id"),
        ({"categories": [{"id": 1}]}, "category 1: expected an id and a name"),
        ({"annotations": [{"image_id": 99, "category_id": 5}]}, "annotation 1: its image_id is none of the images"),
        ({"annotations": [{"image_id": 11, "category_id": 99}]}, "annotation 1: its category_id 99 is no category"),
    ],
)
def test_coco__refusals(coco, changes, message):
    with pytest.raises(UlfineError, match=message):
        open_source(coco(**changes))
