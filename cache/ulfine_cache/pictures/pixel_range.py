"""Which values of a picture with more than eight bits are black and white: the one rule, and its override."""

import math
import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UsageError

AUTO: Final = "auto"

_STRAY: Final = 1000
"""One value in so many may be far off without counting, in floats and in integers of 32 bits."""
_OVERSHOOT: Final = 0.1
"""Floats go this part of white beyond the range where a picture was resized or sharpened."""
_NUMBER: Final = r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?"
_RANGE: Final = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*", re.IGNORECASE)


class Range(NamedTuple):
    """The values that become 0 and 255, black < white."""

    black: float
    white: float

    def __str__(self) -> str:
        """The way `parse_pixel_range` reads it."""
        return f"{self.black:.15g}..{self.white:.15g}"


class Scaled(NamedTuple):
    """A picture in eight bits, and how it came there, as the end of "3 images ..."."""

    values: npt.NDArray[np.uint8]
    note: str


def parse_pixel_range(text: str) -> Range | None:
    """Read what ``--pixel-range`` says.

    Args:
        text: "auto", or the values of black and white such as "0..4095", "-1024..3071" and "0..1".

    Returns:
        The range; None for "auto".

    Raises:
        UsageError: It is neither.

    Example:
        >>> parse_pixel_range("0..4095")
        Range(black=0.0, white=4095.0)
    """
    if text.strip().lower() == AUTO:
        return None
    match = _RANGE.fullmatch(text)
    if match and math.isfinite(float(match[1])) and float(match[1]) < float(match[2]) < math.inf:
        return Range(float(match[1]), float(match[2]))
    raise UsageError(
        f"no pixel range {text!r}: there are {AUTO} and BLACK..WHITE with two rising numbers, such as 0..4095 or 0..1"
    )


def to_eight_bits(values: npt.NDArray[Any], *, stated: Range | None = None, chosen: Range | None = None) -> Scaled:
    """Scale values of more than eight bits to 0..255, where every step of the result stands for equally many of them.

    Which values are black and white, the first of these that applies:

    1. `chosen`, what the user says.
    2. `stated`, what the file itself says: fewer bits than it has room for, the largest value of a PGM file, or
       SMinSampleValue and SMaxSampleValue of a TIFF file if all values lie between them.
    3. Integers, none below 0: 0..255, 0..4095 or 0..65535, the smallest of these that holds all values. Data of 8 and
       12 bits in a file of 16 are found by that: 4095 is a sixteenth of 65535, which would be next to black.
    4. Floats: 0..1, -1..1, 0..255 or 0..65535, the first that the values lie in with the largest above a quarter of
       white. A tenth of white may be overshot at either end: resizing does that.
    5. All others: from the smallest value to the largest.

    One value in a thousand does not count in 4 and 5 if it is further off than the rest is wide (a dead pixel, a mark
    for "no data"), nor does what is not finite: NaN and -inf are black, inf is white.

    Args:
        values: uint16, int32, int64 or floats, of any shape.
        stated: What the file says.
        chosen: What the user says.

    Returns:
        uint8 values of the same shape, and a note such as "of 16-bit values 0..4095 read as 12-bit".

    Example:
        >>> to_eight_bits(np.array([0, 2048, 4095], np.uint16)).values.tolist()
        [0, 128, 255]
    """
    kind = {"f": "float", "u": "16-bit"}.get(values.dtype.kind, "integer")
    if chosen is not None:
        return Scaled(_scaled(values, chosen), f"of {kind} values read as {chosen} (--pixel-range)")
    if stated is not None:
        return Scaled(_scaled(values, stated), f"of {kind} values scaled by what the file says of them")
    known, words = (_of_floats if values.dtype.kind == "f" else _of_integers)(values)
    if known is None:
        return Scaled(
            _scaled(values, _own(*_extent(values))), f"of {kind} values stretched from the smallest to the largest"
        )
    return Scaled(_scaled(values, known), f"of {kind} values {words}")


def covers(stated: Range, values: npt.NDArray[Any]) -> bool:
    """Tell whether all values lie in a range."""
    return bool(values.size) and stated.black <= float(values.min()) and float(values.max()) <= stated.white


def _of_integers(values: npt.NDArray[Any]) -> tuple[Range | None, str]:
    smallest, largest = (0, int(values.max())) if values.dtype.kind == "u" else (int(values.min()), int(values.max()))
    if smallest < 0 or largest > 65535:
        return None, ""
    for white, bits in ((255, 8), (4095, 12)):
        if largest <= white:
            return Range(0, white), f"0..{white} read as {bits}-bit"
    return Range(0, 65535), "read as 0..65535"


def _of_floats(values: npt.NDArray[Any]) -> tuple[Range | None, str]:
    smallest, largest = _extent(values)
    for known in (Range(0, 1), Range(-1, 1), Range(0, 255), Range(0, 65535)):
        room = _OVERSHOOT * known.white
        inside = known.black - room <= smallest and largest <= known.white + room
        if inside and (largest > known.white / 4 or largest == smallest):
            return known, f"read as {known}"
    return None, ""


def _extent(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the smallest and the largest value that count, 0 and 0 where none is finite."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values.ravel()
    if not finite.size:
        return 0.0, 0.0
    stray = finite.size // _STRAY
    smallest, largest = float(finite.min()), float(finite.max())
    if stray:
        ordered = np.partition(finite, (stray, finite.size - 1 - stray))
        low, high = float(ordered[stray]), float(ordered[finite.size - 1 - stray])
        width = high - low
        smallest = low if low - smallest > width else smallest
        largest = high if largest - high > width else largest
    return smallest, largest


def _own(smallest: float, largest: float) -> Range:
    """Return a picture's own range; one that holds a single value is as bright as that value is above 0."""
    if smallest < largest:
        return Range(smallest, largest)
    return Range(min(0.0, smallest), max(0.0, largest) or 1.0)


def _scaled(values: npt.NDArray[Any], known: Range) -> npt.NDArray[np.uint8]:
    if values.dtype == np.uint16:
        # A table, because large pictures as floats would take gigabytes.
        return _table(known)[values]
    exact = values.astype(np.float64)
    np.nan_to_num(exact, copy=False, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    # In place, for the same reason.
    exact -= known.black
    exact *= 255.0
    exact /= known.white - known.black
    np.clip(np.rint(exact, out=exact), 0, 255, out=exact)
    return exact.astype(np.uint8)


@lru_cache(maxsize=16)
def _table(known: Range) -> npt.NDArray[np.uint8]:
    steps = (np.arange(65536) - known.black) * 255.0 / (known.white - known.black)
    return np.clip(np.rint(steps), 0, 255).astype(np.uint8)
