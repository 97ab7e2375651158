"""Which words mean train, val and test, in the names of folders and files and in the cells of tables alike."""

import re
from collections.abc import Iterable

SETS = ("train", "val", "test")
"""Names of the sets; an image of no set has the name ""."""

_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
# "TrainImages", "seg_train" and "val2017" are made of several words each.
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^A-Za-z]+")


def known_set(name: str) -> str | None:
    """Return the set that a whole word stands for, in any case; "" for no word and None for another one.

    Example:
        >>> known_set("Training"), known_set("dev"), known_set(""), known_set("extra")
        ('train', 'val', '', None)
    """
    name = name.strip()
    return _WORDS.get(name.lower()) if name else ""


def words_of(name: str) -> list[str]:
    """Return the words that a name is made of, in lower case.

    Example:
        >>> words_of("seg_train2 TestImages")
        ['seg', 'train', 'test', 'images']
    """
    return [part.lower() for part in _PARTS.findall(name) if part.isalpha()]


def set_in_name(path: str) -> str:
    """Return the set that a path speaks of: the last of its parts that holds words of exactly one set.

    Example:
        >>> set_in_name("cifar10-train-000.tar"), set_in_name("test/000.tar"), set_in_name("train-test.tar")
        ('train', 'test', '')
    """
    for part in reversed(path.split("/")):
        found = {_WORDS[word] for word in words_of(part) if word in _WORDS}
        if len(found) == 1:
            return found.pop()
    return ""


def set_folders(names: Iterable[str]) -> dict[str, str]:
    """Find out which of the names of folders that lie side by side mean sets.

    Whole words count in any case, and beside them words with a number ("test1" beside "train"). Where there is no whole
    word, two different ones with the same letters around them do ("seg_train" beside "seg_test", "train2014" beside
    "test2015").

    Returns:
        The set of each name that means one.

    Example:
        >>> set_folders(["Train", "Dev", "extra"]), set_folders(["val2017", "train2017"])
        ({'Train': 'train', 'Dev': 'val'}, {'val2017': 'val', 'train2017': 'train'})
        >>> set_folders(["train", "test1"])
        {'train': 'train', 'test1': 'test'}
        >>> set_folders(["train_station", "bus_station"])
        {}
    """
    groups: dict[tuple[str, str, bool], dict[str, str]] = {}
    for name in names:
        if found := _around(name):
            before, word, behind = found
            key = _letters(before), _letters(behind), bool(before + behind)
            groups.setdefault(key, {})[name] = _WORDS[word]
    whole = groups.pop(("", "", False), {})
    if whole:
        return whole | groups.get(("", "", True), {})
    shared = [group for group in groups.values() if len(set(group.values())) > 1]
    return max(shared, key=len, default={})


def is_called_alike(name: str, sets: Iterable[str]) -> bool:
    """Tell whether a name has the same text around another word as the names of sets.

    Example:
        >>> is_called_alike("seg_pred", ["seg_train", "seg_test"]), is_called_alike("extra", ["train", "test"])
        (True, False)
    """
    name = name.strip().lower()
    for before, _, behind in filter(None, map(_around, sets)):
        if (before or behind) and name.startswith(before) and name.endswith(behind):
            return True
    return False


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text))


def _around(name: str) -> tuple[str, str, str] | None:
    """Return what stands before the only word of a set, the word, and what stands behind it, in lower case."""
    parts = [part.lower() for part in _PARTS.findall(name.strip())]
    places = [place for place, part in enumerate(parts) if part in _WORDS]
    if len(places) != 1:
        return None
    at = places[0]
    return "".join(parts[:at]), parts[at], "".join(parts[at + 1 :])
