"""How far preprocessing inside a graph is from preprocessing in Python, in grey levels and in probability."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError
from ulfine_exports.gate.parity import Outputs, largest_difference, round_up

if TYPE_CHECKING:
    from ulfine_cache.preprocess import Preprocess

IMAGE_TOLERANCE = 0.01
"""Largest difference in probability that preprocessing inside the graph may make."""


@dataclass(frozen=True)
class Preparation:
    """What preprocessing inside the graph changes.

    Attributes:
        tolerance: Largest difference in probability that passes.
        largest_difference: Largest difference in probability that was seen.
        largest_pixel_difference: Largest difference of a pixel's channel, in grey levels of 255.
        mean_pixel_difference: The mean of all, in grey levels.
        pictures: Pictures compared.
    """

    tolerance: float
    largest_difference: float
    largest_pixel_difference: float
    mean_pixel_difference: float
    pictures: int

    @property
    def rounded(self) -> float:
        """The largest difference in probability, rounded up to two digits; what the file records."""
        return round_up(self.largest_difference)


def prepare(pictures: NDArray[np.uint8], preprocess: "Preprocess", views: str) -> NDArray[np.float32]:
    """Preprocess pictures in Python, as stage one does.

    Args:
        pictures: uint8 (n, height, width, 3).
        preprocess: The encoder's own.
        views: ``"center"`` or ``"five-crop"``.

    Returns:
        float32 (n, 3, H, W), or (n, 5, 3, H, W) for five crops.
    """
    from PIL import Image

    from ulfine_cache.pictures.views import make_views

    images = [Image.fromarray(picture) for picture in pictures]
    if views == "center":
        return preprocess.normalise(np.stack([preprocess.to_pixels(image) for image in images]))
    return np.stack([preprocess.normalise(make_views(image, preprocess, views)) for image in images])


def compare_preparation(
    pairs: list[tuple[NDArray[np.float32], NDArray[np.float32]]],
    classify: Callable[[NDArray[np.float32]], Outputs],
    found: list[Outputs],
    levels: NDArray[np.float64],
    pictures: int,
) -> Preparation:
    """Compare two ways of preprocessing the same pictures.

    Args:
        pairs: For each batch what Python and what the graph made of it, float32 (n, ..., 3, H, W), normalised.
        classify: Gives the outputs of a prepared batch, with torch.
        found: What that gives for the graph's side of each pair.
        levels: What differences are multiplied by to count in grey levels, see `Preprocess.grey_levels`.
        pictures: Number of different pictures in all batches, for the report.

    Raises:
        UlfineError: Probabilities differ by more than `IMAGE_TOLERANCE`.
    """
    worst, worst_pixel, total, count = 0.0, 0.0, 0.0, 0
    for (python, graph), outputs in zip(pairs, found, strict=True):
        difference = np.abs(python.astype(np.float64) - graph) * levels
        worst_pixel = max(worst_pixel, float(difference.max()))
        total, count = total + float(difference.sum()), count + difference.size
        worst = float(np.maximum(worst, largest_difference(classify(python)[0], outputs[0])))
    if not worst <= IMAGE_TOLERANCE:
        raise UlfineError(
            f"nothing was written: preprocessing inside the graph changes probabilities by {worst:.2g} (pixels by "
            f"{worst_pixel:.1f} grey levels), {IMAGE_TOLERANCE:g} is allowed: use --input pixels"
        )
    # Floats that were normalised come back as 0.99999994 levels.
    return Preparation(IMAGE_TOLERANCE, worst, round(worst_pixel, 3), round(total / count, 6), pictures)
