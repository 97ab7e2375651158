"""One image on its way to the encoder: read, decoded and resized, or the reason why that is impossible."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ulfine_cache.atomic import reason
from ulfine_cache.encoding.former_rows import FormerRows
from ulfine_cache.pictures.pixel_range import Range
from ulfine_cache.pictures.pixels import decode_with_notes
from ulfine_cache.pictures.undecodable import UndecodableImage
from ulfine_cache.pictures.views import make_views
from ulfine_cache.preprocess import Preprocess
from ulfine_cache.sources.source import ImageSource, LeftOut, SourceItem
from ulfine_cache.store.shards import content_hash

_DRAFT_FACTOR = 2
"""JPEG drafts stay at least this many times as large as what they are resized to, so that the filter still has work."""


@dataclass(frozen=True)
class PixelRecipe:
    """What is done with each image before it is encoded.

    Attributes:
        preprocess: The encoder's own.
        views: The recipe of the views, such as "center".
        jpeg_draft: Let libjpeg halve large photographs while it decodes them.
        pixel_range: Black and white of pictures of more than eight bits, None to find them.
    """

    preprocess: Preprocess
    views: str = "center"
    jpeg_draft: bool = False
    pixel_range: Range | None = None

    def pixels(self, data: bytes, content: str) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
        """Decode an image into its views, uint8 (views, height, width, 3), and what had to be decided about it.

        Raises:
            UndecodableImage: There is no picture in it.
        """
        height, width = self.preprocess.size
        draft = (_DRAFT_FACTOR * width, _DRAFT_FACTOR * height) if self.jpeg_draft else None
        decoded = decode_with_notes(data, draft=draft, pixel_range=self.pixel_range)
        return make_views(decoded.picture, self.preprocess, self.views, content), decoded.notes


@dataclass(frozen=True)
class DecodedImage:
    """One image ready to be encoded, or the reason why there is none.

    Attributes:
        item: What was listed.
        pixels: uint8 (views, height, width, 3), or None.
        content: `content_hash` of the bytes, or "".
        problem: Why there are no pixels, or "".
        former: Place among the rows that were encoded before, or None; it needs no pixels then.
        notes: What had to be decided about the pixels, see `ulfine_cache.pictures.pixels.Decoded`.
    """

    item: SourceItem
    pixels: npt.NDArray[np.uint8] | None
    content: str = ""
    problem: str = ""
    former: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def readable(self) -> bool:
        """Whether there is a picture in it, or was when the same bytes were encoded."""
        return self.pixels is not None or self.former is not None


def decode_item(
    source: ImageSource, recipe: PixelRecipe, item: SourceItem, *, former: FormerRows | None = None
) -> DecodedImage:
    """Find among those encoded before, or else read and decode, one image; what is wrong becomes its `problem`."""
    try:
        if former and (known := former.of_file(item)) is not None:
            return DecodedImage(item, None, known[1], former=known[0])
        data = source.read(item)
        content = content_hash(data)
        if former and (place := former.of_content(content)) is not None:
            return DecodedImage(item, None, content, former=place)
        pixels, notes = recipe.pixels(data, content)
        return DecodedImage(item, pixels, content, notes=notes)
    except (UndecodableImage, LeftOut) as error:
        return DecodedImage(item, None, problem=str(error))
    except (OSError, MemoryError) as error:
        return DecodedImage(item, None, problem=f"cannot be read: {reason(error)}")
