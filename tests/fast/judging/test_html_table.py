"""What notebooks show of a run and of a comparison."""

import re
from xml.etree import ElementTree

from ulfine_fast.compare import compare
from ulfine_fast.fitting import fit
from ulfine_fast.judging.html_table import html_table


def cells(html):
    return [[cell.text for cell in row] for row in ElementTree.fromstring(html).iter("tr")]


def test_table__names_are_text():
    html = html_table("<b>\x1b", ["a&b"], [["<script>alert(1)</script>"]])
    assert cells(html) == [["a&b"], ["<script>alert(1)</script>"]]
    assert ElementTree.fromstring(html).find("caption").text == r"<b>\x1b"


def test_run__shows_its_accuracies(text_cache, tmp_path):
    run = fit(cache=text_cache, out=tmp_path / "run", split="lt", method="zero-shot")
    names, values = cells(run._repr_html_())
    shown = dict(zip(names, values, strict=True))
    assert shown["macro"] == f"{100 * run.metrics['macro_accuracy']:.1f}"
    assert list(shown) == ["accuracy", "macro", "head", "medium", "tail"]


def test_comparison__is_a_dict_that_shows_its_methods(text_cache):
    figures = compare(cache=text_cache, split="lt", methods="zero-shot,lp", seeds=2)
    assert isinstance(figures, dict)
    head, first, second = cells(figures._repr_html_())
    assert head == ["method", "macro", "head", "medium", "tail", "macro - zero-shot"]
    assert (first[0], first[-1], second[0]) == ("zero-shot", "–", "lp")
    difference = figures["methods"][1]["difference"]
    assert second[-1] == f"{100 * difference['mean']:.1f} ± {100 * difference['stderr']:.1f}"
    assert re.fullmatch(r"\d+\.\d ± \d+\.\d", second[1])
