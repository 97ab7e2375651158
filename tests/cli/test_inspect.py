"""`ulfine inspect` from photographs to a table and a page."""

import csv
import json
import shutil

import pytest


@pytest.fixture(scope="module")
def twice(photographs, ulfine, tmp_path_factory):
    """A cache of the photographs, one of which lies among the test images as well."""
    folder = tmp_path_factory.mktemp("twice")
    shutil.copytree(photographs, folder / "sorted")
    shutil.rmtree(folder / "sorted" / "train" / "unlabelled")
    shutil.copy(folder / "sorted" / "train" / "circle" / "00.png", folder / "sorted" / "test" / "circle" / "again.png")
    ulfine(
        "cache-features", folder / "sorted", "--out", folder / "cache", "--model", "builtin:tiny", "--quiet"
    ).succeeded()
    return folder


def test_inspect__names_the_leak_in_a_table_and_on_a_page(twice, ulfine_here):
    done = ulfine_here(
        "inspect", twice / "cache", "--what", "duplicates", "--out", twice / "pairs.csv",
        "--gallery", twice / "pairs.html", "--json", twice / "figures.json",
    ).succeeded()  # fmt: skip
    assert "1 of the same file" in done.out
    with (twice / "pairs.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert first["kind"] == "exact" and first["leak"] == "yes"
    assert first["duplicate"].endswith("again.png")
    figures = json.loads((twice / "figures.json").read_text())
    assert figures["figures"]["leaks"] >= 1
    assert figures["figures"]["exact"] == 1
    assert (twice / "pairs.html").read_text().startswith("<!doctype html>")


def test_inspect__fit_warns_of_the_same_leak(twice, ulfine_here):
    done = ulfine_here("fit", twice / "cache", "--out", twice / "run", "--method", "gda", "--no-report").succeeded()
    assert "1 test image is also among the training images" in done.err


def test_inspect__label_errors_as_a_table(twice, ulfine_here):
    done = ulfine_here("inspect", twice / "cache", "--what", "label-errors", "--out", twice / "e.csv").succeeded()
    assert "suspected" in done.out
    with (twice / "e.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["score"]) for line in lines] == sorted(float(line["score"]) for line in lines)


def test_inspect__without_a_question_is_wrong_usage(twice, ulfine_here):
    done = ulfine_here("inspect", twice / "cache")
    assert done.exit_code == 2


def test_inspect__needs_unlabelled_rows(twice, ulfine_here):
    line = ulfine_here("inspect", twice / "cache", "--what", "outliers").failed(1)
    assert "has no unlabelled rows" in line and "--split" in line
