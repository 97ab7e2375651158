"""Images listed in a table."""

import os
import sys

import pyarrow as pa
import pytest
from pyarrow import parquet

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.open_source import open_source
from ulfine_cache.sources.source import listing_digest
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.sources.words.class_labels import class_order, class_text


@pytest.fixture
def table(tmp_path):
    """Write a CSV file beside three images; returns its path."""
    for name in ("a.jpg", "deep/b.png", "c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)

    def write(*lines, encoding="utf-8"):
        path = tmp_path / "images.csv"
        path.write_bytes("\n".join(lines).encode(encoding, "surrogateescape"))
        return path

    return write


def listed(source):
    return [
        (item.path, source.classes[item.label] if item.label >= 0 else None, item.set_name) for item in source.items
    ]


def refusal(path):
    with pytest.raises(UlfineError) as caught:
        open_source(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(path))


def test_tables__rows_in_their_order(table, tmp_path):
    source = open_source(table("path,label,split", "c.jpg,zebra,test", "a.jpg,,", "", "./deep//b.png, cat ,train"))
    assert source.classes == ["cat", "zebra"]
    assert listed(source) == [("c.jpg", "zebra", "test"), ("a.jpg", None, ""), ("deep/b.png", "cat", "train")]
    assert [source.read(item) for item in source.items] == [b"c.jpg", b"a.jpg", b"deep/b.png"]
    assert source.location == str(tmp_path / "images.csv")
    status = (tmp_path / "deep/b.png").stat()
    assert source.items[2][3:] == (status.st_size, status.st_mtime_ns)


def test_tables__only_path_is_needed(table):
    assert listed(open_source(table("path", "a.jpg"))) == [("a.jpg", None, "")]
    path = table("note,split,path", 'x,"val",a.jpg', '"1, 2",validation,c.jpg')
    source = open_source(path, SourceOptions(label_column="none"))
    assert listed(source) == [("a.jpg", None, "val"), ("c.jpg", None, "val")]
    assert source.account.notes == ["images.csv: paths in 'path', no labels, sets in 'split'; not read: 'note'"]


def test_tables__byte_order_mark_windows_lines_and_short_rows(table):
    source = open_source(table("\ufeffpath,label,split\r", "a.jpg,Käfer\r", "c.jpg\r"))
    assert listed(source) == [("a.jpg", "Käfer", ""), ("c.jpg", None, "")]


def test_tables__numbers_are_sorted_by_value(table):
    source = open_source(table("path,label", "a.jpg,10", "c.jpg,9", "deep/b.png,-1"))
    assert source.classes == ["9", "10"]
    assert listed(source) == [("a.jpg", "10", ""), ("c.jpg", "9", ""), ("deep/b.png", None, "")]


def test_class_order__numbers_first():
    assert class_order(["b", "10", "9", "a", "007", "7"]) == ["007", "7", "9", "10", "a", "b"]
    assert class_order(["1" * 5000, "2"]) == ["2", "1" * 5000]


@pytest.mark.parametrize("value", [True, 1.5, b"cat", ["cat"], float("inf"), "x" * 257, "a\nb", "\ud800"])
def test_class_text__refuses_what_is_no_name(value):
    with pytest.raises(ValueError, match="label"):
        class_text(value)


def test_tables__missing_and_unreadable_files_are_items(table, tmp_path):
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    path = table("path", "gone/x.jpg", "loop.jpg", "folder.jpg", "pipe.jpg", "deep", "a.jpg")
    source = open_source(path)
    reasons = []
    for item in source.items[:-1]:
        assert (item.size, item.mtime_ns) == (-1, -1)
        with pytest.raises(OSError) as caught:
            source.read(item)
        reasons.append(reason(caught.value))
    assert reasons == [
        "no such file or directory",
        "too many levels of symbolic links",
        "is a directory",
        "is a named pipe",
        "is a directory",
    ]
    before = listing_digest(source.items)
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "x.jpg").write_text("x")
    assert listing_digest(open_source(path).items) != before


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are text there")
def test_tables__names_that_are_not_utf8(table, tmp_path):
    name = os.fsdecode(b"\xe4.jpg")
    (tmp_path / name).write_bytes(b"x")
    source = open_source(table("path", name))
    assert source.items[0].path == name
    assert source.read(source.items[0]) == b"x"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], " has no column of paths among nothing: name it with --path-column (usual are path, label, set)"),
        (
            ["a.jpg,cat", "c.jpg,dog"],
            " has no column of paths among 'a.jpg', 'cat'; is its first line the header?: name it with --path-column "
            "(usual are path, label, set)",
        ),
        (["path,label,path", "a.jpg,1,a.jpg"], ": the column 'path' comes twice"),
        (["path,label"], " names no image: expected rows of path,label,set below the header"),
        (["path,label", "a.jpg,1", "", ",2"], ", line 4: no path"),
        (
            ["path,split", "a.jpg,later"],
            ", line 2: the set 'later' is none of train, val, test, and not empty: --set-column none leaves the column "
            "out",
        ),
        (["path,label", "a.jpg,1", "./a.jpg,1"], ", line 3: a.jpg comes a second time: leave one row for each image"),
        (
            ["path", "/etc/passwd"],
            ", line 2: /etc/passwd is absolute and not below FOLDER: say --root with the folder that it begins with, "
            "or write paths relative to it",
        ),
        (
            ["path", "deep/../../x.jpg"],
            ", line 2: deep/../../x.jpg leaves the table's folder: put the table into a folder that holds the images, "
            "or say --root and write paths relative to that",
        ),
        (["path,label", "a.jpg,cat, dog"], ", line 2: 3 fields under 2 columns: put text with ',' in quotes"),
        (["path,label", 'a.jpg,"cat'], ", line 2: no table: unexpected end of data"),
        (["path,label", "a.jpg," + "x" * 300], ", line 2: a label has at most 256 characters"),
        (["path,label", 'a.jpg,"a\nb"'], ", line 3: a label has one line and no control characters"),
    ],
)
def test_tables__refuses_a_line(table, lines, message, tmp_path):
    assert refusal(table(*lines)) == message.replace("FOLDER", str(tmp_path))


def test_tables__refuses_other_encodings_of_labels(table):
    assert (
        refusal(table("path,label", "a.jpg,Käfer", encoding="latin-1"))
        == ", line 2: a label is UTF-8 text: save the table as UTF-8"
    )


def test_tables__refuses_links_out_of_its_folder(table, tmp_path, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "file.jpg").symlink_to(outside / "secret.jpg")
    (tmp_path / "folder").symlink_to(outside)
    (tmp_path / "dangling.jpg").symlink_to(outside / "not there yet")
    for name in ("file.jpg", "folder/secret.jpg", "folder/missing.jpg", "dangling.jpg"):
        assert f"line 3: {name} is reached by a link that leaves {tmp_path}" in refusal(table("path", "a.jpg", name))
    # Links inside the folder are fine, and so is a table that is reached by one.
    (tmp_path / "inside.jpg").symlink_to("a.jpg")
    (tmp_path / "near").symlink_to("deep")
    table("path", "inside.jpg", "near/b.png")
    (outside / "link").symlink_to(tmp_path)
    source = open_source(outside / "link" / "images.csv")
    assert [source.read(item) for item in source.items] == [b"a.jpg", b"deep/b.png"]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (pa.array([3, None, 3]), ["3", None, "3"]),
        (pa.array([3.0, float("nan"), -1.0]), ["3", None, None]),
        (pa.array(["cat", "", None]), ["cat", None, None]),
        (pa.array(["cat", "dog", "cat"]).dictionary_encode(), ["cat", "dog", "cat"]),
        (pa.nulls(3), [None, None, None]),
    ],
)
def test_tables__parquet(table, tmp_path, labels, names):
    table()
    paths = pa.array(["c.jpg", "a.jpg", "deep/b.png"], pa.large_string())
    columns = {"extra": pa.nulls(3), "split": pa.array(["train", None, ""]), "label": labels, "path": paths}
    parquet.write_table(pa.table(columns), tmp_path / "images.parquet")
    assert listed(open_source(tmp_path / "images.parquet")) == [
        ("c.jpg", names[0], "train"),
        ("a.jpg", names[1], ""),
        ("deep/b.png", names[2], ""),
    ]


def test_tables__parquet_refusals(tmp_path):
    path = tmp_path / "images.parquet"
    path.write_bytes(b"no parquet")
    assert refusal(path).startswith("cannot read")
    parquet.write_table(pa.table({"label": ["cat"]}), path)
    assert (
        refusal(path)
        == " has no column of paths among 'label': name it with --path-column (usual are path, label, set)"
    )
    parquet.write_table(pa.table({"path": ["a.jpg", None]}), path)
    assert refusal(path) == ", row 2: no path"
    parquet.write_table(pa.table({"path": ["a.jpg", "b.jpg"], "label": [0.0, 0.5]}), path)
    assert refusal(path) == ", row 2: a label is a class name or a whole number"
    parquet.write_table(pa.table({"path": pa.array([], pa.string())}), path)
    assert "names no image" in refusal(path)


def test_tables__parquet_needs_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "images.parquet").write_bytes(b"")
    with pytest.raises(UlfineError, match=r"needs pyarrow: pip install 'ulfine-fast\[parquet\]'"):
        open_source(tmp_path / "images.parquet")
