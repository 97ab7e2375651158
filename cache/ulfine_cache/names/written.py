r"""Names as text that others read: valid Unicode, on one line, without what a terminal would obey.

A name is whatever a file system or an array holds: bytes that are no UTF-8 (which Python keeps as lone surrogates),
line breaks, escape sequences of terminals. Everything that the command line prints goes through `shown`.
"""

import re
from collections.abc import Sequence

from ulfine_cache.errors import UlfineError

_SURROGATES = re.compile("[\ud800-\udfff]")
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
# Control characters, what else ends a line, marks that turn the direction of what follows, and surrogates.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_OUTER = re.compile(r"^\s+|\s+$")


def readable(text: str) -> str:
    r"""Give valid Unicode: a byte that is no UTF-8 becomes ``\xe9``, any other lone surrogate ``\ud800``.

    Example:
        >>> readable("caf\udce9")
        'caf\\xe9'
    """
    return _SURROGATES.sub(_escaped, text)


def is_name(text: str) -> bool:
    """Tell whether a text can be stored: surrogates stand for bytes of a file name, and for nothing else."""
    return not _SURROGATES.search(text) or not _NO_BYTE.search(text)


def readable_names(names: Sequence[str]) -> list[str]:
    """Give class names as valid Unicode, still different from one another.

    Raises:
        UlfineError: Two names become the same.
    """
    found: dict[str, str] = {}
    for name in names:
        text = readable(name)
        if text in found:
            raise UlfineError(f"two classes are called {text} once they are written as Unicode: rename one of them")
        found[text] = name
    return list(found)


def shown(text: str) -> str:
    r"""Give what may be printed on one line of a terminal or a log: what it would obey becomes ``\x1b`` and the like.

    Example:
        >>> shown("a\nerror: b\x1b[2J")
        'a\\nerror: b\\x1b[2J'
    """
    return text if text.isascii() and text.isprintable() else _OBEYED.sub(_escaped, text)


def one_line(text: str) -> str:
    r"""Give a name as one line, such that different names stay different when readers cut off outer blanks.

    As `shown`; blanks at the ends become ``\x20`` and the like, and a backslash two.

    Example:
        >>> one_line(" a\nb ")
        '\\x20a\\nb\\x20'
    """
    outer = _OUTER.sub(lambda found: "".join(map(_code, found[0])), text.replace("\\", "\\\\"))
    return shown(outer)


def _escaped(found: "re.Match[str]") -> str:
    return _code(found[0])


_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def _code(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        # How Python keeps a byte that is no UTF-8.
        number -= 0xDC00
    return _SHORT.get(character) or (f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}")
