"""The figures of a comparison: a dict that notebooks show as a table."""

from __future__ import annotations

from typing import Any

from ulfine_cache.wording.counts import amount
from ulfine_fast.judging.html_table import html_table, percent_cell

_COLUMNS = ("macro_accuracy", "head_accuracy", "medium_accuracy", "tail_accuracy")


class Comparison(dict[str, Any]):
    """What `ulfine_fast.compare.compare` returns; the keys are described there.

    Example:
        >>> spread = {"mean": 0.9, "std": 0.01}
        >>> names = ("macro_accuracy", "head_accuracy", "medium_accuracy", "tail_accuracy")
        >>> method = {"method": "lp", **dict.fromkeys(names, spread), "difference": {"mean": 0.0, "stderr": 0.0}}
        >>> "90.0 ± 1.0" in Comparison(split="lt", seeds=[0, 1], methods=[method])._repr_html_()
        True
    """

    def _repr_html_(self) -> str:
        """Mean and standard deviation over the draws in percent, and the paired difference to the first method."""
        return _html(self)


class Comparisons(dict[str, Any]):
    """Comparisons on several splits: ``{"tasks": {split: Comparison}}``.

    Example:
        >>> Comparisons(tasks={})._repr_html_()
        ''
    """

    def _repr_html_(self) -> str:
        """The table of each."""
        return "".join(map(_html, self["tasks"].values()))


def _html(comparison: dict[str, Any]) -> str:
    methods = comparison["methods"]
    first = methods[0]["method"]
    rows = [
        [
            method["method"],
            *(percent_cell(method[name]["mean"], method[name]["std"]) for name in _COLUMNS),
            percent_cell(method["difference"]["mean"], method["difference"]["stderr"])
            if method["method"] != first
            else "–",
        ]
        for method in methods
    ]
    title = f"{comparison['split']}, {amount(len(comparison['seeds']), 'draw')}, percent"
    headings = [name.removesuffix("_accuracy") for name in _COLUMNS]
    return html_table(title, ["method", *headings, f"macro - {first}"], rows)
