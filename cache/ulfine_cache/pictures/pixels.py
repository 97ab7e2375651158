"""Decode an image file to the RGB picture that a person would see. Pillow and NumPy only.

Differences to `PIL.Image.open(file).convert("RGB")`, which is what open_clip's loaders do: EXIF orientation is applied,
transparent pixels show white instead of whatever colour hides behind them, and values of more than 8 bits are scaled to
8 bits (`ulfine_cache.pictures.pixel_range`) instead of clipped. Only the formats of `ulfine_cache.pictures.opening` are
tried: Pillow would also hand PostScript in a .jpg to Ghostscript.
"""

import contextlib
import struct
import zlib
from collections.abc import Generator
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ulfine_cache.pictures.camera_raw import camera_raw
from ulfine_cache.pictures.opening import allowed_jpegxl_size, decode_jpegxl, open_picture, refuse_large
from ulfine_cache.pictures.over_white import (
    STRIP_PIXELS,
    WITH_ALPHA,
    laid_on_white,
    over_white,
    tga_over_white,
    white_where,
)
from ulfine_cache.pictures.pixel_range import Range, to_eight_bits
from ulfine_cache.pictures.signatures import AVIF, JPEG_XL, TIFF, Kind, kind_of
from ulfine_cache.pictures.sixteen_bits import has_sixteen_bit_colours, is_dark, raw_mode, whole_values
from ulfine_cache.pictures.stated_range import grey_values, is_inverted, stated_range
from ulfine_cache.pictures.structure.check import objection
from ulfine_cache.pictures.structure.tiff import (
    directories,
    in_wide_planes,
    is_part_of_another,
    is_uncompressed,
    picture_page,
    tiff_words,
)
from ulfine_cache.pictures.undecodable import UndecodableImage

MAX_PIXELS: Final = 100_000_000
# Multi-picture files of cameras are JPEGs that Pillow gives another name.
_DRAFTED: Final = ("JPEG", "MPO")
# A camera's MPO holds the same picture again, for another eye or smaller, and is none of these.
_ANIMATED: Final = ("GIF", "PNG", "WEBP", "AVIF", "HEIF")
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
# Most bytes a pixel that it takes to decode a file, up to RGB and with a turn; measured with Pillow 13.
_DECODING_BYTES: Final = {"WEBP": 22, "AVIF": 22, "JPEG2000": 26, "HEIF": 26}
_DEEP_BYTES: Final = 26
"""Of floats, whole numbers of 32 bits, and colours of 16 bits; grey of 16 bits takes no more than others."""
_OTHERS_BYTES: Final = 13


class Decoded(NamedTuple):
    """A picture, and what had to be decided about it.

    Attributes:
        picture: An RGB image, upright.
        notes: Each as the end of "3 images ...", such as "of 16-bit values 0..4095 read as 12-bit".
    """

    picture: Image.Image
    notes: tuple[str, ...] = ()


def decode(
    data: bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    draft: tuple[int, int] | None = None,
    pixel_range: Range | None = None,
) -> Image.Image:
    """Decode the first frame of an image file.

    Args:
        data: The bytes of a JPEG, PNG, WebP, GIF, BMP, TIFF or other file that Pillow reads; of HEIC and JPEG XL where
            the packages of the extra ``formats`` are installed.
        max_pixels: Width times height above which the file is refused, judged by its header before any decoding.
        draft: (width, height) in pixels of the upright picture that suffice. libjpeg then leaves high frequencies out
            and decodes a JPEG at 1/2, 1/4 or 1/8 of its width and height, the smallest that is not below `draft`, which
            takes a fraction of the time. A pixel is then about the mean of the 2 x 2, 4 x 4 or 8 x 8 it stands for
            (without the antialiasing filter of a resize, and with sides rounded up), so what is resized from it differs
            a little. Other formats, and JPEGs that are not at least twice as large, are decoded as without it.
        pixel_range: Which values are black and white in pictures of more than eight bits, None to find it by the rule
            of `ulfine_cache.pictures.pixel_range.to_eight_bits`.

    Returns:
        An RGB image, upright, over white where the file is transparent.

    Raises:
        UndecodableImage: The file is empty, truncated, no image or none of a kind that is read, too large, or made of
            too many pieces.

    Example:
        >>> decode(Path("photos/seven/0001.png").read_bytes()).mode
        'RGB'
    """
    return decode_with_notes(data, max_pixels=max_pixels, draft=draft, pixel_range=pixel_range).picture


def decode_with_notes(
    data: bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    draft: tuple[int, int] | None = None,
    pixel_range: Range | None = None,
) -> Decoded:
    """Decode as `decode` does, and tell what had to be decided about the picture.

    Raises:
        UndecodableImage: As there.
    """
    with _judged(data, max_pixels) as kind:
        if kind == JPEG_XL:
            return _decode_jpegxl(data, max_pixels, draft, pixel_range)
        return _File(data, max_pixels, pixel_range).decode(draft)


def decoding_bytes(data: bytes, *, max_pixels: int = MAX_PIXELS) -> int:
    """How much memory `decode` will take at most beside the file, by the file's header alone.

    Raises:
        UndecodableImage: The file is empty, no image, too large, or made of too many pieces.

    Example:
        >>> decoding_bytes(Path("photos/seven/0001.png").read_bytes()) // 2**20
        13
    """
    with _judged(data, max_pixels) as kind:
        if kind == JPEG_XL:
            width, height = allowed_jpegxl_size(data, max_pixels)
            each = _DEEP_BYTES
        else:
            with _File(data, max_pixels, None).open() as image:
                width, height = image.size
                deep = image.mode in ("I", "F") or has_sixteen_bit_colours(raw_mode(image))
                each = _DEEP_BYTES if deep else _DECODING_BYTES.get(image.format or "", _OTHERS_BYTES)
        return (width * height + STRIP_PIXELS) * each


@contextlib.contextmanager
def _judged(data: bytes, max_pixels: int) -> Generator[Kind | None]:
    """The kind of a file that may be opened; whatever a decoder raises in the body becomes an `UndecodableImage`."""
    if not data:
        raise UndecodableImage("empty file")
    kind = kind_of(data)
    if kind is not None and kind.refusal:
        raise UndecodableImage(kind.refusal)
    if reason := objection(data) or (camera_raw(data) if kind == TIFF else ""):
        raise UndecodableImage(reason)
    try:
        yield kind
    except UnidentifiedImageError:
        raise UndecodableImage(_unread(data)) from None
    except Image.DecompressionBombError:
        raise UndecodableImage(f"too large: more than {max_pixels} pixels") from None
    except MemoryError:
        raise UndecodableImage("too large for the memory") from None
    # What the decoders raise on damaged files, found by cutting and flipping bytes.
    except (OSError, ValueError, SyntaxError, KeyError, IndexError, TypeError) as error:
        raise UndecodableImage(_reason(error)) from error
    except (struct.error, zlib.error, EOFError, OverflowError, AttributeError, RuntimeError) as error:
        raise UndecodableImage(_reason(error)) from error


class _File:
    """An image file on its way to a picture."""

    def __init__(self, data: bytes, max_pixels: int, chosen: Range | None) -> None:
        self._data, self._kind, self._max_pixels, self._chosen = data, kind_of(data), max_pixels, chosen
        self._notes: list[str] = []
        self._page, self._in_planes = 0, False
        if self._kind == TIFF:
            pages = directories(data)
            self._page = picture_page(pages)
            self._in_planes = bool(pages) and in_wide_planes(pages[self._page])
            if self._in_planes and is_uncompressed(pages[self._page]):
                # Pillow takes every byte for a value, and says nothing.
                raise UndecodableImage(tiff_words(data))
            if sum(not is_part_of_another(page) for page in pages) > 1:
                self._notes.append("of several pages, of which the first is read")

    def decode(self, draft: tuple[int, int] | None) -> Decoded:
        with self.open() as image:
            if draft is not None and image.format in _DRAFTED:
                wide, high = draft
                image.draft("RGB", (high, wide) if _orientation(image) in _SIDEWAYS else (wide, high))
            if _is_animated(image):
                self._notes.append("of several frames, of which the first is read")
            # Known until the pixels are read.
            stored = raw_mode(image)
            image.load()
            turn = _UPRIGHT.get(_orientation(image))
            picture = self._to_rgb(image, stored)
        return Decoded(picture if turn is None else picture.transpose(turn), tuple(self._notes))

    def open(self) -> Image.Image:
        """The file with its header read and judged."""
        image = open_picture(self._data, self._kind)
        refuse_large(image.size, self._max_pixels)
        if self._page:
            image.seek(self._page)
            refuse_large(image.size, self._max_pixels)
        return image

    def _to_rgb(self, image: Image.Image, stored: str) -> Image.Image:
        if image.format == "TGA" and image.mode in WITH_ALPHA:
            return tga_over_white(image, self._data)
        if image.mode.startswith("I") or image.mode == "F":
            return self._grey(image)
        if has_sixteen_bit_colours(stored):
            return self._sixteen_bits(image)
        return _eight_bits(image)

    def _grey(self, image: Image.Image) -> Image.Image:
        values = grey_values(image)
        scaled = self._scaled(values, stated_range(image, self._data, values))
        picture = Image.fromarray(255 - scaled if is_inverted(image) else scaled).convert("RGB")
        transparent = image.info.get("transparency")
        return white_where(picture, values == transparent) if isinstance(transparent, int) else picture

    def _sixteen_bits(self, image: Image.Image) -> Image.Image:
        transparent = image.info.get("transparency")
        if self._chosen is None and transparent is None and not is_dark(image):
            self._notes.append("of 16-bit values read as 0..65535")
            return _eight_bits(image)
        if self._in_planes:
            raise UndecodableImage(tiff_words(self._data))
        with self.open() as again:
            values = whole_values(image, again)
        # Transparency is no brightness: all of its 16 bits count.
        alpha = np.asarray(image)[..., 3] if values.shape[-1] == 4 else None
        picture = laid_on_white(self._scaled(values[..., :3], None), alpha)
        if transparent is None:
            return picture
        return white_where(picture, (values[..., :3] == np.array(transparent)).all(axis=-1))

    def _scaled(self, values: npt.NDArray[Any], stated: Range | None) -> npt.NDArray[np.uint8]:
        scaled = to_eight_bits(values, stated=stated, chosen=self._chosen)
        self._notes.append(scaled.note)
        return scaled.values


def _decode_jpegxl(data: bytes, max_pixels: int, draft: tuple[int, int] | None, chosen: Range | None) -> Decoded:
    found = decode_jpegxl(data, max_pixels)
    if found.jpeg:
        return decode_with_notes(found.jpeg, max_pixels=max_pixels, draft=draft, pixel_range=chosen)
    channels = found.values.shape[-1]
    colours, alpha = (found.values[..., :-1], found.values[..., -1]) if channels in (2, 4) else (found.values, None)
    if found.values.dtype == np.uint8:
        return Decoded(laid_on_white(colours, alpha))
    scaled = to_eight_bits(colours, stated=found.stated, chosen=chosen)
    full = Range(0, 1) if found.values.dtype.kind == "f" else Range(0, 65535)
    opaque = None if alpha is None else to_eight_bits(alpha, chosen=full).values
    return Decoded(laid_on_white(scaled.values, opaque), (scaled.note,))


def _is_animated(image: Image.Image) -> bool:
    """Tell whether an open file holds more than one frame; the pages of a TIFF are looked at elsewhere."""
    if image.format not in _ANIMATED:
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    # A GIF is searched for its second frame, and damage there does not make the first one unreadable.
    except Exception:
        return False


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    # A damaged EXIF block does not make the picture unreadable.
    except Exception:
        return 1


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        # A copy, because leaving `with Image.open` closes the original.
        return image.copy()
    if image.mode in WITH_ALPHA or "transparency" in image.info:
        return over_white(image)
    return image.convert("RGB")


def _unread(data: bytes) -> str:
    """Say what a file is that no decoder takes."""
    kind = kind_of(data)
    if kind is None:
        return "not an image"
    if kind == AVIF and kind.name not in Image.OPEN:
        return "AVIF, which this Pillow does not read: pip install --upgrade pillow"
    return (tiff_words(data) if kind == TIFF else "") or f"cannot be decoded: {kind.name} that is damaged or cut off"


def _reason(error: Exception) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    if "truncated" in text.lower() or "unexpected end of file" in text.lower():
        return "truncated file"
    # Pillow's limits for what a PNG's text chunks and colour profile may expand to.
    if "MAX_TEXT" in text:
        return "too large: its metadata"
    # And libheif's.
    if "Security limit exceeded: " in text:
        return f"too large: {text.rpartition('Security limit exceeded: ')[2]}"
    return f"cannot be decoded: {text or type(error).__name__}"
