"""How one picture becomes the input of several encoders."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from ulfine_cache.errors import UlfineError
from ulfine_cache.preprocess import Preprocess

ENCODERS = "encoders"
"""Key of the JSON that marks it: a list of what each encoder wants."""


@dataclass(frozen=True)
class JoinedPreprocess(Preprocess):
    """Pictures for encoders that want them differently: for each its own pixels, as rows of numbers one behind another.

    A picture is one row of L numbers, the sum of the encoders' 3 x H x W, so that whatever hands batches on, batches
    this too. `size`, `mean` and `std` are those of the encoder with the largest pictures.

    Attributes:
        parts: What each encoder wants, in their order.

    Example:
        >>> small, large = (Preprocess((side, side), (0.5,) * 3, (0.5,) * 3) for side in (32, 64))
        >>> joined_preprocess([small, large]).to_pixels(Image.new("RGB", (640, 480))).shape == (3 * (32**2 + 64**2),)
        True
    """

    parts: tuple[Preprocess, ...] = ()

    @property
    def pixel_shape(self) -> tuple[int, ...]:
        """Shape of `to_pixels`: (L,)."""
        return (sum(self.widths),)

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers of each encoder in a row: 3 H W."""
        return tuple(3 * part.size[0] * part.size[1] for part in self.parts)

    def to_pixels(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """Resize and crop or pad a picture for each encoder.

        Args:
            image: An RGB image of any size.

        Returns:
            uint8 (L,): for each encoder (height, width, 3), flattened.
        """
        return np.concatenate([part.to_pixels(image).ravel() for part in self.parts])

    def split(self, pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
        """What each encoder takes of rows of pixels, (n, L) to (n, height, width, 3) each."""
        rows = np.split(pixels, np.cumsum(self.widths)[:-1], axis=1)
        return [row.reshape(-1, *part.pixel_shape) for row, part in zip(rows, self.parts, strict=True)]

    def normalise(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Normalise the pixels of each encoder.

        Args:
            pixels: uint8 (n, L).

        Returns:
            float32 (n, L): for each encoder (3, height, width), flattened.
        """
        made = [part.normalise(own) for part, own in zip(self.parts, self.split(pixels), strict=True)]
        return np.concatenate([own.reshape(len(pixels), -1) for own in made], axis=1)

    def grey_levels(self) -> npt.NDArray[np.float64]:
        """What a difference of normalised pixels is multiplied by to count in grey levels, float64 (L,)."""
        shapes = [(3, *part.size) for part in self.parts]
        levels = zip(self.parts, shapes, strict=True)
        return np.concatenate([np.broadcast_to(part.grey_levels(), shape).ravel() for part, shape in levels])

    def to_json(self) -> str:
        """The values of each encoder as JSON with sorted keys, in a list under ``"encoders"``."""
        return json.dumps({ENCODERS: [json.loads(part.to_json()) for part in self.parts]}, sort_keys=True)

    @classmethod
    def of(cls, parts: Sequence[Preprocess]) -> Self:
        """Put them side by side."""
        largest = max(parts, key=lambda part: part.size[0] * part.size[1])
        plain = Preprocess(largest.size, largest.mean, largest.std)
        return cls(**asdict(plain), parts=tuple(parts))


def joined_preprocess(parts: Sequence[Preprocess]) -> Preprocess:
    """How pictures are made for several encoders: as for one of them where all want the same."""
    return parts[0] if all(part == parts[0] for part in parts) else JoinedPreprocess.of(parts)


def read_preprocess(text: str) -> Preprocess:
    """Read what `Preprocess.to_json` of one or of several encoders wrote.

    Raises:
        UlfineError: The text is something else.
    """
    try:
        values = json.loads(text)
        found = values[ENCODERS] if isinstance(values, dict) and ENCODERS in values else None
        if found is None:
            return Preprocess.from_json(text)
        return joined_preprocess([Preprocess.from_json(json.dumps(part)) for part in found])
    except (ValueError, TypeError, IndexError) as error:
        raise UlfineError("the recorded preprocessing cannot be read: make the cache or the export again") from error
