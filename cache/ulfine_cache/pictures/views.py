"""Views of an image: the pixel arrays that stage one encodes for it, in the order of the cache's views axis."""

import re
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from ulfine_cache.errors import UsageError
from ulfine_cache.pictures.augment import strong_view, view_generator, weak_view
from ulfine_cache.pictures.joined_preprocess import JoinedPreprocess
from ulfine_cache.preprocess import Preprocess

MAX_STRONG = 16
_WEAK_STRONG = re.compile(r"weak-strong:([0-9]{1,2})")
_ENLARGED, _CROP = 248, 224
"""LIFT's test-time ensemble resizes to 248 and crops 224; other sizes are enlarged by the same factor."""


def check_views(recipe: str) -> int:
    """Return how many views a recipe makes.

    Args:
        recipe: "center" (1 view), "five-crop" (5), or "weak-strong:K" (1 + K) with 1 <= K <= 16.

    Raises:
        UsageError: There is no such recipe.

    Example:
        >>> check_views("weak-strong:2")
        3
    """
    if recipe == "center":
        return 1
    if recipe == "five-crop":
        return 5
    match = _WEAK_STRONG.fullmatch(recipe)
    if match and 1 <= int(match[1]) <= MAX_STRONG:
        return 1 + int(match[1])
    raise UsageError(
        f"no views {recipe!r}: there are center, five-crop and weak-strong:K with K from 1 to {MAX_STRONG}, such as "
        "weak-strong:2"
    )


def first_view(recipe: str, preprocess: Preprocess) -> Preprocess:
    """Return the preprocessing that fits the first view of a recipe.

    It is what a cache records, and what is done to new pictures: for "five-crop" it makes the first view itself, for
    "weak-strong:K" that view without its flip and shift.

    Args:
        recipe: As in `check_views`.
        preprocess: The encoder's own.

    Raises:
        UsageError: There is no such recipe.
    """
    check_views(recipe)
    if recipe != "five-crop":
        return preprocess
    if isinstance(preprocess, JoinedPreprocess):
        return JoinedPreprocess.of([first_view(recipe, part) for part in preprocess.parts])
    height, width = preprocess.size
    return replace(preprocess, resize=(round(height * _ENLARGED / _CROP), round(width * _ENLARGED / _CROP)))


def make_views(
    image: Image.Image, preprocess: Preprocess, recipe: str = "center", seed: str = ""
) -> npt.NDArray[np.uint8]:
    """Make the views of one image.

    - "center": the encoder's own preprocessing.
    - "five-crop": LIFT's test-time ensemble (Shi et al. 2024): the shorter side is resized to 248/224 of the encoder's
      size; centre, top left, top right, bottom left and bottom right are cut out.
    - "weak-strong:K": one weakly and K strongly distorted views, as consistency training takes them; see `augment`.

    Args:
        image: An RGB image of any size; it is not changed.
        preprocess: The encoder's own.
        recipe: As in `check_views`.
        seed: What the random numbers of "weak-strong:K" begin from: the same seed, image and libraries give the same
            pixels, and view k does not depend on K.

    Returns:
        uint8 (views, height, width, 3), or (views, L) of `JoinedPreprocess`.

    Raises:
        UsageError: There is no such recipe.
    """
    count = check_views(recipe)
    if isinstance(preprocess, JoinedPreprocess):
        made = [make_views(image, part, recipe, seed) for part in preprocess.parts]
        return np.concatenate([views.reshape(count, -1) for views in made], axis=1)
    if recipe == "center":
        return preprocess.to_pixels(image)[None]
    if recipe == "five-crop":
        return _five_crops(image, first_view(recipe, preprocess))
    weak = weak_view(preprocess.to_pixels(image), view_generator(seed, 0))
    strong = [strong_view(image, preprocess, view_generator(seed, view)) for view in range(1, count)]
    return np.stack([weak, *strong])


def _five_crops(image: Image.Image, enlarged: Preprocess) -> npt.NDArray[np.uint8]:
    height, width = enlarged.size
    resized = enlarged.resized(image)
    pixels = np.asarray(resized)
    right, bottom = resized.width - width, resized.height - height
    # torchvision.transforms.functional.five_crop, with the centre first.
    corners = [(round(right / 2), round(bottom / 2)), (0, 0), (right, 0), (0, bottom), (right, bottom)]
    return np.stack([pixels[top : top + height, left : left + width] for left, top in corners])
