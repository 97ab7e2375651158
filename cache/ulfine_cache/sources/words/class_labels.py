"""Class names as manifests and tar shards write them: texts or whole numbers."""

import unicodedata
from collections.abc import Iterable

MAX_LENGTH = 256
"""Characters of a class name; longer texts are no names."""


def class_text(value: object) -> str:
    """Return a class as text, "" for an unlabelled image.

    Args:
        value: Text, a whole number, or None. -1 and a number that is none (NaN, as pandas writes missing values) mean
            unlabelled, and so does empty text.

    Raises:
        ValueError: It is no class name; the message says why, without the value.

    Example:
        >>> class_text(" cat "), class_text(7), class_text(7.0), class_text(-1), class_text("-1")
        ('cat', '7', '7', '', '')
    """
    if isinstance(value, float):
        if value != value:
            return ""
        if not value.is_integer():
            raise ValueError("a label is a class name or a whole number")
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        raise ValueError("a label is a class name or a whole number")
    text = "" if value is None else str(value).strip()
    if text == "-1":
        return ""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a label has at most {MAX_LENGTH} characters")
    # Printable ASCII first: it is what nearly all labels are.
    if not (text.isascii() and text.isprintable()):
        kinds = {unicodedata.category(character) for character in text}
        if "Cs" in kinds:
            raise ValueError("a label is UTF-8 text")
        if "Cc" in kinds:
            raise ValueError("a label has one line and no control characters")
    return text


def class_order(names: Iterable[str]) -> list[str]:
    """Sort class names: whole numbers first, by their value, then texts.

    Example:
        >>> class_order(["10", "cat", "9", "ant"])
        ['9', '10', 'ant', 'cat']
    """
    return sorted(names, key=_rank)


def _rank(name: str) -> tuple[bool, int, str]:
    # Python refuses to convert numbers of thousands of digits.
    number = name.isdecimal() and len(name) <= 100
    return not number, int(name) if number else 0, name
