"""Views of an image: the pixel arrays that stage one encodes for it, in the order of the cache's views axis."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from ulfine_cache.errors import UsageError
from ulfine_cache.preprocess import Preprocess

VIEWS = ("center",)


def check_views(views: str) -> int:
    """Return how many views a recipe makes.

    Raises:
        UsageError: There is no such recipe.
    """
    if views not in VIEWS:
        raise UsageError(f"no views {views!r}: there are {', '.join(VIEWS)}")
    return 1


def first_view(recipe: str, preprocess: Preprocess) -> Preprocess:
    """Return the preprocessing that makes the first view of a recipe."""
    check_views(recipe)
    return preprocess


def make_views(
    image: Image.Image, preprocess: Preprocess, recipe: str = "center", seed: str = ""
) -> npt.NDArray[np.uint8]:
    """Make the views of one image: for "center", the encoder's own preprocessing.

    Returns:
        uint8 (views, height, width, 3).
    """
    return preprocess.to_pixels(image)[None]
