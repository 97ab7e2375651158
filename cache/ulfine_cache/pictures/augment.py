"""Random distortions of pictures for consistency training: FixMatch's weak one, and a strong one after RandAugment.

Sources: Sohn et al. 2020 (FixMatch, arXiv:2001.07685), Cubuk et al. 2020 (RandAugment, arXiv:1909.13719), DeVries and
Taylor 2017 (Cutout, arXiv:1708.04552), Szegedy et al. 2015 (random resized crop, arXiv:1409.4842). Random numbers come
from a generator that the caller makes for each view, so nothing here is shared between threads.
"""

import hashlib
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageOps

from ulfine_cache.preprocess import FILTERS, Preprocess

SHIFT = 0.125
"""FixMatch, section 2.3: the weak view is shifted by up to 12.5 % of the side, both ways."""
CROP_AREA = (0.08, 1.0)
CROP_ASPECT = (3 / 4, 4 / 3)
"""Area and aspect of the random resized crop, as in RandAugment's ImageNet training (after Szegedy et al.)."""
OPERATIONS = 2
"""FixMatch, section 2.3: two operations a picture, drawn with replacement, each with a strength of its own."""
CUTOUT = 0.5
"""Side of the grey square as a share of the shorter side: 16 of 32 pixels in FixMatch's code and for Cutout."""
GREY = 127

_CROP_TRIES = 10


def view_generator(seed: str, view: int) -> np.random.Generator:
    """Return the random numbers of one view of one image.

    Args:
        seed: What stands for the image, such as the hash of its bytes.
        view: Number of the view, >= 0.
    """
    digest = hashlib.sha256(f"{seed}/{view}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest))


def weak_view(pixels: npt.NDArray[np.uint8], generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Flip a picture left to right with probability 1/2 and shift it, reflecting it at the edges.

    Args:
        pixels: uint8 (height, width, 3).
        generator: Source of the random numbers.

    Returns:
        uint8 (height, width, 3).
    """
    height, width, _ = pixels.shape
    if generator.random() < 0.5:
        pixels = pixels[:, ::-1]
    down, across = int(SHIFT * height), int(SHIFT * width)
    padded = np.pad(pixels, ((down, down), (across, across), (0, 0)), mode="reflect")
    top, left = generator.integers(0, 2 * down + 1), generator.integers(0, 2 * across + 1)
    return np.ascontiguousarray(padded[top : top + height, left : left + width])


def strong_view(image: Image.Image, preprocess: Preprocess, generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Crop, flip, distort and partly cover a picture.

    A random resized crop, a flip with probability 1/2, two random operations of FixMatch's list (its table 12) with
    random strengths, and a grey square.

    Args:
        image: An RGB image of any size.
        preprocess: Gives the size and the filter of the resize.
        generator: Source of the random numbers.

    Returns:
        uint8 (height, width, 3).
    """
    height, width = preprocess.size
    box = crop_box(image.width, image.height, generator)
    # `box` alone would let the filter look at pixels outside the crop.
    picture = image.crop(box).resize((width, height), FILTERS[preprocess.interpolation])
    if generator.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for number in generator.integers(0, len(POOL), OPERATIONS):
        operation, least, most = POOL[number]
        picture = operation(picture, float(generator.uniform(least, most)))
    return _cut_out(np.array(picture), generator)


def crop_box(width: int, height: int, generator: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw a crop as torchvision's RandomResizedCrop does; the centre where ten tries do not fit.

    Args:
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        generator: Source of the random numbers.

    Returns:
        left, top, right, bottom.
    """
    for _ in range(_CROP_TRIES):
        area = width * height * generator.uniform(*CROP_AREA)
        aspect = math.exp(generator.uniform(math.log(CROP_ASPECT[0]), math.log(CROP_ASPECT[1])))
        across, down = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < across <= width and 0 < down <= height:
            left = int(generator.integers(0, width - across + 1))
            top = int(generator.integers(0, height - down + 1))
            return left, top, left + across, top + down
    across = min(width, max(1, round(height * CROP_ASPECT[1])))
    down = min(height, max(1, round(width / CROP_ASPECT[0])))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def _cut_out(pixels: npt.NDArray[np.uint8], generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Cover a square whose centre is anywhere in the picture, so that it may be cut off at the edges."""
    height, width, _ = pixels.shape
    side = int(CUTOUT * min(height, width))
    top, left = (int(generator.integers(0, size)) - side // 2 for size in (height, width))
    pixels[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)] = GREY
    return pixels


def _sheared(image: Image.Image, across: float, down: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, (1, across, 0, down, 1, 0))


def _moved(image: Image.Image, across: float, down: float) -> Image.Image:
    offsets = (1, 0, int(across * image.width), 0, 1, int(down * image.height))
    return image.transform(image.size, Image.Transform.AFFINE, offsets)


_Operation = Callable[[Image.Image, float], Image.Image]

POOL: tuple[tuple[_Operation, float, float], ...] = (
    (lambda image, _: ImageOps.autocontrast(image), 0, 0),
    (lambda image, factor: ImageEnhance.Brightness(image).enhance(factor), 0.05, 0.95),
    (lambda image, factor: ImageEnhance.Color(image).enhance(factor), 0.05, 0.95),
    (lambda image, factor: ImageEnhance.Contrast(image).enhance(factor), 0.05, 0.95),
    (lambda image, _: ImageOps.equalize(image), 0, 0),
    (lambda image, _: image, 0, 0),
    # 4 to 8 bits are kept, each number with the same probability.
    (lambda image, bits: ImageOps.posterize(image, min(8, int(bits))), 4, 9),
    (lambda image, degrees: image.rotate(degrees), -30, 30),
    (lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor), 0.05, 0.95),
    (lambda image, shear: _sheared(image, shear, 0), -0.3, 0.3),
    (lambda image, shear: _sheared(image, 0, shear), -0.3, 0.3),
    # Values above the threshold are inverted.
    (lambda image, threshold: ImageOps.solarize(image, int(256 * threshold)), 0, 1),
    (lambda image, share: _moved(image, share, 0), -0.3, 0.3),
    (lambda image, share: _moved(image, 0, share), -0.3, 0.3),
)
"""FixMatch's operations with the range of their strengths (table 12), in its order: autocontrast, brightness, colour,
contrast, equalize, identity, posterize, rotate, sharpness, shear x, shear y, solarize, translate x, translate y. What a
picture uncovers at its edges is black, the nearest pixel is taken, as in FixMatch's code."""
