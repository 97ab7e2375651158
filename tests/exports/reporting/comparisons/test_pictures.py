"""Pictures of comparisons as files: real files, the same bytes, and curves only where one parameter differs."""

import json

import pytest

pytest.importorskip("matplotlib")

from PIL import Image

from ulfine_cache.errors import UlfineError
from ulfine_exports.report import report
from ulfine_exports.reporting.comparisons.comparison import comparison_of
from ulfine_exports.reporting.comparisons.curves import find_curves
from ulfine_exports.reporting.written import write_bench

BEGINNINGS = {".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG"}


def figures(*names, **protocol):
    methods = [
        {"method": name, "macro_accuracy": {"mean": 0.5, "std": 0.1, "per_seed": [0.4 + place / 50, 0.6]}}
        for place, name in enumerate(names)
    ]
    return {"split": "lt", "protocol": protocol, "seeds": [0, 1], "methods": methods}


@pytest.mark.parametrize("suffix", BEGINNINGS)
def test_ranks__as_a_file(tmp_path, suffix):
    (tmp_path / "comparison.json").write_text(json.dumps(figures("a", "$b_1$", "<c>", "日本")))
    for target, name in ((tmp_path, "one"), (tmp_path / "comparison.json", "two")):
        assert report(target=target, out=tmp_path / f"{name}{suffix}")["bytes"] > 1000
    content = (tmp_path / f"one{suffix}").read_bytes()
    assert content.startswith(BEGINNINGS[suffix])
    assert content == (tmp_path / f"two{suffix}").read_bytes()
    if suffix == ".png":
        with Image.open(tmp_path / "one.png") as picture:
            assert picture.width > 1000


def test_ranks__of_one_method(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps(figures("a")))
    with pytest.raises(UlfineError, match="fewer than two methods"):
        report(target=tmp_path / "c.json", out=tmp_path / "r.svg")
    assert not (tmp_path / "r.svg").exists()


def test_curves__where_one_parameter_differs(tmp_path):
    several = {
        f"{most}-{gamma}": figures("a", "b", labelled_max=most, imbalance=gamma, ranks="permutation")
        for most, gamma in ((8, 4), (16, 4), (32, 4), (8, 10), (16, 10), (8, 20))
    }
    found = find_curves(comparison_of({"tasks": several}, tmp_path))
    assert [(curve.name, [value for value, _ in curve.points]) for curve in found] == [
        ("labelled_max", [8, 16, 32]),
        ("labelled_max-2", [8, 16]),
        ("imbalance", [4, 10, 20]),
        ("imbalance-2", [4, 10]),
    ]
    assert found[0].fixed == "imbalance=4"
    files = write_bench(tmp_path / "b", {"tasks": several})
    names = {path.name for path in files}
    assert {"report.html", "ranks.svg", "ranks.pdf", "curve-labelled_max.svg", "curve-imbalance-2.pdf"} <= names
    assert all(path.stat().st_size for path in files)


def test_curves__none_where_more_differs(tmp_path):
    several = {"a": figures("m", labelled_max=8, imbalance=1), "b": figures("m", labelled_max=9, imbalance=2)}
    assert find_curves(comparison_of({"tasks": several}, tmp_path)) == []
