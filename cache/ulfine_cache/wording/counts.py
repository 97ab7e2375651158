"""Counts and names in lines for people: "1 image", "3 classes", "10 hidden, 2 .txt", "'a', 'b' and 1 more"."""

from collections.abc import Mapping, Sequence

_SHOWN = 6
_HISSING = ("s", "x", "z", "ch", "sh")


def amount(count: int, thing: str) -> str:
    """Say how many there are of a thing.

    Args:
        count: How many.
        thing: What one of them is called; the last word is the one that changes.

    Example:
        >>> amount(1, "image"), amount(0, "image"), amount(2, "labelled class"), amount(3, "entry")
        ('1 image', '0 images', '2 labelled classes', '3 entries')
    """
    return f"{count} {thing if count == 1 else plural(thing)}"


def subject(count: int, thing: str, verbs: str) -> str:
    """Say how many do something.

    Args:
        count: How many.
        thing: What one of them is called.
        verbs: The verb of one and of several, with "/" between them.

    Example:
        >>> subject(1, "image", "is/are"), subject(2, "image", "is/are")
        ('1 image is', '2 images are')
    """
    one, several = verbs.split("/")
    return f"{amount(count, thing)} {one if count == 1 else several}"


def plural(thing: str) -> str:
    """Return what several of a thing are called.

    Example:
        >>> plural("class"), plural("prompt"), plural("query"), plural("day")
        ('classes', 'prompts', 'queries', 'days')
    """
    if thing.endswith("y") and thing[-2:-1] not in "aeiou":
        return f"{thing[:-1]}ies"
    return f"{thing}es" if thing.endswith(_HISSING) else f"{thing}s"


def counted(counts: Mapping[str, int], most: int = _SHOWN) -> str:
    """Name what was counted, the most frequent first.

    Example:
        >>> counted({".txt": 2, "hidden": 10})
        '10 hidden, 2 .txt'
    """
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    rest = sum(count for _, count in ranked[most:])
    shown = [f"{count} {name}" for name, count in ranked[:most]]
    return ", ".join([*shown, amount(rest, "other")] if rest else shown)


def listed(names: Sequence[str], most: int = _SHOWN) -> str:
    """Name a few of many.

    Example:
        >>> listed(["a", "b", "c"], most=2)
        "'a', 'b' and 1 more"
    """
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
