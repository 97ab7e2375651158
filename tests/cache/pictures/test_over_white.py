"""TGA files whose fourth channel is transparency, or is not, as they say themselves."""

import numpy as np
import pytest
from PIL import Image

from tests.cache.pictures.handmade import saved, tga
from ulfine_cache.pictures.pixels import decode

VALUES = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [100, 50, 25, 128]]], np.uint8)
AS_THEY_ARE = [[200, 100, 50], [200, 100, 50], [100, 50, 25]]
OVER_WHITE = [[200, 100, 50], [255, 255, 255], [177, 152, 139]]


@pytest.mark.parametrize(
    ("attributes", "alpha_bits", "expected"),
    [
        # No alpha; undefined and to be ignored; undefined and to be kept; useful; multiplied already.
        (0, 8, AS_THEY_ARE),
        (1, 8, AS_THEY_ARE),
        (2, 8, AS_THEY_ARE),
        (3, 8, OVER_WHITE),
        (4, 8, [[200, 100, 50], [255, 255, 255], [227, 177, 152]]),
        # Without an extension area the descriptor counts.
        (None, 8, OVER_WHITE),
        (None, 0, AS_THEY_ARE),
    ],
)
def test_tga__alpha_as_the_file_says(attributes, alpha_bits, expected):
    picture = np.asarray(decode(tga(VALUES, attributes, alpha_bits)), int)
    assert np.abs(picture[0] - expected).max() <= 1


@pytest.mark.parametrize("place", [0, 60, 600, 2**31])
def test_tga__extension_area_that_is_not_there(place):
    data = bytearray(tga(VALUES, 0, 8))
    data[-26:-22] = place.to_bytes(4, "little")
    assert np.abs(np.asarray(decode(bytes(data)), int)[0] - OVER_WHITE).max() <= 1


def test_tga__files_that_pillow_writes():
    for mode, expected in (("RGBA", (255, 255, 255)), ("LA", (255, 255, 255)), ("RGB", (0, 0, 0))):
        assert decode(saved(Image.new(mode, (2, 2)), "TGA")).getpixel((0, 0)) == expected
    assert decode(saved(Image.new("RGBA", (2, 2), (1, 2, 3, 255)), "TGA")).getpixel((0, 0)) == (1, 2, 3)
