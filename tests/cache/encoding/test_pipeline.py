"""Batches, look-ahead and memory of the decode-and-encode pipeline."""

import io
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from ulfine_cache.encoding.decoding import PixelRecipe
from ulfine_cache.encoding.lanes import Lanes
from ulfine_cache.encoding.pipeline import encode_blocks, in_order
from ulfine_cache.errors import UlfineError
from ulfine_cache.preprocess import Preprocess
from ulfine_cache.sources.source import SourceItem


class MemorySource:
    """Pictures whose colour is their number; every seventh is broken."""

    def __init__(self, count):
        self.items = [SourceItem(f"{k:03d}.png", k % 3, "", 1, 1) for k in range(count)]
        self.reads = 0

    def read(self, item):
        self.reads += 1
        number = int(item.path[:3])
        if number % 7 == 6:
            return b"broken"
        buffer = io.BytesIO()
        Image.new("RGB", (4, 4), (number, 0, 0)).save(buffer, "PNG")
        return buffer.getvalue()


class ColourEncoder:
    """Gives each picture's colour as its feature, and refuses batches that do not fit."""

    preprocess = Preprocess((4, 4), (0.0,) * 3, (1.0,) * 3)
    n_features = 2
    device = torch.device("cpu")

    def __init__(self, fits=1000):
        self.fits, self.batches = fits, []

    def encode_images(self, pixels):
        if len(pixels) > self.fits:
            raise torch.cuda.OutOfMemoryError("too large")
        self.batches.append(len(pixels))
        return np.stack([pixels[:, 0, 0, 0], np.ones(len(pixels))], axis=1).astype(np.float32)

    def encode_both(self, pixels):
        features = self.encode_images(pixels)
        return features, np.repeat(features[:, :1], 3, axis=1)


def encoded(source, sizes, encoder, recorder, **options):
    blocks, start = [], 0
    for size in sizes:
        blocks.append(source.items[start : start + size])
        start += size
    values = {"batch_size": 4, "workers": 2, "progress": recorder} | options
    return encode_blocks(source, blocks, encoder, PixelRecipe(encoder.preprocess), **values)


@pytest.mark.parametrize("workers", [1, 4])
def test_encode_blocks__order_and_batches(recorder, workers):
    source, encoder = MemorySource(30), ColourEncoder()
    blocks = list(encoded(source, [13, 1, 0, 16], encoder, recorder, workers=workers))
    good = [k for k in range(30) if k % 7 != 6]
    assert [int(value) for block in blocks for value in block.features[:, 0, 0]] == good
    assert [image.item.path for block in blocks for image in block.images] == [f"{k:03d}.png" for k in good]
    assert [path for block in blocks for path, _ in block.skipped] == ["006.png", "013.png", "020.png", "027.png"]
    # 12 good in the first block, none in the second and third (13 is broken), 14 in the last: none crosses an end
    assert sorted(encoder.batches) == [2, 4, 4, 4, 4, 4, 4]
    assert blocks[1].features.shape == (0, 1, 2)
    assert recorder.updates[-1] == ("encoding", 30, 30)


def test_encode_blocks__halves_batches_that_do_not_fit(recorder):
    source, encoder = MemorySource(20), ColourEncoder(fits=3)
    (block,) = encoded(source, [20], encoder, recorder, batch_size=8)
    assert block.features[:, 0, 0].astype(int).tolist() == [k for k in range(20) if k % 7 != 6]
    assert max(encoder.batches) == 2
    assert [note for note in recorder.notes if "memory" in note] == [
        "not enough GPU memory: batches of 4 from here on",
        "not enough GPU memory: batches of 2 from here on",
    ]
    with pytest.raises(UlfineError, match="not even one image fits"):
        list(encoded(source, [20], ColourEncoder(fits=0), recorder))


def test_encode_blocks__looks_ahead_a_bounded_way(recorder):
    source = MemorySource(400)
    lanes = Lanes(ColourEncoder(), 4, pre_projection=False, progress=recorder).count
    blocks = encoded(source, [4] * 100, ColourEncoder(), recorder)
    next(blocks)
    # Two batches for each lane, and the one that is submitted before the oldest is taken; of decoded images two batches
    # and one more; broken ones make batches longer.
    assert source.reads <= (2 * lanes + 1 + 2 + 1) * 5 + 1
    blocks.close()


def test_encode_blocks__gives_features_before_the_projection(recorder):
    source = MemorySource(9)
    first, second = encoded(source, [6, 3], ColourEncoder(), recorder, pre_projection=True)
    assert first.features_pre.shape == (6, 1, 3)
    np.testing.assert_array_equal(first.features_pre[:, 0, 1], first.features[:, 0, 0])
    np.testing.assert_array_equal(second.features_pre[:, 0, 2], [7, 8])
    (without,) = encoded(source, [9], ColourEncoder(), recorder)
    assert without.features_pre is None


def test_encode_blocks__strict_stops_at_the_first_unreadable_image(recorder):
    blocks = encoded(MemorySource(30), [6, 24], ColourEncoder(), recorder, strict=True)
    assert len(next(blocks).images) == 6
    with pytest.raises(UlfineError, match=r"^006.png: not an image \(--strict stops"):
        list(blocks)


def test_in_order__draws_items_as_there_is_room():
    drawn = []

    def items():
        for number in range(100):
            drawn.append(number)
            yield number

    with ThreadPoolExecutor(3) as pool:
        results = in_order(pool, lambda number: -number, items(), 5)
        assert [next(results), next(results)] == [0, -1]
        assert len(drawn) == 7
        assert list(results) == [-number for number in range(2, 100)]


def test_lanes__leave_torch_threads_as_they_were(recorder):
    before = torch.get_num_threads()
    with Lanes(ColourEncoder(), 4, pre_projection=False, progress=recorder) as lanes:
        inside = lanes.pool.submit(torch.get_num_threads).result()
    assert inside * lanes.count <= max(before, os.cpu_count())
    assert torch.get_num_threads() == before
