"""Labels as tables and tar shards write them: which are classes, and which mean that there is none."""

import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence

from ulfine_cache.sources.account import Account
from ulfine_cache.sources.source import UNLABELLED
from ulfine_cache.wording.counts import amount, counted

MAX_LENGTH = 256
"""Characters of a class name; longer texts are no names."""

SEVERAL = "has several classes"
"""How the reason begins why an image of several classes has no row."""

MISSING = ("nan", "NaN", "NAN", "null", "NULL", "Null", "None", "N/A", "n/a", "NA", "<NA>", "#N/A", "NaT")
"""What pandas, NumPy, R, SQL and spreadsheets write for a value that is not there, letter by letter."""

_UNLABELLED_NAMES = ("unlabelled", "unlabeled")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d+")


def means_unlabelled(name: str) -> bool:
    """Tell whether a folder or a label of this name holds images without a class.

    Example:
        >>> means_unlabelled("Unlabeled"), means_unlabelled("unknown")
        (True, False)
    """
    return name.strip().lower() in _UNLABELLED_NAMES


def class_text(value: object) -> str:
    """Return a label as text, "" for None, NaN and empty text.

    Raises:
        ValueError: It is no class name; the message says why, without the value.

    Example:
        >>> class_text(" cat "), class_text(7), class_text(7.0), class_text(None)
        ('cat', '7', '7', '')
    """
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("a label is a class name or a whole number")
    text = str(value).strip()
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a label has at most {MAX_LENGTH} characters")
    # Printable ASCII first: it is what nearly all labels are.
    if not (text.isascii() and text.isprintable()):
        kinds = {unicodedata.category(character) for character in text}
        if "Cs" in kinds:
            raise ValueError("a label is UTF-8 text: save the table as UTF-8")
        if "Cc" in kinds:
            raise ValueError("a label has one line and no control characters")
        # Macs write the same letter in another way than everybody else.
        text = unicodedata.normalize("NFC", text)
    return text


def is_name(text: str) -> bool:
    """Tell whether a text may be the name of a class."""
    try:
        return bool(class_text(text))
    except ValueError:
        return False


class LabelColumn:
    """The labels of a source in the order of its images; which classes there are is known at the end only.

    The rule for all tables and shards:

    - Empty cells, null and NaN mean unlabelled, and so do -1, "unlabelled", "unlabeled" and the words of `MISSING`,
      unless other words are given.
    - A number is a whole number: 3.0 is the class "3", and a fraction is an error. So are texts where all of them are
      numbers ("3.0", "3e0"); where at least one is another text, all stay as they are written.

    Args:
        missing: Words that mean unlabelled instead of `MISSING`; None for those.
    """

    def __init__(self, missing: Sequence[str] | None = None) -> None:
        self._missing = frozenset(MISSING if missing is None else missing)
        self._said = missing is not None
        self._numbers: dict[str, int] = {}
        self._first: list[str] = []
        self._rows = array("l")

    def append(self, value: object, where: str = "") -> None:
        """Append an image's label.

        Args:
            value: Text, a number or None.
            where: Where it stands, for the message of an error.

        Raises:
            ValueError: It is no class name.
        """
        number = self._numbers.setdefault(class_text(value), len(self._numbers))
        if number == len(self._first):
            self._first.append(where)
        self._rows.append(number)

    def holds(self, name: str) -> bool:
        """Tell whether an image has this label, as it is written."""
        return class_text(name) in self._numbers

    def finish(self, account: Account) -> tuple[list[str], list[int]]:
        """Return the sorted classes, and each image's index among them or -1; tell `account` which words are missing.

        Raises:
            ValueError: The labels are numbers with a fraction; the message begins with where the first stands.
        """
        texts = list(self._numbers)
        present = [text for text in texts if not self._is_missing(text)]
        names = {text: text for text in present}
        if present and all(map(_NUMBER.fullmatch, present)):
            names = {text: self._whole(text) for text in present}
        names = {text: name for text, name in names.items() if name != "-1"}
        classes = class_order(set(names.values()))
        index = {name: label for label, name in enumerate(classes)}
        labels = [index[names[text]] if text in names else UNLABELLED for text in texts]
        self._tell(texts, account)
        return classes, [labels[number] for number in self._rows]

    def _is_missing(self, text: str) -> bool:
        return not text or text in ("-1", "-1.0") or text in self._missing or means_unlabelled(text)

    def _whole(self, text: str) -> str:
        if _WHOLE.fullmatch(text):
            return text
        number = float(text)
        if not number.is_integer():
            where = self._first[self._numbers[text]]
            raise ValueError(
                f"{where}: the label {text} is a number with a fraction: a label is a class or a whole number"
            )
        return str(int(number))

    def _tell(self, texts: Sequence[str], account: Account) -> None:
        words = {number: text for number, text in enumerate(texts) if text and text in self._missing}
        account.missing_said |= self._said
        if words:
            counts = Counter(words[number] for number in self._rows if number in words)
            account.note(f"taken for unlabelled: {counted(counts)} (--missing-labels says which words mean that)")


def single_class(label: object) -> tuple[object, str]:
    """Return the only one of a list of classes, or why an image of several cannot be used; other labels as they are.

    Example:
        >>> single_class(["cat"]), single_class([]), single_class(["cat", "dog"]), single_class(3)
        (('cat', ''), (None, ''), (None, 'has several classes: cat, dog'), (3, ''))
    """
    if not isinstance(label, list | tuple):
        return label, ""
    if len(label) > 1:
        return None, f"{SEVERAL}: {', '.join(map(str, label))}"
    return (label[0] if label else None), ""


def warn_of_several(account: Account, paths: Iterable[str]) -> None:
    """Keep which images have several classes, and say how many these are."""
    account.several.update(paths)
    count = len(account.several)
    if count == 1:
        account.warn("1 image has several classes: it is in skipped.csv")
    elif count:
        account.warn(f"{amount(count, 'image')} have several classes each: they are in skipped.csv")


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
