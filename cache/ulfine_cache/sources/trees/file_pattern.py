"""Patterns of file names: braces as shells and webdataset expand them, then globs."""

import glob
import os
import re
from collections.abc import Iterator
from itertools import pairwise

from ulfine_cache.errors import UlfineError

# The package braceexpand (0.1.7) would be shorter, but it keeps a whole range in memory before it gives one number, so
# that `{0..999999999}` takes all there is; it also refuses `{a}{b` and reads `{x..z}` as letters.
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?")
_MAX_FILES = 1_000_000


def is_pattern(text: str) -> bool:
    """Tell whether a path holds a character that patterns are made of."""
    return any(character in text for character in "*?[{")


def expand_braces(pattern: str) -> Iterator[str]:
    """Expand `{a,b}`, `{000..012}` and `{0..10..5}`, also inside one another.

    Numbers keep the zeros in front: all are as wide as the wider of the two limits if one of them begins with 0. Braces
    around anything else stay as they are, as in a shell.

    Yields:
        The names, in the order of the braces.

    Example:
        >>> list(expand_braces("{train,val}-{08..10}.tar"))[:4]
        ['train-08.tar', 'train-09.tar', 'train-10.tar', 'val-08.tar']
    """
    start = pattern.find("{")
    while start >= 0:
        parts = _parts(pattern, start)
        if parts is not None:
            choices, end = parts
            for choice in choices:
                for rest in expand_braces(pattern[end:]):
                    yield pattern[:start] + choice + rest
            return
        start = pattern.find("{", start + 1)
    yield pattern


def matching_files(pattern: str) -> list[str]:
    """Return the files that a pattern stands for, without repetition.

    Each of the names that braces give must be there, or match at least one file if it is a glob (`*`, `?`, `[...]`, and
    `**` for any depth of folders): a missing shard is an error, not a smaller collection.

    Returns:
        Sorted absolute paths.

    Raises:
        UlfineError: Something is missing, or there are more than a million files.
    """
    found: set[str] = set()
    for name in expand_braces(pattern):
        # What exists under the very name is no glob.
        matches = [name] if os.path.exists(name) else glob.glob(name, recursive=True)  # noqa: PTH110, PTH207 (strings)
        if not matches:
            of = "" if name == pattern else f" (of {pattern})"
            raise UlfineError(f"no file matches {name}{of}: check the pattern, and quote it against the shell")
        found.update(os.path.abspath(match) for match in matches)  # noqa: PTH100 (links stay links)
        if len(found) > _MAX_FILES:
            raise UlfineError(f"{pattern} stands for more than {_MAX_FILES} files: give a folder or a manifest")
    return sorted(found)


def _parts(pattern: str, start: int) -> tuple[Iterator[str], int] | None:
    """Return the choices of the brace at `start` and where it ends, or None if it is none."""
    depth, commas = 0, [start]
    for position in range(start, len(pattern)):
        character = pattern[position]
        if character == "{":
            depth += 1
        elif character == "," and depth == 1:
            commas.append(position)
        elif character == "}":
            depth -= 1
            if depth == 0:
                return _choices(pattern, [*commas, position], position + 1)
    return None


def _choices(pattern: str, cuts: list[int], end: int) -> tuple[Iterator[str], int] | None:
    texts = [pattern[left + 1 : right] for left, right in pairwise(cuts)]
    if len(texts) > 1:
        return (choice for text in texts for choice in expand_braces(text)), end
    numbers = _RANGE.fullmatch(texts[0])
    return None if numbers is None else (_numbers(*numbers.groups()), end)


def _numbers(first: str, last: str, step: str | None) -> Iterator[str]:
    start, stop, stride = int(first), int(last), abs(int(step or 1)) or 1
    padded = any(len(number.lstrip("-")) > 1 and number.lstrip("-").startswith("0") for number in (first, last))
    width = max(len(first), len(last)) if padded else 0
    down = stop < start
    for number in range(start, stop + (-1 if down else 1), -stride if down else stride):
        yield f"{number:0{width}d}"
