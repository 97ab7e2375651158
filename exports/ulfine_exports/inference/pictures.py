"""Pictures in whatever form a caller has them, to the pixels an encoder takes. No torch."""

from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.sources.trees.regular_file import read_regular
from ulfine_cache.sources.words.image_names import EXTENSIONS

if TYPE_CHECKING:
    from PIL.Image import Image

    from ulfine_cache.preprocess import Preprocess

Picture: TypeAlias = "Path | str | bytes | Image"
"""An image as a path, as the bytes of a file, or as an open Pillow image."""

BUDGET = 256 * 2**20
"""Bytes of decoded pictures that are held at a time."""


def to_picture(picture: Picture) -> "Image":
    """Decode an image as a person would see it: RGB, upright, over white.

    Raises:
        UndecodableImage: The file is missing or gives no picture; the message is the reason alone.
    """
    # Pillow is not loaded where features are classified.
    from ulfine_cache.pictures.pixels import decode

    return decode(_encoded(picture))


def to_pixels(picture: Picture, preprocess: "Preprocess") -> NDArray[np.uint8]:
    """Decode an image as a person would see it, then resize and crop it: uint8 (H, W, 3).

    Raises:
        UndecodableImage: The file is missing or gives no picture; the message is the reason alone.
    """
    return preprocess.to_pixels(to_picture(picture))


def to_array(picture: Picture) -> NDArray[np.uint8]:
    """Decode an image as a person would see it: uint8 (height, width, 3), in its own size.

    Raises:
        UndecodableImage: The file is missing or gives no picture; the message is the reason alone.
    """
    return np.asarray(to_picture(picture))


def by_size(
    pictures: Iterable[NDArray[np.uint8]], batch_size: int, *, budget: int = BUDGET
) -> Iterator[tuple[list[int], NDArray[np.uint8]]]:
    """Group pictures into batches of one size each.

    Args:
        pictures: uint8 (height, width, 3) each; taken one by one, as batches are given.
        batch_size: Most pictures in a batch.
        budget: Bytes above which pictures that wait for others of their size are given as they are.

    Yields:
        Places of the pictures in their order, and uint8 (n, height, width, 3).
    """
    waiting: dict[tuple[int, ...], list[tuple[int, NDArray[np.uint8]]]] = {}
    size = 0
    for place, picture in enumerate(pictures):
        group = waiting.setdefault(picture.shape, [])
        group.append((place, picture))
        size += picture.nbytes
        full = [picture.shape] if len(group) == batch_size else []
        for shape in list(waiting) if size > budget else full:
            batch = _stacked(waiting.pop(shape))
            size -= batch[1].nbytes
            yield batch
    for group in waiting.values():
        yield _stacked(group)


def _stacked(group: "list[tuple[int, NDArray[np.uint8]]]") -> tuple[list[int], NDArray[np.uint8]]:
    return [place for place, _ in group], np.stack([picture for _, picture in group])


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
            return read_regular(str(picture))
        except OSError as error:
            from ulfine_cache.pictures.pixels import UndecodableImage

            raise UndecodableImage((error.strerror or str(error)).lower()) from error
    # Through the decoder of files, so that orientation, alpha and 16 bits come out the same. TIFF holds every mode.
    buffer = BytesIO()
    picture.save(buffer, format="TIFF", exif=picture.getexif())
    return buffer.getvalue()
