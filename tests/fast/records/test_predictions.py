import builtins
import csv
import subprocess
import sys

import numpy as np
import pytest
from pyarrow import parquet

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_fast.records.predictions import write_predictions

NAMES = ["ash", 'bir"ch, white', "label"]
PATHS = ["ash/1.jpg", "naïve, 2.jpg"]
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], dtype=np.float32)


def test_write_predictions__csv(tmp_path):
    target = tmp_path / "made" / "predictions.csv"
    write_predictions(target, paths=PATHS, probabilities=PROBABILITIES, class_names=NAMES)
    with target.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "label", "confidence", "ash", 'bir"ch, white', "class label"]
    assert [row[:2] for row in rows[1:]] == [["ash/1.jpg", "ash"], ["naïve, 2.jpg", "label"]]
    assert [float(row[2]) for row in rows[1:]] == pytest.approx([0.7, 0.6])
    assert np.array([row[3:] for row in rows[1:]], dtype=np.float32) == pytest.approx(PROBABILITIES)
    assert [path.name for path in target.parent.iterdir()] == ["predictions.csv"]


def test_write_predictions__parquet(tmp_path):
    target = tmp_path / "predictions.parquet"
    write_predictions(target, paths=PATHS, probabilities=PROBABILITIES, class_names=NAMES)
    table = parquet.read_table(target).to_pydict()
    assert list(table) == ["path", "label", "confidence", "ash", 'bir"ch, white', "class label"]
    assert table["path"] == PATHS
    assert table["label"] == ["ash", "label"]
    assert table["class label"] == pytest.approx([0.1, 0.6])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_write_predictions__no_rows(tmp_path, suffix):
    target = tmp_path / f"none{suffix}"
    write_predictions(target, paths=[], probabilities=np.empty((0, 3), np.float32), class_names=NAMES)
    if suffix == ".csv":
        assert len(target.read_text().splitlines()) == 1
    else:
        assert parquet.read_table(target).num_rows == 0


def test_write_predictions__csv_keeps_names_that_are_not_utf8(tmp_path):
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    for suffix in (".csv", ".parquet"):
        write_predictions(
            tmp_path / f"p{suffix}", paths=[name], probabilities=np.array([[0.9, 0.1]]), class_names=["a", "b"]
        )
    assert b"caf\xe9.jpg" in (tmp_path / "p.csv").read_bytes()
    assert parquet.read_table(tmp_path / "p.parquet").to_pydict()["path"] == [r"caf\xe9.jpg"]


def test_write_predictions__other_suffix(tmp_path):
    with pytest.raises(UsageError, match=r"must end in \.csv or \.parquet"):
        write_predictions(tmp_path / "p.xlsx", paths=PATHS, probabilities=PROBABILITIES, class_names=NAMES)


def test_write_predictions__parquet_without_pyarrow(tmp_path, monkeypatch):
    real = builtins.__import__

    def without_pyarrow(name, *rest, **options):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without_pyarrow)
    with pytest.raises(UlfineError, match=r"pip install 'ulfine-fast\[parquet\]'"):
        write_predictions(tmp_path / "p.parquet", paths=PATHS, probabilities=PROBABILITIES, class_names=NAMES)


def test_write_predictions__unwritable_target(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UlfineError, match="file"):
        write_predictions(tmp_path / "file" / "p.csv", paths=PATHS, probabilities=PROBABILITIES, class_names=NAMES)


def test_import__needs_no_torch():
    code = "import sys, ulfine_fast.records.predictions, ulfine_fast.judging.metrics; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_write_predictions__no_two_columns_of_one_name(tmp_path, suffix):
    names = ["path", "class path", "label", "class class path", "=1", "\udce9"]
    path = tmp_path / f"p{suffix}"
    write_predictions(path, paths=["-a", "b\ud800"], probabilities=np.full((2, 6), 1 / 6), class_names=names)
    if suffix == ".csv":
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            header, first, second = csv.reader(file)
        assert header[-2:] == ["'=1", "\udce9"]
        assert (first[0], second[0]) == ("'-a", "b\\ud800")
    else:
        table = parquet.read_table(path)
        header = table.column_names
        assert header[-2:] == ["=1", "\\xe9"]
        assert table["path"].to_pylist() == ["-a", "b\\ud800"]
    assert len(set(header)) == 9
