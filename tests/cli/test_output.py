import io

import pytest

from ulfine_cli.metrics_table import show_metrics
from ulfine_cli.output import Output, percent, text


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_table__plain_when_piped():
    stream = io.StringIO()
    Output(stream).table(["method", "macro"], [["lp", "95.0"], ["ulfine", "100.0"]])
    assert stream.getvalue() == "method  macro\nlp       95.0\nulfine  100.0\n"


def test_table__rich_on_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    Output(stream).table(["class", "labelled"], [["[bold]oak", "3"]])
    shown = stream.getvalue()
    assert "─" in shown
    assert "[bold]oak" in shown  # class names are data, not markup


def test_pairs__names_in_words():
    stream = io.StringIO()
    Output(stream).pairs({"rows": 12, "class_names": ["a", "b"], "index": None})
    assert stream.getvalue() == "rows         12\nclass names  a, b\nindex        -\n"


def test_pairs__nested_values_and_accuracies():
    stream = io.StringIO()
    Output(stream).pairs({"parity": {"rows": 3}, "tail_accuracy": 0.756, "few_accuracy": None})
    assert stream.getvalue() == "parity: rows   3\ntail accuracy  75.6 %\nfew accuracy   -\n"


@pytest.mark.parametrize(("fraction", "shown"), [(0.9567, "95.7"), (1.0, "100.0"), (None, "-"), (float("nan"), "-")])
def test_percent__one_decimal(fraction, shown):
    assert percent(fraction) == shown


def test_text__long_lists_are_cut():
    assert text(list(range(100))).endswith("11, ... and 88 more")
    assert text({"a": True, "b": 0.123456}) == "a yes, b 0.1235"


def test_show_metrics__percent_and_only_what_is_there():
    stream = io.StringIO()
    show_metrics({"macro_accuracy": 0.5, "tail_accuracy": 0.25, "few_accuracy": None, "ece": 0.04321}, Output(stream))
    assert stream.getvalue().splitlines()[0].split() == ["macro", "tail", "ece"]
    assert stream.getvalue().splitlines()[1].split() == ["50.0", "25.0", "0.04321"]
