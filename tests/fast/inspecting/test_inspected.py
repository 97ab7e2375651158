"""The table says the same as CSV and as Parquet, and no cell is a formula."""

import csv
from pathlib import Path

import pytest

from ulfine_fast.inspecting.inspected import Finding, write_findings

FINDINGS = [
    Finding(0, -1.5, "=cmd", {"label": "-x", "sure": 0.25, "suspected": True}),
    Finding(1, float("nan"), "", {"label": "a,b", "sure": float("nan"), "suspected": False}),
]


def test_write_findings__csv_guards_names_and_leaves_figures(tmp_path: Path):
    write_findings(tmp_path / "t.csv", FINDINGS, ("label", "sure", "suspected"), ["+a.jpg", "b.jpg"])
    with (tmp_path / "t.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines == [
        ["path", "score", "suggestion", "label", "sure", "suspected"],
        ["'+a.jpg", "-1.5", "'=cmd", "'-x", "0.25", "yes"],
        ["b.jpg", "", "", "a,b", "", "no"],
    ]


def test_write_findings__parquet_has_types(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_findings(tmp_path / "t.parquet", FINDINGS, ("label", "sure", "suspected"), ["a.jpg", "b.jpg"])
    table = parquet.read_table(tmp_path / "t.parquet").to_pydict()
    assert table["path"] == ["a.jpg", "b.jpg"]
    assert table["score"][0] == -1.5
    assert table["suspected"] == [True, False]


def test_write_findings__an_empty_table_has_its_header(tmp_path: Path):
    write_findings(tmp_path / "t.csv", [], ("label",), [])
    assert (tmp_path / "t.csv").read_text() == "path,score,suggestion,label\n"
