"""Images in columns of Parquet and Arrow files, in the form that `datasets` gives them (tried with datasets 5.2)."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.arrays.column_rows import ParquetRows
from ulfine_cache.sources.open_source import open_source
from ulfine_cache.sources.source_options import SourceOptions

JPEG = b"\xff\xd8\xff"
NAMES = ["cat", "dog", "never seen"]


def huggingface(names, label="label", image="image"):
    """The schema's metadata as `datasets` writes it."""
    features = {image: {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def table(rows, *, label="label", image="image", paths=True, **extra):
    """Rows of (bytes, path, label) as a table of `datasets`."""
    cells = [{"bytes": data, "path": path} if paths else {"bytes": data} for data, path, _ in rows]
    kind = pa.struct([("bytes", pa.binary()), *([("path", pa.string())] if paths else [])])
    columns = {image: pa.array(cells, kind), label: pa.array([number for *_, number in rows], pa.int64()), **extra}
    return pa.table(columns).replace_schema_metadata(huggingface(NAMES, label, image))


def rows(count, start=0):
    return [(JPEG + str(number).encode(), f"{number}.jpg", number % 2) for number in range(start, start + count)]


def listed(source):
    names = [*source.classes, None]
    return {item.path: (names[item.label], item.set_name) for item in source.items}


def test_parquet__the_files_of_a_hub_repository(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "README.md").write_text("")
    for name, part in (
        ("train-00000-of-00002", rows(3)),
        ("train-00001-of-00002", rows(2, 3)),
        ("validation-00000-of-00001", [*rows(1, 5), (JPEG, None, -1), (None, None, 1)]),
    ):
        parquet.write_table(table(part), tmp_path / "data" / f"{name}.parquet", row_group_size=2)
    source = open_source(tmp_path)
    assert listed(source) == {
        "data/train-00000-of-00002.parquet/0000000-0.jpg": ("cat", "train"),
        "data/train-00000-of-00002.parquet/0000001-1.jpg": ("dog", "train"),
        "data/train-00000-of-00002.parquet/0000002-2.jpg": ("cat", "train"),
        "data/train-00001-of-00002.parquet/0000000-3.jpg": ("dog", "train"),
        "data/train-00001-of-00002.parquet/0000001-4.jpg": ("cat", "train"),
        "data/validation-00000-of-00001.parquet/0000000-5.jpg": ("dog", "val"),
        "data/validation-00000-of-00001.parquet/0000001": (None, "val"),
        "data/validation-00000-of-00001.parquet/0000002": ("dog", "val"),
    }
    assert [source.read(item) for item in source.items[:6]] == [data for data, *_ in rows(6)]
    with pytest.raises(OSError, match="its row holds no bytes of an image"):
        source.read(source.items[-1])
    assert source.account.ignored == {".md": 1}
    # A pattern and a single file are the same files.
    assert len(open_source(tmp_path / "data" / "train-*.parquet").items) == 5
    assert listed(open_source(tmp_path / "data/validation-00000-of-00001.parquet"))[
        "validation-00000-of-00001.parquet/0000000-5.jpg"
    ] == ("dog", "val")


def test_parquet__columns_of_other_names(tmp_path):
    path = tmp_path / "x.parquet"
    parquet.write_table(table(rows(2), label="fine_label", image="img", coarse=pa.array([7, 7])), path)
    source = open_source(path)
    assert source.classes == ["cat", "dog"]
    assert source.account.notes == ["images in the column 'img', labels in 'fine_label'; not read: 'coarse'"]
    assert open_source(path, SourceOptions(label_column="coarse")).classes == ["7"]
    # Bytes without a struct and without a schema of `datasets`.
    parquet.write_table(pa.table({"pixels": [JPEG, JPEG], "breed": ["a", "b"]}), path)
    with pytest.raises(UlfineError, match=r"name it with --label-column, one of 'breed'"):
        open_source(path)
    source = open_source(path, SourceOptions(label_column="breed"))
    assert (source.classes, source.read(source.items[1])) == (["a", "b"], JPEG)


def test_parquet__images_that_were_not_embedded(tmp_path):
    # `Dataset.to_parquet` leaves the files where they are, and names them absolutely.
    (tmp_path / "photos").mkdir()
    for data, path, _ in rows(2):
        (tmp_path / "photos" / path).write_bytes(data)
    outside = [(None, str(tmp_path / "photos" / path), number) for _, path, number in rows(2)]
    parquet.write_table(table(outside), tmp_path / "train.parquet")
    source = open_source(tmp_path / "train.parquet")
    assert listed(source) == {"photos/0.jpg": ("cat", ""), "photos/1.jpg": ("dog", "")}
    (tmp_path / "deep").mkdir()
    (tmp_path / "train.parquet").rename(tmp_path / "deep" / "train.parquet")
    with pytest.raises(UlfineError, match="say --root with the folder that it begins with"):
        open_source(tmp_path / "deep" / "train.parquet")
    found = open_source(tmp_path / "deep" / "train.parquet", SourceOptions(root=tmp_path))
    assert found.read(found.items[1]) == JPEG + b"1"


def test_arrow__what_save_to_disk_leaves(tmp_path):
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    for name, part in (("train", rows(3)), ("test", rows(2, 3))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.json").write_text("{}")
        whole = table(part)
        with ipc.new_stream(tmp_path / name / "data-00000-of-00001.arrow", whole.schema) as writer:
            writer.write_table(whole, max_chunksize=2)
    source = open_source(tmp_path)
    assert list(listed(source).values()) == [
        *[("dog", "test"), ("cat", "test")],
        *[("cat", "train"), ("dog", "train"), ("cat", "train")],
    ]
    assert source.read(source.items[1]) == JPEG + b"4"
    assert source.account.ignored == {".json": 3}


def test_parquet__several_classes_and_unknown_sets(tmp_path):
    path = tmp_path / "x.parquet"
    columns = {"image": [JPEG] * 3, "label": [["cat"], ["cat", "dog"], []], "set": ["training", None, "test"]}
    parquet.write_table(pa.table(columns), path)
    source = open_source(path)
    assert list(listed(source).values()) == [("cat", "train"), (None, ""), (None, "test")]
    with pytest.raises(OSError, match="has several classes: cat, dog"):
        source.read(source.items[1])
    parquet.write_table(pa.table({"image": [JPEG], "label": ["cat"], "set": ["later"]}), path)
    with pytest.raises(UlfineError, match=r"row 1: the set 'later' is none of train, val, test: see --set-column"):
        open_source(path)


def test_parquet__notices_changes(tmp_path):
    path = tmp_path / "x.parquet"
    parquet.write_table(table(rows(3)), path)
    source = open_source(path)
    parquet.write_table(table(rows(4)), path)
    with pytest.raises(OSError, match="its file has changed since it was listed"):
        source.read(source.items[0])


@pytest.mark.parametrize("group", [7, 100, 1000])
def test_rows__from_many_threads_in_any_order(tmp_path, monkeypatch, group):
    monkeypatch.setattr("ulfine_cache.sources.arrays.column_rows._BATCH_BYTES", 3000)
    monkeypatch.setattr("ulfine_cache.sources.arrays.column_rows._KEPT_BYTES", 9000)
    generator = np.random.default_rng(0)
    contents = [generator.bytes(300) for _ in range(500)]
    parquet.write_table(pa.table({"image": contents}), tmp_path / "x.parquet", row_group_size=group)
    column = ParquetRows(str(tmp_path / "x.parquet"), "image")
    wanted = [*range(500), *map(int, generator.integers(0, 500, 60))]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(column.row, wanted)) == [contents[number] for number in wanted]
