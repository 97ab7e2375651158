"""Open an image file without decoding its pixels: with Pillow, or with a package for HEIC and JPEG XL."""

import importlib
import io
import math
from functools import cache
from types import ModuleType
from typing import Any, Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from ulfine_cache.pictures.pixel_range import Range
from ulfine_cache.pictures.signatures import HEIC, JPEG_XL, Kind
from ulfine_cache.pictures.structure.jpegxl import jpegxl_size
from ulfine_cache.pictures.undecodable import UndecodableImage

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA")
_PACKAGES: Final = {HEIC: ("pillow_heif", "pillow-heif"), JPEG_XL: ("pillow_jxl", "pillow-jxl-plugin")}
_EXTRA: Final = "pip install 'ulfine-fast[formats]'"


class JpegXl(NamedTuple):
    """What a JPEG XL file holds: the JPEG that it was made from, or else pixels.

    Attributes:
        jpeg: The bytes of the JPEG file, or b"".
        values: uint8, uint16 or floats (height, width, channels), the last one transparency where there are 2 or 4.
        stated: Black and white of floats.
    """

    jpeg: bytes
    values: npt.NDArray[Any]
    stated: Range | None


def refuse_large(size: tuple[int, int], max_pixels: int) -> None:
    """Refuse a picture by the size that its header claims.

    Raises:
        UndecodableImage: It has more pixels than that.
    """
    width, height = size
    if width * height > max_pixels:
        raise UndecodableImage(f"too large: {width} x {height} pixels")


def open_picture(data: bytes, kind: Kind | None) -> Image.Image:
    """Open a file whose pixels are decoded when they are asked for.

    Raises:
        UndecodableImage: It is HEIC, and the package for that is not installed.
        OSError, SyntaxError, ...: As Pillow does.
    """
    if kind != HEIC:
        return Image.open(io.BytesIO(data), formats=_formats())
    # The class, instead of an opener registered with Pillow: other programs in this process keep theirs.
    return cast("Image.Image", _package(HEIC).HeifImageFile(io.BytesIO(data)))


def decode_jpegxl(data: bytes, max_pixels: int) -> JpegXl:
    """Decode a JPEG XL file, upright.

    Raises:
        UndecodableImage: It is too large by its header or damaged, or the package for it is not installed.
    """
    # Its decoder knows no limit, and gives the size together with the pixels.
    allowed_jpegxl_size(data, max_pixels)
    decoder = _package(JPEG_XL).Decoder(num_threads=0)
    try:
        is_jpeg, info, decoded, *_ = decoder(data)
    # Rust's panics are none of Python's ordinary errors.
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise UndecodableImage("cannot be decoded: JPEG XL that is damaged or cut off") from error
        raise
    if is_jpeg:
        return JpegXl(bytes(decoded), np.empty(0, np.uint8), None)
    # Its colours are counted without transparency.
    shape = (info.height, info.width, info.num_channels + info.has_alpha_channel)
    kind = _kind_of_values(len(decoded) / max(1, math.prod(shape)), is_float=info.mode.startswith("F"))
    if kind is None or shape[-1] not in range(1, 5):
        raise UndecodableImage(f"JPEG XL of {shape[-1]} channels ({info.mode}), which is not read: save it as PNG")
    values = np.frombuffer(decoded, kind).reshape(shape)
    return JpegXl(b"", values, Range(0, 1) if values.dtype.kind == "f" else None)


def allowed_jpegxl_size(data: bytes, max_pixels: int) -> tuple[int, int]:
    """Return width and height of a JPEG XL file by its header.

    Raises:
        UndecodableImage: It is too large, or damaged.
    """
    size = jpegxl_size(data)
    if size is None:
        raise UndecodableImage("cannot be decoded: JPEG XL that is damaged or cut off")
    refuse_large(size, max_pixels)
    return size


def _kind_of_values(size: float, *, is_float: bool) -> type[np.generic] | None:
    """Return the type of values of so many bytes each."""
    known: dict[float, type[np.generic]] = {1: np.uint8, 2: np.float16 if is_float else np.uint16, 4: np.float32}
    return known.get(size)


def is_installed_now(reason: str) -> bool:
    """Tell whether a file was refused for want of a package that is there now."""
    return any(reason == _missing(kind) and _find(module) for kind, (module, _) in _PACKAGES.items())


def _package(kind: Kind) -> Any:
    found = _find(_PACKAGES[kind][0])
    if found is None:
        raise UndecodableImage(_missing(kind))
    return found


def _missing(kind: Kind) -> str:
    return f"{kind.name}, which the package {_PACKAGES[kind][1]} reads: {_EXTRA}"


@cache
def _find(module: str) -> ModuleType | None:
    try:
        # pillow_jxl registers itself with Pillow when it is imported, which is why it is only imported for such a file.
        return importlib.import_module(module)
    except ImportError:
        return None


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats that this Pillow knows; old ones and some builds lack AVIF or JPEG 2000."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)
