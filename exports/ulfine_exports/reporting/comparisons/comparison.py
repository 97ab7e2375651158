"""What ``ulfine compare --json`` wrote, read again and checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.trees.regular_file import read_text

FIGURES = (
    "macro_accuracy",
    "accuracy",
    "head_accuracy",
    "medium_accuracy",
    "tail_accuracy",
    "ece",
    "nll",
    "seconds",
)
"""Figures of a method that are shown, the most important first."""

MOST_BYTES = 1 << 28


class _Strict(BaseModel):
    # What a newer version adds is none of this page's business.
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, frozen=True)


class Spread(_Strict):
    """A figure over the draws; None where it is not defined."""

    mean: float | None = None
    std: float | None = None
    per_seed: list[float | None]


class MethodFigures(_Strict):
    """What one method reached on every draw."""

    method: str
    macro_accuracy: Spread
    accuracy: Spread | None = None
    head_accuracy: Spread | None = None
    medium_accuracy: Spread | None = None
    tail_accuracy: Spread | None = None
    ece: Spread | None = None
    nll: Spread | None = None
    seconds: Spread | None = None

    def spread(self, name: str) -> Spread | None:
        """The spread of a figure; None where no draw has it."""
        found: Spread | None = getattr(self, name)
        return found if found is not None and any(value is not None for value in found.per_seed) else None


class Comparison(_Strict):
    """Methods on the same draws of one split."""

    split: str
    protocol: dict[str, Any] = Field(default_factory=dict)
    seeds: list[int] = Field(min_length=1)
    methods: list[MethodFigures] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_value_for_each_seed(self) -> Comparison:
        names = [method.method for method in self.methods]
        if len(set(names)) < len(names):
            raise ValueError("a method stands there twice")
        for method in self.methods:
            for name in FIGURES:
                spread = method.spread(name)
                if spread is not None and len(spread.per_seed) != len(self.seeds):
                    raise ValueError(f"{name} of {method.method!r} has not one value for each of the seeds")
        return self


class Tasks(_Strict):
    """Several comparisons by name, as ``benchmarks/accuracy.py --json`` writes them."""

    tasks: dict[str, Comparison] = Field(min_length=1)


def read_comparison(path: Path) -> dict[str, Comparison]:
    """Read comparisons, by name.

    Args:
        path: A JSON file that ``ulfine compare --json`` wrote, or ``benchmarks/accuracy.py``.

    Returns:
        One under the name of its split, or several.

    Raises:
        UlfineError: The file cannot be read, or holds none.
    """
    try:
        content = json.loads(read_text(path, most=MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise UlfineError(f"{path} is no comparison: it is no JSON file that can be read") from error
    return comparison_of(content, path)


def comparison_of(content: Any, path: Path) -> dict[str, Comparison]:
    """Check what a comparison's file holds; arguments and errors as those of `read_comparison`.

    Example:
        >>> comparison_of({"split": "lt"}, Path("fit.json"))
        Traceback (most recent call last):
        ulfine_cache.errors.UlfineError: fit.json is no comparison of `ulfine compare --json`: seeds: field required
    """
    several = isinstance(content, dict) and "tasks" in content
    try:
        if several:
            return Tasks.model_validate(content).tasks
        found = Comparison.model_validate(content)
        return {found.split: found}
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        words = first["msg"].removeprefix("Value error, ")
        told = f"{place}: {words[:1].lower()}{words[1:]}" if place else words
        raise UlfineError(f"{path} is no comparison of `ulfine compare --json`: {told}") from error
