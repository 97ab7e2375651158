"""TIFF: its directories, and a bound on strips, tiles and other lists of numbers, which Pillow makes objects of.

TIFF 6.0, section 2, and for files over 4 GB the same with wider fields (BigTIFF).
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

MAX_STRIPS: Final = 200_000
"""Most numbers under one tag, each 5 us. The colours of a 16-bit palette are 196,608; a picture of 50 million pixels in
strips of one row has up to 20,000 for each colour."""

MAX_PAGES: Final = 64
"""Most directories that are looked into: a camera raw file has up to ten."""

MAX_TAGS: Final = 2**12
"""Most tags of a page; camera raw files have some hundreds."""

_SUBFILE, _REDUCED, _MASK = 254, 1, 4
"""NewSubfileType and two of its bits (TIFF 6.0, section 8)."""

_BITS, _COMPRESSION, _SAMPLES, _PLANES, _SAMPLE_FORMAT = 258, 259, 277, 284, 339
_UNCOMPRESSED, _SEPARATE = 1, 2
_SAMPLE_FORMATS: Final = {2: "signed ", 3: "float ", 5: "complex ", 6: "complex "}

_BYTES: Final = (1, 2, 6, 7)
"""Types that stay bytes however many they are: BYTE, ASCII, SBYTE, UNDEFINED."""
_FORMATS: Final = {
    1: "B",
    2: "B",
    3: "H",
    4: "I",
    6: "b",
    7: "B",
    8: "h",
    9: "i",
    11: "f",
    12: "d",
    13: "I",
    16: "Q",
    17: "q",
    18: "Q",
}
_MOST_VALUES: Final = 64


class Entry(NamedTuple):
    """One tag of a directory: its type (2 is text, 3 a short, ...), how many values, and the place of the first."""

    kind: int
    length: int
    place: int


class Directory:
    """One directory of a TIFF file: what is said about one page.

    Args:
        data: The file.
        place: Of its first byte; what the file ends in the middle of is left out.

    Attributes:
        entries: By tag.
        n_tags: How many it claims to have, of which `MAX_TAGS` are read.
        following: Place of the directory behind it, 0 for the last one.
        is_whole: Whether the file does not end in front of any of it.
    """

    def __init__(self, data: bytes, place: int) -> None:
        self._data, self._order = data, _order(data)
        self.entries: dict[int, Entry] = {}
        self.n_tags = self.following = 0
        self.is_whole = False
        try:
            self._read(place)
            self.is_whole = all(
                entry.place + entry.length * _size(entry.kind) <= len(data) for entry in self.entries.values()
            )
        except (struct.error, OverflowError):
            # Cut off: the decoder says so.
            return

    def _read(self, place: int) -> None:
        pointer, count, head = ("Q", "Q", "HHQ") if _is_wide(self._data) else ("I", "H", "HHI")
        inline, step = struct.calcsize("<" + pointer), struct.calcsize("<" + head)
        (self.n_tags,) = struct.unpack_from(self._order + count, self._data, place)
        place += struct.calcsize("<" + count)
        for _ in range(min(self.n_tags, MAX_TAGS)):
            tag, kind, length = struct.unpack_from(self._order + head, self._data, place)
            at = place + step
            # What is too long for the entry lies elsewhere.
            if length * _size(kind) > inline:
                (at,) = struct.unpack_from(self._order + pointer, self._data, at)
            self.entries[tag] = Entry(kind, length, at)
            place += step + inline
        (self.following,) = struct.unpack_from(self._order + pointer, self._data, place)

    def numbers(self, tag: int) -> tuple[float, ...]:
        """Return the first values under a tag, none where it is missing, damaged or of another type."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _FORMATS:
            return ()
        form = f"{self._order}{min(entry.length, _MOST_VALUES)}{_FORMATS[entry.kind]}"
        try:
            return struct.unpack_from(form, self._data, entry.place)
        except (struct.error, OverflowError):
            return ()

    def number(self, tag: int, default: float) -> float:
        """Return the first value under a tag."""
        return next(iter(self.numbers(tag)), default)

    def text(self, tag: int) -> str:
        """Return the text under a tag, "" where there is none."""
        letters = bytes(int(number) & 0xFF for number in self.numbers(tag))
        return letters.partition(b"\0")[0].decode("ascii", "replace").strip()


def directories(data: bytes) -> list[Directory]:
    """Return the directories of the pages in their order, `MAX_PAGES` at most; none where the file is cut off."""
    wide = _is_wide(data)
    found: dict[int, Directory] = {}
    try:
        (place,) = struct.unpack_from(_order(data) + ("Q" if wide else "I"), data, 8 if wide else 4)
    except struct.error:
        return []
    while place and place not in found and len(found) < MAX_PAGES:
        found[place] = Directory(data, place)
        place = found[place].following
    return list(found.values())


def picture_page(pages: Sequence[Directory]) -> int:
    """Return the number of the first page that is neither a smaller version of another one nor a mask, else 0.

    Args:
        pages: Of `directories`.
    """
    return next((number for number, page in enumerate(pages) if not is_part_of_another(page)), 0)


def is_part_of_another(page: Directory) -> bool:
    """Tell whether a page is a smaller version of another one, or a mask for it."""
    return bool(int(page.number(_SUBFILE, 0)) & (_REDUCED | _MASK))


def tiff_words(data: bytes) -> str:
    """Say what a TIFF file holds that no decoder takes, "" where its header is damaged.

    Example:
        >>> tiff_words(b"MM")
        ''
    """
    pages = directories(data)
    page = pages[picture_page(pages)] if pages else None
    bits = page.numbers(_BITS) if page is not None and page.is_whole else ()
    if page is None or not bits:
        return ""
    form = _SAMPLE_FORMATS.get(int(page.number(_SAMPLE_FORMAT, 1)), "")
    samples = f"{page.number(_SAMPLES, len(bits)):g} x {bits[0]:g}-bit {form}values".replace("1 x ", "", 1)
    packed = page.number(_COMPRESSION, _UNCOMPRESSED)
    samples += f", compression {packed:g}" if packed != _UNCOMPRESSED else ""
    samples += " in separate planes" if in_wide_planes(page) else ""
    return f"TIFF of {samples}, which is not read: save it as PNG"


def in_wide_planes(page: Directory) -> bool:
    """Tell whether colours of more than eight bits are stored one after the other instead of pixel by pixel."""
    return page.number(_PLANES, 1) == _SEPARATE and page.number(_SAMPLES, 1) > 1 and page.number(_BITS, 1) > 8


def is_uncompressed(page: Directory) -> bool:
    """Tell whether the pixels are stored as they are."""
    return page.number(_COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED


def check_tiff(data: bytes) -> str:
    """See `ulfine_cache.pictures.structure.check.objection`."""
    pages = directories(data)
    # Those behind the picture's own are never read.
    for page in pages[: picture_page(pages) + 1]:
        for tag, entry in page.entries.items():
            if entry.kind not in _BYTES and entry.length > MAX_STRIPS:
                return f"too many strips or numbers under tag {tag} ({entry.length})"
        if page.n_tags > MAX_TAGS:
            return "too many tags"
    return ""


def _order(data: bytes) -> str:
    return "<" if data[:2] == b"II" else ">"


def _size(kind: int) -> int:
    # A fraction (5 and 10) is two numbers.
    return 8 if kind in (5, 10) else struct.calcsize("<" + _FORMATS.get(kind, "B"))


def _is_wide(data: bytes) -> bool:
    return data[2:4] in (b"\x2b\x00", b"\x00\x2b")
