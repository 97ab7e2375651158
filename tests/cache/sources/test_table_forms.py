"""Tables as people have them: other columns, other separators, other encodings, other names for the same files."""

import json
import os
import unicodedata

import pyarrow as pa
import pytest
from pyarrow import parquet

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.open_source import open_source
from ulfine_cache.sources.source_options import SourceOptions

JPEG = b"\xff\xd8\xff"


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(JPEG)


def write(path, *lines, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def listed(source):
    names = [*source.classes, None]
    return {item.path: (names[item.label], item.set_name) for item in source.items}


def refusal(path, options=SourceOptions()):  # noqa: B008
    with pytest.raises(UlfineError) as caught:
        open_source(path, options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def root(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    return tmp_path


@pytest.mark.parametrize(
    "header",
    [
        *("path,label,split", "file_name,class,set", "Filename,Class Name,Subset", "image,category,partition"),
        *("imagePath,labels,Split", "image_id,target,dataset split", "ID,cls,SET"),
    ],
)
def test_columns__called_as_usual(root, header):
    source = open_source(write(root / "t.csv", header, "a.jpg,cat,Training", "b.jpg,dog,Dev", "c.jpg,cat,TEST"))
    assert listed(source) == {"a.jpg": ("cat", "train"), "b.jpg": ("dog", "val"), "c.jpg": ("cat", "test")}


@pytest.mark.parametrize("name", ["breed", "species", "choice", "x"])
def test_columns__an_unknown_label_is_an_error_that_says_the_option(root, name):
    path = write(root / "t.csv", f"path,{name},width", "a.jpg,cat,10", "b.jpg,dog,10")
    message = refusal(path)
    assert "--label-column" in message
    assert repr(name) in message
    assert "'width'" in message
    assert listed(open_source(path, SourceOptions(label_column=name)))["b.jpg"] == ("dog", "")
    assert listed(open_source(path, SourceOptions(label_column="none")))["b.jpg"] == (None, "")
    assert f"has no column 'y': --label-column takes one of 'path', '{name}', 'width'" in refusal(
        path, SourceOptions(label_column="y")
    )


def test_columns__that_are_named(root):
    path = write(root / "t.csv", "nr,where,what,phase", "1,a.jpg,cat,train", "2,b.jpg,dog,test")
    assert "name it with --path-column" in refusal(path)
    options = SourceOptions(path_column="where", label_column="what", set_column="phase")
    assert listed(open_source(path, options)) == {"a.jpg": ("cat", "train"), "b.jpg": ("dog", "test")}
    assert open_source(path, options).account.notes == [
        "t.csv: paths in 'where', labels in 'what', sets in 'phase'; not read: 'nr'"
    ]


def test_columns__several_that_may_be_the_labels(root):
    path = write(root / "t.csv", "path,class,category_name", "a.jpg,3,cat", "b.jpg,4,dog")
    assert "'class', 'category_name' may all be the labels: choose one with --label-column" in refusal(path)
    assert listed(open_source(path, SourceOptions(label_column="category_name")))["a.jpg"] == ("cat", "")
    # The exact word counts.
    assert listed(open_source(write(path, "path,class_name,label", "a.jpg,x,cat")))["a.jpg"] == ("cat", "")


def test_columns__sets_that_are_folds(root):
    path = write(root / "t.csv", "path,label,split", "a.jpg,cat,0", "b.jpg,dog,1")
    assert "the set '0' is none of train, val, test, and not empty: --set-column none leaves" in refusal(path)
    assert listed(open_source(path, SourceOptions(set_column="none")))["a.jpg"] == ("cat", "")


def test_one_hot__as_roboflow_writes_it(root):
    path = write(
        root / "_classes.csv",
        "filename, cat, dog, Unlabeled",
        *("a.jpg, 1, 0, 0", "b.jpg, 0, 1, 0", "c.jpg, 0, 0, 1"),
    )
    source = open_source(path)
    assert listed(source) == {"a.jpg": ("cat", ""), "b.jpg": ("dog", ""), "c.jpg": (None, "")}
    assert source.account.notes[0] == "_classes.csv: paths in 'filename', a class in each of the 3 columns of 0 and 1"


def test_one_hot__of_floats_and_with_several_classes(root):
    source = open_source(write(root / "t.csv", "image,MEL,NV", "a.jpg,1.0,0.0", "b.jpg,1.0,1.0", "c.jpg,0.0,0.0"))
    assert listed(source) == {"a.jpg": ("MEL", ""), "b.jpg": (None, ""), "c.jpg": (None, "")}
    assert source.account.warnings == ["1 image has several classes: it is in skipped.csv"]
    with pytest.raises(OSError, match="has several classes: MEL, NV"):
        source.read(source.items[1])
    # Numbers of another kind are none.
    assert "--label-column" in refusal(write(root / "t.csv", "image,p,q", "a.jpg,1,0", "b.jpg,7,1"))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["0.0", "10.0", "-1.0"], ["0", "10", None]),
        (["9", "10", "-1"], ["9", "10", None]),
        (["007", "7", ""], ["007", "7", None]),
        (["nan", "null", "None"], [None, None, None]),
        (["N/A", "NA", "cat"], [None, None, "cat"]),
        (["NaN", "<NA>", "NULL"], [None, None, None]),
        (["none", "Nan", "na"], ["none", "Nan", "na"]),
        (["1.0", "cat", "2"], ["1.0", "cat", "2"]),
        (["-1.0", "cat", "unlabelled"], [None, "cat", None]),
        (["3e0", "4", "+5.0"], ["3", "4", "5"]),
        (["Unlabeled", " cat ", "cat"], [None, "cat", "cat"]),
    ],
)
def test_labels__one_rule_for_csv_json_and_parquet(root, labels, classes):
    write(root / "t.csv", "path,label", *(f"{name}.jpg,{label}" for name, label in zip("abc", labels, strict=True)))
    rows = [{"path": f"{name}.jpg", "label": label} for name, label in zip("abc", labels, strict=True)]
    write(root / "t.jsonl", *(json.dumps(row) for row in rows))
    parquet.write_table(pa.Table.from_pylist(rows), root / "t.parquet")
    for name in ("t.csv", "t.jsonl", "t.parquet"):
        assert [label for label, _ in listed(open_source(root / name)).values()] == classes


def test_labels__which_words_mean_unlabelled_is_said_and_can_be(root):
    path = write(root / "t.csv", "path,label", "a.jpg,NA", "b.jpg,EU", "c.jpg,unknown")
    source = open_source(path)
    assert source.classes == ["EU", "unknown"]
    assert "taken for unlabelled: 1 NA (--missing-labels says which words mean that)" in source.account.notes
    assert open_source(path, SourceOptions(missing_labels="")).classes == ["EU", "NA", "unknown"]
    assert open_source(path, SourceOptions(missing_labels="unknown, nan")).classes == ["EU", "NA"]


def test_labels__fractions_are_no_classes(root):
    assert "line 3: the label 0.5 is a number with a fraction" in refusal(
        write(root / "t.csv", "path,label", "a.jpg,1", "b.jpg,0.5")
    )


@pytest.mark.parametrize("separator", [";", "\t", "|", ","])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_csv__separators_and_encodings(root, separator, encoding):
    lines = ["path,label,set", "a.jpg,K\u00e4fer,train", "b.jpg , cat ,", "c.jpg"]
    path = write(root / "t.csv", *(line.replace(",", separator) for line in lines), encoding=encoding)
    assert listed(open_source(path)) == {"a.jpg": ("K\u00e4fer", "train"), "b.jpg": ("cat", ""), "c.jpg": (None, "")}
    path.rename(root / "t.tsv")
    assert len(open_source(root / "t.tsv").items) == 3


def test_csv__commas_in_quotes_and_at_the_end_of_lines(root):
    path = write(root / "t.csv", "path,label,", 'a.jpg, "dog, large",', '"b.jpg","5"" pipe",,')
    assert listed(open_source(path)) == {"a.jpg": ("dog, large", ""), "b.jpg": ('5" pipe', "")}


def test_csv__what_spreadsheets_and_pandas_add(root):
    path = write(root / "t.csv", "sep=;", "path;label", "a.jpg;cat, large", "b.jpg;dog;x")
    assert "line 4: 3 fields under 2 columns" in refusal(path)
    assert listed(open_source(write(path, "sep=;", "path;label", "a.jpg;cat, large"))) == {"a.jpg": ("cat, large", "")}
    # The numbers of the rows are no labels, and do not keep columns of 0 and 1 from being classes.
    assert listed(open_source(write(path, ",path", "0,a.jpg", "1,b.jpg"))) == {"a.jpg": (None, ""), "b.jpg": (None, "")}
    hot = open_source(write(path, "Unnamed: 0,path,cat,dog", "0,a.jpg,1,0", "7,b.jpg,0,1"))
    assert listed(hot) == {"a.jpg": ("cat", ""), "b.jpg": ("dog", "")}


@pytest.mark.parametrize(
    "content",
    [
        {"a.jpg": "cat", "b.jpg": "dog"},
        {"path": {"0": "a.jpg", "1": "b.jpg"}, "label": {"0": "cat", "1": "dog"}},
        {"path": ["a.jpg", "b.jpg"], "label": ["cat", "dog"]},
    ],
)
def test_json__other_forms(root, content):
    source = open_source(write(root / "t.json", json.dumps(content)))
    assert listed(source) == {"a.jpg": ("cat", ""), "b.jpg": ("dog", "")}


def test_json__a_list_of_objects(root):
    rows = [{"id": 1, "file_name": "a.jpg", "label": "cat"}, {"id": 2, "file_name": "b.jpg"}]
    assert listed(open_source(write(root / "t.json", json.dumps(rows)))) == {"a.jpg": ("cat", ""), "b.jpg": (None, "")}
    assert "line 2: no JSON" in refusal(write(root / "t.jsonl", '{"path": "a.jpg"}', "{"))
    assert "expected a JSON object" in refusal(write(root / "t.jsonl", "[1]"))
    assert "holds no images" in refusal(write(root / "t.json", '{"a": 1}'))


def test_paths__absolute_ones_below_the_own_folder(root, tmp_path_factory):
    path = write(root / "t.csv", "path,label", f"{root}/a.jpg,cat", f" {root}//b.jpg ,dog")
    assert list(listed(open_source(path))) == ["a.jpg", "b.jpg"]
    link = tmp_path_factory.mktemp("elsewhere") / "link"
    link.symlink_to(root)
    # By either name of the folder.
    write(path, "path,label", f"{root}/a.jpg,cat", f"{link}/b.jpg,dog")
    assert list(listed(open_source(link / "t.csv"))) == ["a.jpg", "b.jpg"]
    other = write(tmp_path_factory.mktemp("other") / "t.csv", "path,label", f"{root}/a.jpg,cat", "b.jpg,dog")
    assert "is absolute and not below" in refusal(other)
    assert list(listed(open_source(other, SourceOptions(root=root)))) == ["a.jpg", "b.jpg"]
    assert "is no folder" in refusal(other, SourceOptions(root=root / "no"))


def test_paths__a_linked_folder_with_root(root, tmp_path_factory):
    far = tmp_path_factory.mktemp("far")
    touch(far, "x/1.jpg", "x/2.jpg")
    (root / "images").symlink_to(far / "x")
    path = write(root / "t.csv", "path,label", "images/1.jpg,cat", "images/2.jpg,dog")
    assert "say --root with a folder whose links may be followed" in refusal(path)
    source = open_source(path, SourceOptions(root=root))
    assert [source.read(item) for item in source.items] == [JPEG, JPEG]
    bare = write(root / "bare.csv", "path,label", "1.jpg,cat", "2.jpg,dog")
    assert list(listed(open_source(bare, SourceOptions(root=root / "images")))) == ["1.jpg", "2.jpg"]
    assert "leaves the table's folder" in refusal(
        write(root / "up.csv", "path,label", "../secret.jpg,cat"), SourceOptions(root=root / "images")
    )


def test_paths__backslashes(root):
    touch(root, "train/cat/1.jpg")
    source = open_source(write(root / "t.csv", "path,label", r"train\cat\1.jpg,cat", r".\a.jpg,dog"))
    assert list(listed(source)) == ["train/cat/1.jpg", "a.jpg"]
    assert "2 paths were found with / instead of \\" in source.account.notes
    if os.name == "posix":
        touch(root, "odd\\name.jpg")
        assert list(listed(open_source(write(root / "t.csv", "path,label", r"odd\name.jpg,cat")))) == ["odd\\name.jpg"]


def test_paths__ids_without_extension(root):
    touch(root, "ISIC_0024306.jpg", "2.PNG", "both.jpg", "both.png")
    path = write(root / "t.csv", "id,label", "ISIC_0024306,cat", "2,dog", "both,cat")
    source = open_source(path)
    assert listed(source) == {"ISIC_0024306.jpg": ("cat", ""), "2.PNG": ("dog", ""), "both": ("cat", "")}
    assert "2 paths were found with the extension of the only image that fits" in source.account.notes
    # Where two fit nothing is guessed.
    with pytest.raises(FileNotFoundError):
        source.read(source.items[2])
    assert source.account.ignored["images that no row names"] == 5
    for extension in (".jpg", "jpg"):
        found = open_source(write(path, "id,label", "both,cat"), SourceOptions(extension=extension))
        assert list(listed(found)) == ["both.jpg"]
    numbers = pa.table({"id": [2], "label": ["dog"]})
    parquet.write_table(numbers, root / "t.parquet")
    assert list(listed(open_source(root / "t.parquet"))) == ["2.PNG"]


def test_paths__other_unicode_forms_and_capitals(root):
    name = "Ka\u0308fer/Bla\u0308tter \u00e9.jpg"
    touch(root, name, "IMG_1.JPG", "twin.jpg", "TWIN.jpg")
    asked = unicodedata.normalize("NFC", name)
    source = open_source(write(root / "t.csv", "path,label", f"{asked},beetle", "img_1.jpg,cat", "Twin.jpg,dog"))
    assert [source.read(item) for item in source.items[:2]] == [JPEG, JPEG]
    assert source.items[0].path == name
    assert "2 paths were found in another Unicode form or other capitals" in source.account.notes
    assert source.items[2].size == -1


def test_paths__in_the_only_folder_that_has_them(root):
    touch(root, "images/1.jpg", "images/2.jpg")
    source = open_source(write(root / "t.csv", "path,label", "1.jpg,cat", "2.jpg,dog"))
    assert list(listed(source)) == ["images/1.jpg", "images/2.jpg"]
    assert source.account.notes[0] == "the paths of t.csv are taken from the folder images, where the files are"
    touch(root, "other/1.jpg")
    message = refusal(root / "t.csv")
    assert "none of the 2 files" in message
    assert all(option in message for option in ("--root", "--extension", "--path-column"))


def test_sets__by_the_folders_of_the_paths(root):
    touch(root, "img/train/1.jpg", "img/dev/2.jpg", "img/test/x/3.jpg")
    lines = ["path,label", "img/train/1.jpg,cat", "img/dev/2.jpg,dog", "img/test/x/3.jpg,cat"]
    source = open_source(write(root / "t.csv", *lines))
    assert [set_name for _, set_name in listed(source).values()] == ["train", "val", "test"]
    assert "sets by the folders 'dev', 'test', 'train', because no column says them" in source.account.notes
    # One path elsewhere: nothing is guessed.
    source = open_source(write(root / "t.csv", *lines, "a.jpg,cat"))
    assert {set_name for _, set_name in listed(source).values()} == {""}


def test_tables__several_for_several_sets(root):
    write(root / "train.csv", "path,label", "a.jpg,cat", "b.jpg,dog")
    write(root / "test.csv", "path,label", "c.jpg,cat")
    source = open_source(root / "{train,test}.csv")
    assert listed(source) == {"a.jpg": ("cat", "train"), "b.jpg": ("dog", "train"), "c.jpg": ("cat", "test")}
    assert source.location == str(root / "{train,test}.csv")


def test_account__all_files_below_the_table(root):
    touch(root, "deep/x.jpg", "deep/.hidden.jpg", "d.HEIC")
    write(root / "notes.txt", "")
    path = write(root / "t.csv", "path,label", "a.jpg,cat", "gone.jpg,dog", "d.HEIC,dog")
    source = open_source(path)
    assert source.account.ignored == {".csv": 1, ".txt": 1, "images that no row names": 3, "hidden": 1}
    there = sum(1 for each in root.rglob("*") if each.is_file())
    assert len(source.items) - 1 + sum(source.account.ignored.values()) == there


def test_one_hot__a_column_for_unlabelled_is_no_class_that_is_missing(tmp_path):
    for name in "123":
        (tmp_path / f"{name}.jpg").touch()
    (tmp_path / "t.csv").write_text("path,cat,dog,owl,unlabeled\n1.jpg,1,0,0,0\n2.jpg,0,1,0,0\n3.jpg,0,0,0,1\n")
    source = open_source(tmp_path / "t.csv")
    assert (source.classes, [item.label for item in source.items]) == (["cat", "dog"], [0, 1, -1])
    assert "no class, because no image is of it alone: 'owl'" in source.account.notes
