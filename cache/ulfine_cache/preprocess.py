"""From a picture to the pixels that an encoder expects: open_clip's evaluation transform, in NumPy and Pillow.

It is split in two, because pictures are decoded one by one on many threads and normalised in batches: `to_pixels` gives
uint8, `normalise` the floats. Both together equal `open_clip.transform.image_transform(..., is_train=False)`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from ulfine_cache.errors import UlfineError

Interpolation = Literal["bicubic", "bilinear"]
ResizeMode = Literal["shortest", "longest", "squash"]

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_MAX_ASPECT = 16
"""A picture more elongated than this loses its ends, which the centre crop would drop, before it is enlarged:
a file of 1 x 100,000,000 pixels would otherwise be resized to 224 x 22,400,000,000."""


@dataclass(frozen=True)
class Preprocess:
    """How pictures are made into an encoder's input; stored with every cache and in every export.

    Attributes:
        size: (height, width) in pixels of what the encoder takes.
        mean: Mean of each channel, subtracted after scaling to [0, 1].
        std: Standard deviation of each channel, divided by.
        interpolation: Filter of the resize, antialiased as Pillow does it.
        resize_mode: "shortest": the shorter side fits, the centre is cropped. "longest": the longer side fits, the rest
            is padded. "squash": both sides fit, whatever the aspect.
        fill_color: Grey value 0..255 of the padding in "longest".
        resize: (height, width) that the picture is made to fit before the centre of `size` is cut out of it; None is
            `size` itself. timm's "crop_pct" 0.875 is size 224 out of 256.

    Example:
        >>> preprocess = Preprocess((224, 224), (0.5,) * 3, (0.5,) * 3)
        >>> preprocess.to_pixels(Image.new("RGB", (640, 480))).shape
        (224, 224, 3)
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "bicubic"
    resize_mode: ResizeMode = "shortest"
    fill_color: int = 0
    resize: tuple[int, int] | None = None

    @property
    def pixel_shape(self) -> tuple[int, ...]:
        """Shape of `to_pixels`: (height, width, 3)."""
        return (*self.size, 3)

    def grey_levels(self) -> npt.NDArray[np.float64]:
        """What a difference of normalised pixels is multiplied by to count in grey levels, float64 (3, 1, 1)."""
        return 255 * np.array(self.std, np.float64).reshape(3, 1, 1)

    def to_pixels(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """Resize and crop or pad a picture.

        Args:
            image: An RGB image of any size.

        Returns:
            uint8 (height, width, 3).
        """
        return np.asarray(_crop_or_pad(self.resized(image), *self.size, 0))

    def resized(self, image: Image.Image) -> Image.Image:
        """Return the picture that the centre of `size` is cut out of: resized, and padded in "longest".

        Args:
            image: An RGB image of any size.
        """
        height, width = self.resize or self.size
        if self.resize_mode == "squash":
            return image.resize((width, height), FILTERS[self.interpolation])
        if self.resize_mode == "longest":
            return _crop_or_pad(self._resize_longest(image, height, width), height, width, self.fill_color)
        return self._resize_shortest(image, height, width)

    def normalise(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Scale pixels to [0, 1], subtract the mean and divide by the standard deviation.

        Args:
            pixels: uint8 (n, height, width, 3).

        Returns:
            float32 (n, 3, height, width), contiguous.
        """
        scaled = pixels.astype(np.float32) / np.float32(255)
        scaled = (scaled - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))

    def to_json(self) -> str:
        """Return the values as JSON with sorted keys; `resize` is left out where it is None."""
        values = asdict(self)
        if self.resize is None:
            del values["resize"]
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            UlfineError: The text is something else.
        """
        try:
            return cls.from_open_clip(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UlfineError(
                "the recorded preprocessing cannot be read: make the cache or the export again"
            ) from error

    @classmethod
    def from_open_clip(cls, cfg: Mapping[str, Any]) -> Self:
        """Take over open_clip's `model.visual.preprocess_cfg`.

        Args:
            cfg: Keys size (int or pair), mean, std, interpolation, resize_mode, fill_color and, beyond
                open_clip's own, resize (pair); others are ignored.

        Raises:
            ValueError: An interpolation or resize mode is unknown.
        """
        size = cfg["size"]
        height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
        # open_clip evaluates "random" interpolation with bicubic.
        interpolation = {"random": "bicubic"}.get(cfg.get("interpolation") or "bicubic", cfg.get("interpolation"))
        resize_mode = cfg.get("resize_mode") or "shortest"
        interpolation = interpolation or "bicubic"
        if interpolation not in FILTERS or resize_mode not in ("shortest", "longest", "squash"):
            raise ValueError(f"unknown preprocessing: interpolation {interpolation}, resize mode {resize_mode}")
        resize = cfg.get("resize")
        return cls(
            size=(int(height), int(width)),
            mean=_triple(cfg["mean"]),
            std=_triple(cfg["std"]),
            interpolation=cast("Interpolation", interpolation),
            resize_mode=resize_mode,
            fill_color=int(cfg.get("fill_color") or 0),
            resize=None if resize is None else (int(resize[0]), int(resize[1])),
        )

    def _resize_shortest(self, image: Image.Image, height: int, width: int) -> Image.Image:
        image = _without_far_ends(image)
        if height == width:
            # torchvision.transforms.Resize(int): the longer side is rounded down.
            short, long = sorted(image.size)
            longer = int(height * long / short)
            size = (height, longer) if image.width <= image.height else (longer, height)
            return image.resize(size, FILTERS[self.interpolation])
        ratio = min(image.height / height, image.width / width)
        # open_clip's transform for targets that are not square always takes the bicubic filter, timm's does not.
        chosen = "bicubic" if self.resize is None else self.interpolation
        return image.resize((round(image.width / ratio), round(image.height / ratio)), FILTERS[chosen])

    def _resize_longest(self, image: Image.Image, height: int, width: int) -> Image.Image:
        ratio = max(image.height / height, image.width / width)
        size = (max(1, round(image.width / ratio)), max(1, round(image.height / ratio)))
        return image.resize(size, FILTERS[self.interpolation])


def _without_far_ends(image: Image.Image) -> Image.Image:
    short = min(image.size)
    if max(image.size) <= _MAX_ASPECT * short:
        return image
    width, height = (min(side, _MAX_ASPECT * short) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _crop_or_pad(image: Image.Image, height: int, width: int, fill: int) -> Image.Image:
    """Cut the centre out, after padding where the image is smaller; torchvision's rounding."""
    missing_x, missing_y = max(0, width - image.width), max(0, height - image.height)
    if missing_x or missing_y:
        border = (missing_x // 2, missing_y // 2, (missing_x + 1) // 2, (missing_y + 1) // 2)
        image = ImageOps.expand(image, border, fill=(fill, fill, fill))
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _triple(values: Any) -> tuple[float, float, float]:
    if isinstance(values, int | float):
        return float(values), float(values), float(values)
    first, second, third = (float(value) for value in values)
    return first, second, third
