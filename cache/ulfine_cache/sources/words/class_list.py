"""Lists of class names as data sets bring them: `class_to_idx.json`, `classes.txt`, ImageNet's synsets."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ulfine_cache.errors import UlfineError
from ulfine_cache.wording.counts import listed

LISTS = (".json", ".txt", ".names", ".lst")
"""Endings of such files."""

_NUMBERED = re.compile(r"\d+[._\s-]+(?=\D)")
_FORMS = 'expected {"cat": 0, ...}, {"0": "cat", ...}, ["cat", ...] or one name a line'


def read_class_list(path: Path, text: str, classes: Sequence[str]) -> dict[str, str]:
    """Return what a list calls the classes of a source.

    Forms: JSON of name to number (`class_to_idx`), of number or folder to name (also to [folder, name], as Keras has
    ImageNet's), or a list; text with a name a line, with a number or folder in front of it if wanted. A list without
    numbers counts from 0, or from 1 where the source's numbers do.

    Args:
        path: The file.
        text: What it holds.
        classes: The source's classes; [] where it has none, and the list's order gives them.

    Returns:
        Name by class; classes that the list does not know are left out. Underscores are blanks, a comma ends a name,
        and numbers in front of all names are dropped.

    Raises:
        UlfineError: It is no such list, or it fits none of the classes.
    """
    pairs = _json_pairs(path, text) if path.suffix.lower() == ".json" else _text_pairs(text, classes)
    if not pairs:
        raise UlfineError(f"{path} names no class: {_FORMS}")
    if not classes:
        if all(key.isdecimal() for key, _ in pairs):
            pairs = sorted(pairs, key=lambda pair: int(pair[0]))
        return dict(zip(_keys(pairs), _clean([name for _, name in pairs]), strict=True))
    known = set(classes)
    counted = _counted(pairs, classes)
    found = {}
    for (key, name), clean in zip(counted, _clean([name for _, name in counted]), strict=True):
        place = next((each for each in (key, name) if each in known), None)
        if place is not None:
            found[place] = clean
    if not found:
        raise UlfineError(
            f"{path} fits none of the source's classes {listed(list(classes), most=3)}: it speaks of "
            f"{listed([key or name for key, name in pairs], most=3)}"
        )
    return found


def _json_pairs(path: Path, text: str) -> list[tuple[str, str]]:
    """Return (number or folder, name) of each class, "" for no number."""
    try:
        content: Any = json.loads(text)
    except ValueError as error:
        raise UlfineError(f"{path} is no JSON: {_FORMS}") from error
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return [("", name) for name in content]
    if not isinstance(content, Mapping):
        raise UlfineError(f"{path} is no list of classes: {_FORMS}")
    pairs = []
    for key, value in content.items():
        if isinstance(value, int) and not isinstance(value, bool):
            pairs.append((str(value), key))
        elif isinstance(value, str):
            pairs.append((key, value))
        elif isinstance(value, list) and len(value) == 2 and all(isinstance(each, str) for each in value):
            # Keras: {"0": ["n01440764", "tench"]}, for numbers and for folders.
            pairs += [(key, value[1]), (value[0], value[1])]
        else:
            raise UlfineError(f"{path}: the class {key!r} is {value!r}: {_FORMS}")
    return pairs


def _text_pairs(text: str, classes: Sequence[str]) -> list[tuple[str, str]]:
    known = set(classes)
    pairs = []
    for line in filter(None, map(str.strip, text.splitlines())):
        first, _, rest = line.partition("\t" if "\t" in line else " ")
        numbered = bool(rest) and line not in known and (first in known or first.isdecimal())
        pairs.append((first, rest.strip()) if numbered else ("", line))
    # "7 up" among names without numbers is a name.
    if any(not key for key, _ in pairs):
        return [(key, name) if key in known or not key else ("", f"{key} {name}") for key, name in pairs]
    return pairs


def _counted(pairs: Sequence[tuple[str, str]], classes: Sequence[str]) -> list[tuple[str, str]]:
    """Give numbers to the names of a list without."""
    if any(key for key, _ in pairs) or not all(name.isdecimal() for name in classes):
        return list(pairs)
    start = 1 if "0" not in classes and str(len(pairs)) in classes else 0
    return [(str(number), name) for number, (_, name) in enumerate(pairs, start)]


def _keys(pairs: Sequence[tuple[str, str]]) -> list[str]:
    return [key or str(number) for number, (key, _) in enumerate(pairs)]


def _clean(names: Sequence[str]) -> list[str]:
    if all(map(_NUMBERED.match, names)):
        names = [_NUMBERED.sub("", name, count=1) for name in names]
    return [" ".join(name.partition(",")[0].replace("_", " ").split()) or name for name in names]
