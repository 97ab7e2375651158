"""What encoding in int8 costs: features of a sample of the images against those in fp32, before all are encoded."""

import contextlib
import warnings

import numpy as np

from ulfine_cache.encoders.encoder import ClipEncoder, UnusableFeatures
from ulfine_cache.encoding.decoding import PixelRecipe, decode_item
from ulfine_cache.sources.source import ImageSource

_SAMPLE = 16


def cosine_to_fp32(source: ImageSource, encoder: ClipEncoder, recipe: PixelRecipe) -> tuple[float, int] | None:
    """Return the mean cosine of an encoder's features to those in fp32, and of how many images.

    Args:
        source: The images; up to 16 are read, evenly spaced, and those that cannot be read left out.
        encoder: In another precision than fp32.
        recipe: From bytes to pixels.

    Returns:
        The mean over images and views, at most 1, rounded to six digits; None where no image could be
        encoded.
    """
    places = np.unique(np.linspace(0, len(source.items) - 1, _SAMPLE).astype(int)) if source.items else ()
    cosines = []
    with warnings.catch_warnings():
        # As in the cache writer, which reads them again.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for place in places:
            pixels = decode_item(source, recipe, source.items[place]).pixels
            if pixels is None:
                continue
            # Of what has no direction the encoding itself tells, with the image's name.
            with contextlib.suppress(UnusableFeatures):
                product = encoder.encode_images(pixels) * encoder.in_fp32.encode_images(pixels)
                cosines.append(product.sum(axis=1).mean())
    return (round(min(1.0, float(np.mean(cosines))), 6), len(cosines)) if cosines else None
