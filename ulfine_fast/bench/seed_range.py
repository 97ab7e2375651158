"""Which seeds a comparison draws."""

from __future__ import annotations

import re

from ulfine_cache.errors import UsageError

_RANGE = re.compile(r"(\d{1,9}):(\d{1,9})")


def is_range(text: str) -> bool:
    """Whether a text is meant for a range; a number is given as such."""
    return ":" in text


def seeds_of(given: int | str) -> list[int]:
    """The seeds that a number or a range stands for.

    Args:
        given: How many, from 0 on; or ``"first:end"``, without the end, as Python counts.

    Raises:
        UsageError: It is no such text, or the range is empty.

    Example:
        >>> seeds_of(3), seeds_of("10:12")
        ([0, 1, 2], [10, 11])
    """
    if isinstance(given, int):
        return list(range(given))
    found = _RANGE.fullmatch(given.strip())
    seeds = list(range(int(found[1]), int(found[2]))) if found else []
    if not seeds:
        raise UsageError(
            f"seeds={given!r} cannot be used: give how many, such as 5, or a range, such as 10:20 (20 left out)"
        )
    return seeds
