"""CSV files that no spreadsheet runs, and that are read back as they were."""

import csv
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ulfine_cache.names.csv_cells import csv_lines, from_cell, to_cell
from ulfine_cache.sources.tables.csv_table import CsvTable

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "''-x", "＝1", "=cmd|' /C calc'!A0"]
TEXTS = ["a.jpg", "'quoted'", "'", "''", "a=1", "été", "caf\udce9", "a,b", 'a"b', "a\nb"]


@pytest.mark.parametrize("name", FORMULAS + TEXTS)
def test_csv_lines__read_back_by_this_project_and_by_others(tmp_path, name):
    path = tmp_path / "t.csv"
    with csv_lines(path) as write:
        write(["path", name], ["p"])
        write([name, name], [-0.5])
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.reader(file))
    assert rows[1][2] == "-0.5"
    for cell in (*rows[0], *rows[1][:2]):
        assert not re.match("[=+\\-@\t\r\n＝＋－＠]", cell)
    assert from_cell(rows[1][0]) == name
    if name == name.strip():
        table = CsvTable("t.csv", lambda: path.open("rb"))
        assert table.columns[1] == name
        assert [row.cells for row in table.rows(["path"])] == [[name]]


@given(st.text(st.sampled_from("'=+-@\ta "), max_size=6))
@example("'=1")
def test_to_cell__and_back(name):
    assert from_cell(to_cell(name)) == name


def test_to_cell__a_surrogate_that_is_no_byte():
    assert to_cell("a\ud800") == "a\\ud800"
