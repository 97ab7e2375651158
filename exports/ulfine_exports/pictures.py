"""Pictures in whatever form a caller has them, to the pixels an encoder takes. No torch."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.image_folder import EXTENSIONS
from ulfine_cache.pixels import UndecodableImage, decode

if TYPE_CHECKING:
    from PIL.Image import Image

    from ulfine_cache.preprocess import Preprocess

Picture: TypeAlias = "Path | str | bytes | Image"
"""An image as a path, as the bytes of a file, or as an open Pillow image."""


def to_pixels(picture: Picture, preprocess: "Preprocess") -> NDArray[np.uint8]:
    """Decode an image as a person would see it, then resize and crop it: uint8 (H, W, 3).

    Raises:
        UndecodableImage: The file is missing or gives no picture; the message is the reason alone.
    """
    return preprocess.to_pixels(decode(_encoded(picture)))


def find_images(folder: Path) -> list[Path]:
    """All image files below a folder, by the suffixes that stage one reads, sorted; hidden ones are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
    )


def _encoded(picture: Picture) -> bytes:
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, (str, Path)):
        try:
            return Path(picture).read_bytes()
        except OSError as error:
            raise UndecodableImage((error.strerror or str(error)).lower()) from error
    # Through the decoder of files, so that orientation, alpha and 16 bits come out the same. TIFF holds every mode.
    buffer = BytesIO()
    picture.save(buffer, format="TIFF", exif=picture.getexif())
    return buffer.getvalue()
