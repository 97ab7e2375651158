"""The figures of comparisons as a table for a paper: LaTeX, Markdown, or CSV with every digit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ulfine_cache.atomic import make_directory, replacing
from ulfine_cache.errors import UsageError
from ulfine_cache.names.csv_cells import csv_lines
from ulfine_cache.names.written import shown
from ulfine_cache.wording.counts import amount
from ulfine_fast.judging.metrics import SCALARS

_COLUMNS = {
    "macro_accuracy": "Macro",
    "head_accuracy": "Head",
    "medium_accuracy": "Medium",
    "tail_accuracy": "Tail",
    "many_accuracy": "Many",
    "median_accuracy": "Median",
    "few_accuracy": "Few",
    "ece": "ECE",
}
_LESS_IS_BETTER = {"ece"}

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "–": "--",
    "Δ": r"$\Delta$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~&$])")


@dataclass(frozen=True)
class _Cell:
    text: str
    best: bool = False


def write_table(path: Path, comparisons: Mapping[str, dict[str, Any]]) -> None:
    """Write a table, complete or not at all.

    Args:
        path: Its suffix says what it is: ``.tex``, ``.md`` or ``.csv``.
        comparisons: Of `ulfine_fast.compare.compare` by the name of the split, with their tests.

    Raises:
        UsageError: It is none of these; see `check_table`.
        UlfineError: The file cannot be written.
    """
    check_table(path)
    make_directory(path.parent)
    with replacing(path) as partial:
        if path.suffix == ".csv":
            _write_csv(partial, comparisons)
        else:
            text = latex(comparisons) if path.suffix == ".tex" else markdown(comparisons)
            partial.write_text(text, encoding="utf-8")


def check_table(path: Path) -> None:
    """Refuse a table of another kind, before anything is computed.

    Raises:
        UsageError: The suffix is not one of three.
    """
    if path.suffix not in (".tex", ".md", ".csv"):
        raise UsageError(f"table={str(path)!r} cannot be used: name a file that ends in .tex, .md or .csv")


def latex(comparisons: Mapping[str, dict[str, Any]]) -> str:
    """A `tabular` of the package booktabs, with a comment that says what its numbers are."""
    names = _columns(comparisons)
    heads = [*_headings(names), *_test_headings(comparisons)]
    lines = [f"% {line}" for line in _legend(comparisons)]
    lines += [
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        r"\toprule",
        " & ".join(map(_in_latex, heads)) + r" \\",
    ]
    for split, comparison in comparisons.items():
        lines.append(r"\midrule")
        if len(comparisons) > 1:
            lines.append(rf"\multicolumn{{{len(heads)}}}{{l}}{{\textit{{{_in_latex(split)}}}}} \\")
        for row in _rows(comparison, names):
            cells = [rf"\textbf{{{_in_latex(cell.text)}}}" if cell.best else _in_latex(cell.text) for cell in row]
            lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def markdown(comparisons: Mapping[str, dict[str, Any]]) -> str:
    """One table for each comparison, and below them what their numbers are."""
    names = _columns(comparisons)
    parts: list[str] = []
    for split, comparison in comparisons.items():
        heads = [*_headings(names), *_test_headings(comparisons)]
        title = [f"**{_in_markdown(split)}**", ""] if len(comparisons) > 1 else []
        lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
        lines = [[_in_markdown(head) for head in lines[0]], lines[1]]
        for row in _rows(comparison, names):
            lines.append([f"**{_in_markdown(cell.text)}**" if cell.best else _in_markdown(cell.text) for cell in row])
        parts.append("\n".join([*title, *(f"| {' | '.join(cells)} |" for cells in lines), ""]))
    return "\n".join([*parts, *(_in_markdown(line) for line in _legend(comparisons)), ""])


def _write_csv(path: Path, comparisons: Mapping[str, dict[str, Any]]) -> None:
    figures = (*SCALARS, "seconds")
    tests = ("difference_mean", "difference_stderr", "p", "p_holm")
    with csv_lines(path) as write:
        heads = [f"{name}_{part}" for name in figures for part in ("mean", "std")]
        write(["split", "method", "draws", *heads, *tests])
        for split, comparison in comparisons.items():
            for method in comparison["methods"]:
                test = method["test"] or {"p": None, "p_holm": None}
                values = [method[name][part] for name in figures for part in ("mean", "std")]
                values += [method["difference"]["mean"], method["difference"]["stderr"], test["p"], test["p_holm"]]
                told = ["" if value is None else repr(value) for value in values]
                write([split, method["method"]], [len(comparison["seeds"]), *told])


def write_class_table(path: Path, comparisons: Mapping[str, dict[str, Any]]) -> None:
    """Write the recall of every class: split, method, class, and mean and std of labelled rows and of the recall."""
    make_directory(path.parent)
    parts = [(name, part) for name in ("labelled", "recall") for part in ("mean", "std")]
    with replacing(path) as partial, csv_lines(partial) as write:
        write(["split", "method", "class", *(f"{name}_{part}" for name, part in parts)])
        for split, comparison in comparisons.items():
            for method in comparison["methods"]:
                for entry in method["per_class"]:
                    values = [entry[name][part] for name, part in parts]
                    told = ["" if value is None else repr(value) for value in values]
                    write([split, method["method"], entry["name"]], told)


def _columns(comparisons: Mapping[str, dict[str, Any]]) -> list[str]:
    """Figures that some method has; the groups by count where there is more than one of them."""
    methods = [method for comparison in comparisons.values() for method in comparison["methods"]]
    known = [name for name in _COLUMNS if any(method[name]["mean"] is not None for method in methods)]
    counted = [name for name in ("many_accuracy", "median_accuracy", "few_accuracy") if name in known]
    return [name for name in known if len(counted) > 1 or name not in counted]


def _headings(names: Sequence[str]) -> list[str]:
    return ["Method", *(_COLUMNS[name] for name in names)]


def _test_headings(comparisons: Mapping[str, dict[str, Any]]) -> list[str]:
    """Of the difference to the first method; none where there is one method only."""
    methods = next(iter(comparisons.values()))["methods"]
    return ["Δ Macro", "p"] if len(methods) > 1 else []


def _rows(comparison: dict[str, Any], names: Sequence[str]) -> list[list[_Cell]]:
    methods = comparison["methods"]
    best = {name: _best(name, methods) for name in names}
    rows: list[list[_Cell]] = []
    for method in methods:
        row = [_Cell(shown(method["method"]))]
        for name in names:
            text = _percent(method[name]["mean"], method[name]["std"])
            row.append(_Cell(text, len(methods) > 1 and _rounded(method[name]["mean"]) == best[name] != ""))
        if len(methods) > 1:
            row += [_Cell(cell) for cell in _difference(method)]
        rows.append(row)
    return rows


def _difference(method: dict[str, Any]) -> tuple[str, str]:
    if method["test"] is None:
        return "–", "–"
    mean, stderr = method["difference"]["mean"], method["difference"]["stderr"]
    sign = "−" if round(100 * mean, 1) < 0 else "+"
    text = f"{sign}{abs(100 * mean):.1f}" + ("" if stderr is None else f" ± {100 * stderr:.1f}")
    p = method["test"]["p_holm"]
    return text, "<0.001" if p < 0.001 else f"{p:.3f}"


def _best(name: str, methods: Sequence[dict[str, Any]]) -> str:
    """The best mean as it is written: what looks equal in the table is equally bold."""
    known = [method[name]["mean"] for method in methods if method[name]["mean"] is not None]
    return _rounded((min if name in _LESS_IS_BETTER else max)(known)) if known else ""


def _rounded(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.1f}"


def _percent(mean: float | None, std: float | None) -> str:
    if mean is None:
        return "–"
    return _rounded(mean) if std is None else f"{_rounded(mean)} ± {_rounded(std)}"


def _legend(comparisons: Mapping[str, dict[str, Any]]) -> list[str]:
    counts = sorted({len(comparison["seeds"]) for comparison in comparisons.values()})
    draws = " or ".join(amount(count, "draw") for count in counts)
    methods = next(iter(comparisons.values()))["methods"]
    lines = [f"Percent over {draws} of the labels: mean ± standard deviation (n - 1); the best mean in bold."]
    if len(methods) > 1:
        lines.append(
            f"Δ Macro: paired difference to {shown(methods[0]['method'])} in points ± its standard error; p: two-sided "
            "paired permutation test over the draws, Holm's correction over the methods."
        )
    return lines


def _in_latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _in_markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)
