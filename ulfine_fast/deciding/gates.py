"""Gates: figures that must reach a value, so that a pipeline can stop. Pure Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ulfine_cache.errors import UsageError

_LEFT_OUT = ("cross_validated.accuracy", "cross_validated.macro_accuracy", "cross_validated.mean_confidence")
"""Figures of left-out rows that can be gated; a point leads into a group of figures."""


@dataclass(frozen=True)
class Gate:
    """The least value of a figure.

    Attributes:
        figure: One of `ulfine_fast.judging.metrics.SCALARS`, or, of left-out rows, such as
            ``"cross_validated.accuracy"``.
        least: The value it must reach.
    """

    figure: str
    least: float


def read_gates(texts: Sequence[str]) -> list[Gate]:
    """Read gates as they are written on the command line.

    Args:
        texts: Such as ``"macro_accuracy=0.9"``.

    Raises:
        UsageError: One has no number, or names no figure that can be gated.

    Example:
        >>> read_gates(["macro_accuracy=0.9"])
        [Gate(figure='macro_accuracy', least=0.9)]
    """
    return [_read(text) for text in texts]


def _read(text: str) -> Gate:
    # Whoever only asks for help does not wait for numpy.
    from ulfine_fast.judging.metrics import SCALARS

    known = (*SCALARS, *_LEFT_OUT)
    name, _, number = text.partition("=")
    name = name.strip()
    if name not in known:
        raise UsageError(f"--min {text}: no figure is called {name!r}, take one of {', '.join(known)}")
    try:
        least = float(number)
    except ValueError:
        least = float("nan")
    if least != least:
        raise UsageError(f"--min {text}: write a number behind it, such as {name}=0.9")
    return Gate(name, least)


def judged_gates(gates: Sequence[Gate], figures: Mapping[str, Any]) -> dict[str, Any]:
    """Hold figures to gates.

    Args:
        gates: From `read_gates`.
        figures: Under the names of ``metrics.json``.

    Returns:
        ``{}`` without gates, else ``{"gates": [{"figure", "value", "least", "holds"}]}``; a figure that is not known
        has the value None and does not hold.

    Example:
        >>> judged_gates([Gate("accuracy", 0.9)], {"accuracy": 0.8})["gates"][0]["holds"]
        False
    """
    found: list[dict[str, Any]] = []
    for gate in gates:
        value = _value(figures, gate.figure)
        holds = value is not None and value >= gate.least
        found.append({"figure": gate.figure, "value": value, "least": gate.least, "holds": holds})
    return {"gates": found} if found else {}


def _value(figures: Mapping[str, Any], name: str) -> float | None:
    found: Any = figures
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    # Figures with an interval hold their value under that name.
    return found.get("value") if isinstance(found, Mapping) else found


def failed_gates(figures: Mapping[str, Any]) -> list[str]:
    """Say which gates do not hold, a line each, of figures with those of `judged_gates` among them.

    Example:
        >>> failed_gates(judged_gates([Gate("accuracy", 0.9)], {"accuracy": 0.8}))
        ['accuracy is 0.8, below the gate of 0.9']
    """
    return [
        f"{gate['figure']} is {'not known' if gate['value'] is None else format(gate['value'], '.6g')}, "
        f"{'so it cannot reach' if gate['value'] is None else 'below'} the gate of {gate['least']:g}"
        for gate in figures.get("gates", [])
        if not gate["holds"]
    ]
