"""Tables: what stands in them, what is bold, and names that could break them."""

import csv
import re
import shutil

import pytest

from ulfine_cache.errors import UsageError
from ulfine_cache.splits import make_split
from ulfine_fast.bench.paper_table import latex, markdown, write_table
from ulfine_fast.bench.summary import add_tests, summary
from ulfine_fast.compare import compare
from ulfine_fast.judging.metrics import SCALARS


def entry(macro, **more):
    figures = dict.fromkeys(SCALARS, None) | {"macro_accuracy": macro, "seconds": 1.0, "pseudo_labels": None}
    return figures | {"ece": 0.1 - macro / 20} | more


def made(names=("one", "two", "three")):
    values = {0: [0.9, 0.92], 1: [0.95, 0.93], 2: [0.94, 0.94]}
    methods = [summary(name, [entry(value) for value in values[place]], values[0]) for place, name in enumerate(names)]
    add_tests(methods)
    return {"split": "lt", "seeds": [0, 1], "methods": methods}


def test_latex__figures_bold_and_test():
    text = latex({"lt": made()})
    lines = text.splitlines()
    assert r"Method & Macro & ECE & $\Delta$ Macro & p \\" in lines
    # Both means are 94.0, and lower calibration errors are better.
    assert r"two & \textbf{94.0 $\pm$ 1.4} & \textbf{5.3 $\pm$ 0.1} & +3.0 $\pm$ 2.0 & 1.000 \\" in lines
    assert r"three & \textbf{94.0 $\pm$ 0.0} & \textbf{5.3 $\pm$ 0.0} & +3.0 $\pm$ 1.0 & 1.000 \\" in lines
    assert r"one & 91.0 $\pm$ 1.4 & 5.5 $\pm$ 0.1 & -- & -- \\" in lines
    assert "standard deviation" in text and "standard error" in text and "paired permutation test" in text
    columns = re.search(r"begin\{tabular\}\{(l r*|lr*)\}", text)[1]
    assert all(line.count(" & ") == len(columns) - 1 for line in lines if line.endswith(r"\\"))


def test_latex__names_are_escaped_in_several_blocks():
    text = latex({"a_1": made(("50%_&$#", "b{}~^\\", "c<d>")), "b_2": made(("x", "y", "z"))})
    assert r"50\%\_\&\$\# & " in text
    assert r"b\{\}\textasciitilde{}\textasciicircum{}\textbackslash{} & " in text
    assert r"c\textless{}d\textgreater{} & " in text
    assert r"\multicolumn{5}{l}{\textit{a\_1}} \\" in text
    assert all(line.startswith("%") for line in text.splitlines()[:3])


def test_markdown__cells():
    text = markdown({"lt": made(("a|b", "*c*", "d"))})
    assert r"| a\|b | 91.0 ± 1.4 |" in text
    assert r"| \*c\* | **94.0 ± 1.4** |" in text
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")}) == 1


def test_one_method_and_one_draw():
    methods = [summary("lp", [entry(0.5)], [0.5])]
    add_tests(methods)
    text = latex({"lt": {"split": "lt", "seeds": [0], "methods": methods}})
    assert r"lp & 50.0 & 7.5 \\" in text
    assert "textbf" not in text.replace("in bold", "")


def test_csv__every_digit(tmp_path):
    write_table(tmp_path / "t.csv", {"lt": made(("=1+1", "b", "c"))})
    first, second, _ = csv.DictReader((tmp_path / "t.csv").read_text("utf-8").splitlines())
    assert first["method"] == "'=1+1"
    assert float(second["macro_accuracy_mean"]) == pytest.approx(0.94)
    assert float(second["difference_stderr"]) == pytest.approx(0.02)
    assert (first["p"], first["many_accuracy_mean"]) == ("", "")


def test_compare__writes_them_for_several_splits(text_cache, tmp_path):
    text_cache = shutil.copytree(text_cache, tmp_path / "cache")
    make_split(cache=text_cache, name="lt-few", labelled_max=10, imbalance=5.0, test_per_class=10)
    files = [tmp_path / "new" / f"t.{suffix}" for suffix in ("tex", "md", "csv")]
    figures = compare(cache=text_cache, split="lt,lt-few", methods="knn,zero-shot", seeds=2, table=files)
    assert list(figures["tasks"]) == ["lt", "lt-few"]
    assert figures["tables"] == [str(path) for path in files]
    assert figures["tasks"]["lt"]["methods"][1]["test"]["p"] in (0.5, 1.0)
    assert r"\textit{lt-few}" in files[0].read_text("utf-8")
    assert "**lt-few**" in files[1].read_text("utf-8")
    assert "<table>" in figures._repr_html_()
    with pytest.raises(UsageError, match=r"ends in \.tex, \.md or \.csv"):
        compare(cache=text_cache, split="lt", methods="knn", table=[tmp_path / "t.doc"])
    with pytest.raises(UsageError, match="named twice"):
        compare(cache=text_cache, split="lt,lt", methods="knn")
