"""`--shard-range`: the part of the shards that one process of a job array makes."""

import re

from ulfine_cache.errors import UsageError
from ulfine_cache.wording.counts import amount

_RANGE = re.compile(r"([0-9]+):([0-9]+)", re.ASCII)
_PART = re.compile(r"([0-9]+)/([0-9]+)", re.ASCII)
_FORMS = "give A:B, the shards from A up to but without B, or I/N, the part I of N equal ones, all counted from 0"
_MOST_DIGITS = 18


def check_shard_range(text: str) -> None:
    """Refuse what is no range whatever the number of shards.

    Raises:
        UsageError: It is written otherwise, reversed or empty.

    Example:
        >>> check_shard_range("8:4")
        Traceback (most recent call last):
        ulfine_cache.errors.UsageError: --shard-range 8:4 is reversed: give 4:8
    """
    _parsed(text)


def shards_of_range(text: str, shards: int) -> range:
    """Return the numbers of the shards of a range.

    Args:
        text: "A:B", from A up to but without B; or "I/N", the part I of N that are equal but for one shard, which may
            be empty where there are fewer shards than parts.
        shards: How many there are.

    Raises:
        UsageError: It is written otherwise, reversed, empty, or leads beyond the last shard.

    Example:
        >>> shards_of_range("4:8", 10), shards_of_range("2/3", 10)
        (range(4, 8), range(6, 10))
    """
    kind, first, second = _parsed(text)
    if kind == "/":
        return range(first * shards // second, (first + 1) * shards // second)
    if second > shards:
        raise UsageError(
            f"--shard-range {text} leads beyond the last of {amount(shards, 'shard')}: all of them are 0:{shards}"
        )
    return range(first, second)


def _parsed(text: str) -> tuple[str, int, int]:
    found = _RANGE.fullmatch(text.strip()) or _PART.fullmatch(text.strip())
    if found is None or max(map(len, found.groups())) > _MOST_DIGITS:
        raise UsageError(f"--shard-range {text!r} is no range: {_FORMS}")
    first, second = int(found[1]), int(found[2])
    if "/" in text:
        if second == 0:
            raise UsageError(f"--shard-range {text} is no part: the second number says how many parts there are")
        if first >= second:
            raise UsageError(f"--shard-range {text} is no part: the first number is 0 to {second - 1} of {second}")
        return "/", first, second
    if first > second:
        raise UsageError(f"--shard-range {text} is reversed: give {second}:{first}")
    if first == second:
        raise UsageError(f"--shard-range {text} is empty: the second number is the first shard that is left out")
    return ":", first, second
