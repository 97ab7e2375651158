"""Cameras, sites and batches: the column that says them, in every kind of table."""

import copy
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.open_source import open_source
from ulfine_cache.sources.source import SourceItem, listing_digest
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.sources.words.group_names import group_name

JPEG = b"\xff\xd8\xff"
CAMERA = SourceOptions(group_column="camera")


@pytest.fixture
def root(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(JPEG)
    return tmp_path


def groups(source):
    return {item.path: item.group for item in source.items}


EXPECTED = {"a.jpg": "north", "b.jpg": "7", "c.jpg": ""}


def write_table(root, kind):
    rows = [("a.jpg", "cat", "north"), ("b.jpg", "dog", "7"), ("c.jpg", "cat", None)]
    path = root / f"table.{kind}"
    if kind in ("csv", "tsv"):
        mark = "," if kind == "csv" else "\t"
        lines = [mark.join(["path", "label", "camera"]), *(mark.join(cell or "" for cell in row) for row in rows)]
        path.write_text("\n".join(lines))
    elif kind == "jsonl":
        named = [dict(zip(("path", "label", "camera"), row, strict=True)) for row in rows]
        path.write_text("\n".join(map(json.dumps, named)))
    elif kind == "parquet":
        columns = zip(*rows, strict=True)
        parquet.write_table(pa.table(dict(zip(("path", "label", "camera"), map(list, columns), strict=True))), path)
    else:
        images = [
            {"id": k, "file_name": name, **({"camera": of} if of else {})} for k, (name, _, of) in enumerate(rows)
        ]
        named = [{"id": k, "name": name} for k, name in enumerate(("cat", "dog"))]
        found = [{"id": k, "image_id": k, "category_id": k % 2} for k in range(3)]
        path.write_text(json.dumps({"images": images, "annotations": found, "categories": named}))
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "json"])
def test_groups__of_every_kind_of_table(root, kind):
    source = open_source(write_table(root, kind), CAMERA)
    assert groups(source) == EXPECTED
    assert any("groups in 'camera'" in note for note in source.account.notes)
    assert set(groups(open_source(root / f"table.{kind}")).values()) == {""}  # unless they are asked for


def test_groups__of_a_table_beside_the_images(root):
    write_table(root, "csv")
    assert groups(open_source(root, CAMERA)) == EXPECTED


def test_groups__of_images_in_a_column(tmp_path):
    table = pa.table({"image": [JPEG, JPEG + b"1"], "label": ["cat", "dog"], "group": [3.0, None]})
    parquet.write_table(table, tmp_path / "t.parquet")
    source = open_source(tmp_path / "t.parquet")
    assert list(groups(source).values()) == ["3", ""]
    assert source.account.notes == ["images in the column 'image', labels in 'label', groups in 'group'"]


def test_groups__a_column_that_is_called_so_is_found_and_can_be_left_out(root):
    path = root / "t.csv"
    path.write_text("path,label,Group\na.jpg,cat,x\nb.jpg,dog,y\nc.jpg,dog,y\n")
    assert list(groups(open_source(path)).values()) == ["x", "y", "y"]
    assert set(groups(open_source(path, SourceOptions(group_column="none"))).values()) == {""}
    with pytest.raises(UlfineError, match="no column 'site': --group-column takes one of"):
        open_source(path, SourceOptions(group_column="site"))


def test_listing_digest__counts_groups_and_nothing_else_than_before_without():
    item = SourceItem("a.jpg", 0, "", 3, 5)
    assert len({listing_digest([each]) for each in (item, item.of_group("x"), item.of_group("y"))}) == 3
    assert item.of_group("") is item
    assert tuple(item.of_group("x")) == tuple(item)
    assert copy.copy(item.of_group("x")).group == "x"


@pytest.mark.parametrize(("cell", "name"), [(3, "3"), (3.5, "3.5"), (" a b ", "a b"), ("", ""), (float("nan"), "")])
def test_group_name__of_cells(cell, name):
    assert group_name(cell) == name
