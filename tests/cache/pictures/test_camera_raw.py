"""TIFF files of cameras, whose pages hold a preview and not the picture: refused, and all others read."""

import numpy as np
import pytest
from PIL import Image

from tests.cache.pictures.handmade import saved, tiff
from ulfine_cache.pictures.camera_raw import camera_raw
from ulfine_cache.pictures.pixels import UndecodableImage, decode

PREVIEW = np.full((4, 6, 3), 99, np.uint8)
REDUCED, MAKE, DNG = 254, 271, 50706


def part(photometric, reduced=0):
    return {REDUCED: (4, [reduced]), 256: (4, [4000]), 257: (4, [3000]), 258: (3, [14]), 262: (3, [photometric])}


def raw(make, **options):
    return tiff(PREVIEW, tags={REDUCED: (4, [1]), MAKE: (2, make), **options.pop("tags", {})}, **options)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("data", "name"),
    [
        # A Nikon's NEF: a preview, another one as a part, and the sensor's values as another part.
        ({"make": b"NIKON CORPORATION\0", "more": [part(6, 1), part(32803)]}, " (NIKON CORPORATION)"),
        ({"make": b"SONY\0", "more": [part(32803)]}, " (SONY)"),
        ({"make": b"SAMSUNG\0", "more": [part(34892)]}, " (SAMSUNG)"),
        # DNG, whatever its parts are.
        ({"make": b"Leica\0", "tags": {DNG: (1, [1, 4, 0, 0])}}, " (DNG)"),
        ({"make": b"Leica\0", "tags": {DNG: (1, [1, 4, 0, 0])}, "more": [part(32803)]}, " (DNG)"),
        # A page that is the sensor's values itself, as Pentax has it.
        ({"make": b"PENTAX\0", "photometric": 32803}, " (PENTAX)"),
        ({"make": b"\0", "more": [part(32803)]}, ""),
    ],
)
def test_camera_raw__previews_are_refused(data, name, order):
    why = f"camera raw file{name}, of which only a preview could be read: develop it to JPEG, PNG or TIFF"
    made = raw(order=order, **data)
    assert camera_raw(made) == why
    with pytest.raises(UndecodableImage) as caught:
        decode(made)
    assert str(caught.value) == why


def test_previews__of_no_camera_are_refused_too():
    data = tiff(PREVIEW, tags={REDUCED: (4, [1])}, more=[part(2)])
    assert (
        camera_raw(data)
        == "TIFF whose pages are previews of a picture that is not read: save it as PNG or as a plain TIFF"
    )


@pytest.mark.parametrize(
    "data",
    [
        tiff(PREVIEW),
        # A camera's own TIFF; a page that calls itself small, and is all there is; a page with a smaller version of it.
        tiff(PREVIEW, tags={MAKE: (2, b"NIKON CORPORATION\0")}),
        tiff(PREVIEW, tags={REDUCED: (4, [1])}),
        tiff(PREVIEW, more=[part(2, 1)]),
        tiff(PREVIEW, tags={REDUCED: (4, [1])}, more=[part(2, 1)]),
    ],
)
def test_camera_raw__other_files_are_read(data):
    assert camera_raw(data) == ""
    assert decode(data).getpixel((1, 1)) == (99, 99, 99)


def test_camera_raw__damaged_files_raise_nothing():
    whole = raw(b"NIKON\0", more=[part(32803)])
    draw = np.random.default_rng(0)
    for _ in range(300):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[draw.integers(0, 200, 4)] = draw.integers(0, 256, 4, np.uint8)
        assert isinstance(camera_raw(damaged.tobytes()[: draw.integers(0, len(whole) + 1)]), str)
    # Pages in a circle.
    page = bytearray(saved(Image.new("RGB", (2, 2)), "TIFF"))
    start = int.from_bytes(page[4:8], "little")
    behind = start + 2 + 12 * int.from_bytes(page[start : start + 2], "little")
    page[behind : behind + 4] = page[4:8]
    assert camera_raw(bytes(page)) == ""
