"""Colours of 16 bits, of which Pillow gives the upper eight: the lower ones, from a second look at the file."""

import sys
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

_OTHER_END: Final = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""Read in the wrong order of bytes, the lower half of a value stands where the upper half is expected."""
_LOWEST_OF_SIXTEEN: Final = 15
"""Largest upper byte of a picture whose values are all 0..4095."""


def raw_mode(image: Image.Image) -> str:
    """Return how the pixels of an opened file are stored, such as "RGB;16B"; "" where Pillow does not say."""
    tiles = cast("list[Any]", getattr(image, "tile", []))
    arguments = tiles[0][3] if tiles else ""
    stored = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return stored if isinstance(stored, str) else ""


def has_sixteen_bit_colours(mode: str) -> bool:
    """Tell by the raw mode whether `whole_values` can be asked for."""
    return mode[:-1] in ("RGB;16", "RGBA;16", "RGBX;16", "LA;16") and mode[-1] in _OTHER_END


def is_dark(upper: Image.Image) -> bool:
    """Tell whether no colour of a picture exceeds 4095 of 65535, judged by the upper bytes."""
    bands = cast("tuple[tuple[int, int], ...]", upper.getextrema())
    return max(largest for _, largest in bands[:3]) <= _LOWEST_OF_SIXTEEN


def whole_values(upper: Image.Image, again: Image.Image) -> npt.NDArray[np.uint16]:
    """Return the colours of a file in 16 bits.

    Args:
        upper: The decoded picture, RGB or RGBA.
        again: The same file, opened anew and not decoded; it is decoded here.

    Returns:
        uint16 (height, width, channels).
    """
    mode = raw_mode(again)
    # No order of bytes gives the lower half of grey with transparency; taken for RGBA, its four bytes come one by one.
    grey = mode.startswith("LA;")
    stored = "RGBA" if grey else mode[:-1] + _OTHER_END[mode[-1]]
    setattr(again, "tile", [_with_mode(tile, stored) for tile in cast("list[Any]", getattr(again, "tile"))])  # noqa: B009, B010
    lower = np.asarray(again)
    if grey:
        light, alpha = (_joined(lower[..., band], lower[..., band + 1]) for band in (0, 2))
        return np.stack([light, light, light, alpha], axis=-1)
    return _joined(np.asarray(upper), lower)


def _joined(upper: npt.NDArray[np.uint8], lower: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    values = upper.astype(np.uint16)
    values *= np.uint16(256)
    values += lower
    return values


def _with_mode(tile: Any, mode: str) -> Any:
    arguments = tile[3]
    return tile._replace(args=(mode, *arguments[1:]) if isinstance(arguments, tuple) else mode)
