"""Decode an image file to the RGB picture that a person would see. Pillow and NumPy only.

Differences to `PIL.Image.open(file).convert("RGB")`, which is what open_clip's loaders do: EXIF orientation is applied,
transparent pixels show white instead of whatever colour hides behind them, and 16-bit grey is scaled to 8 bits instead
of clipped.
"""

import io
import struct
import zlib
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from ulfine_cache.errors import UlfineError

MAX_PIXELS: Final = 100_000_000
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


class UndecodableImage(UlfineError):
    """An image file that gives no picture; the message is the reason alone, without the file's name."""


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, draft: tuple[int, int] | None = None) -> Image.Image:
    """Decode the first frame of an image file.

    Args:
        data: The bytes of a JPEG, PNG, WebP, GIF, BMP, TIFF or other file that Pillow reads.
        max_pixels: Width times height above which the file is refused, judged by its header before any decoding.

    Returns:
        An RGB image, upright, over white where the file is transparent.

    Raises:
        UndecodableImage: The file is empty, truncated, no image, or too large.

    Example:
        >>> decode(Path("cat.jpg").read_bytes()).mode  # doctest: +SKIP
        'RGB'
    """
    if not data:
        raise UndecodableImage("empty file")
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UndecodableImage(f"too large: {width} x {height} pixels")
            image.load()
            return _to_rgb(_upright(image))
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


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    # A damaged EXIF block does not make the picture unreadable.
    except Exception:
        return image
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        # A copy, because leaving `with Image.open` closes the original.
        return image.copy()
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        transparent = image.convert("RGBA")
        white = Image.new("RGBA", transparent.size, "white")
        return Image.alpha_composite(white, transparent).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale grey values of more than eight bits to 0..255 (Pillow's own conversion clips them).

    16-bit modes span 0..65535. The modes "I" and "F" do not say what white is: the smallest of 1 (floats only), 255,
    65535 and the largest value itself that covers all values is taken.
    """
    values = np.asarray(image, dtype=np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    largest = float(values.max())
    if image.mode.startswith("I;16"):
        white = 65535.0
    else:
        steps = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        white = next((step for step in steps if largest <= step), largest)
    return Image.fromarray(np.clip(np.rint(values * (255.0 / white)), 0, 255).astype(np.uint8))


def _reason(error: Exception) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    if "truncated" in text.lower():
        return "truncated file"
    return f"cannot be decoded: {text or type(error).__name__}"
