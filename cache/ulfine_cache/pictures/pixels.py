"""Decode an image file to the RGB picture that a person would see. Pillow and NumPy only.

Differences to `PIL.Image.open(file).convert("RGB")`, which is what open_clip's loaders do: EXIF orientation is applied,
transparent pixels show white instead of whatever colour hides behind them, and 16-bit grey is scaled to 8 bits instead
of clipped. Only formats in `FORMATS` are tried: Pillow would also hand PostScript in a .jpg to Ghostscript.
"""

import contextlib
import io
import struct
import zlib
from collections.abc import Generator
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ulfine_cache.errors import UlfineError
from ulfine_cache.pictures.structure.check import objection

MAX_PIXELS: Final = 100_000_000
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA")
# Multi-picture files of cameras are JPEGs that Pillow gives another name.
_DRAFTED: Final = ("JPEG", "MPO")
_SIXTEEN_TO_EIGHT: Final = np.rint(np.arange(65536) / 257).astype(np.uint8)
_ORIENTATION: Final = 0x0112
# EXIF orientation to the transformation that undoes it (Exif 2.32, tag 0x0112).
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS: Final = (5, 6, 7, 8)
_STRIP_PIXELS: Final = 2**20
"""Pixels that are converted at a time where the way to RGB leads over larger values."""
# Most bytes a pixel that it takes to decode a file, up to RGB and with a turn; measured with Pillow 13.
_DECODING_BYTES: Final = {"WEBP": 22, "AVIF": 22, "JPEG2000": 26}
_OTHERS_BYTES: Final = 13


class UndecodableImage(UlfineError):
    """An image file that gives no picture; the message is the reason alone, without the file's name."""


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, draft: tuple[int, int] | None = None) -> Image.Image:
    """Decode the first frame of an image file.

    Args:
        data: The bytes of a JPEG, PNG, WebP, GIF, BMP, TIFF or other file that Pillow reads.
        max_pixels: Width times height above which the file is refused, judged by its header before any decoding.
        draft: (width, height) in pixels of the upright picture that suffice. libjpeg then leaves high frequencies out
            and decodes a JPEG at 1/2, 1/4 or 1/8 of its width and height, the smallest that is not below `draft`, which
            takes a fraction of the time. A pixel is then about the mean of the 2 x 2, 4 x 4 or 8 x 8 it stands for
            (without the antialiasing filter of a resize, and with sides rounded up), so what is resized from it differs
            a little. Other formats, and JPEGs that are not at least twice as large, are decoded as without it.

    Returns:
        An RGB image, upright, over white where the file is transparent.

    Raises:
        UndecodableImage: The file is empty, truncated, no image, too large, or made of too many pieces.

    Example:
        >>> decode(Path("photos/seven/0001.png").read_bytes()).mode
        'RGB'
    """
    with _opened(data, max_pixels) as image:
        if draft is not None and image.format in _DRAFTED:
            wide, high = draft
            image.draft("RGB", (high, wide) if _orientation(image) in _SIDEWAYS else (wide, high))
        image.load()
        turn = _UPRIGHT.get(_orientation(image))
        return _to_rgb(image if turn is None else image.transpose(turn))


def decoding_bytes(data: bytes, *, max_pixels: int = MAX_PIXELS) -> int:
    """How much memory `decode` will take at most beside the file, by the file's header alone.

    Raises:
        UndecodableImage: The file is empty, no image, too large, or made of too many pieces.

    Example:
        >>> decoding_bytes(Path("photos/seven/0001.png").read_bytes()) // 2**20
        13
    """
    with _opened(data, max_pixels) as image:
        width, height = image.size
        return (width * height + _STRIP_PIXELS) * _DECODING_BYTES.get(image.format or "", _OTHERS_BYTES)


@contextlib.contextmanager
def _opened(data: bytes, max_pixels: int) -> "Generator[Image.Image]":
    """A file whose header has been read and judged; whatever a decoder raises then is an `UndecodableImage`."""
    if not data:
        raise UndecodableImage("empty file")
    if reason := objection(data):
        raise UndecodableImage(reason)
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UndecodableImage(f"too large: {width} x {height} pixels")
            yield image
    except UnidentifiedImageError:
        raise UndecodableImage("not an image") from None
    except Image.DecompressionBombError:
        raise UndecodableImage(f"too large: more than {max_pixels} pixels") from None
    except MemoryError:
        raise UndecodableImage("too large for the memory") from None
    # What Pillow's decoders raise on damaged files, found by cutting and flipping bytes.
    except (OSError, ValueError, SyntaxError, KeyError, IndexError, TypeError) as error:
        raise UndecodableImage(_reason(error)) from error
    except (struct.error, zlib.error, EOFError, OverflowError, AttributeError) as error:
        raise UndecodableImage(_reason(error)) from error


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats that this Pillow knows; old ones and some builds lack AVIF or JPEG 2000."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    # A damaged EXIF block does not make the picture unreadable.
    except Exception:
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        # A copy, because leaving `with Image.open` closes the original.
        return image.copy()
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        picture = Image.new("RGB", image.size)
        for box in _strips(image):
            transparent = image.crop(box).convert("RGBA")
            white = Image.new("RGBA", transparent.size, "white")
            picture.paste(Image.alpha_composite(white, transparent).convert("RGB"), box)
        return picture
    return image.convert("RGB")


def _strips(image: Image.Image) -> list[tuple[int, int, int, int]]:
    """Boxes from side to side that cover a picture, of about `_STRIP_PIXELS` each."""
    width, height = image.size
    rows = max(1, _STRIP_PIXELS // max(width, 1))
    return [(0, top, width, min(top + rows, height)) for top in range(0, height, rows)]


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale grey values of more than eight bits to 0..255 (Pillow's own conversion clips them).

    16-bit modes span 0..65535. The modes "I" and "F" do not say what white is: the smallest of 1 (floats only), 255,
    65535 and the largest value itself that covers all values is taken.
    """
    if image.mode.startswith("I;16"):
        # 65535 / 255 = 257. A table, because large pictures as floats would take gigabytes.
        return Image.fromarray(_SIXTEEN_TO_EIGHT[np.asarray(image)])
    largest = max(float(_finite(image.crop(box)).max()) for box in _strips(image))
    steps = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
    white = next((step for step in steps if largest <= step), largest)
    grey = Image.new("L", image.size)
    for box in _strips(image):
        values = _finite(image.crop(box)) * (255.0 / white)
        grey.paste(Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)), box)
    return grey


def _finite(image: Image.Image) -> npt.NDArray[np.float64]:
    """The values of a picture of one channel, with 0 where there is NaN or infinity."""
    return np.nan_to_num(np.array(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _reason(error: Exception) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    if "truncated" in text.lower():
        return "truncated file"
    # Pillow's limits for what a PNG's text chunks and colour profile may expand to.
    if "MAX_TEXT" in text:
        return "too large: its metadata"
    return f"cannot be decoded: {text or type(error).__name__}"
