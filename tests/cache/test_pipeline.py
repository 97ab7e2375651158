"""Batches, look-ahead and memory of the decode-and-encode pipeline."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from ulfine_cache.errors import UlfineError
from ulfine_cache.pipeline import encode_blocks
from ulfine_cache.preprocess import Preprocess
from ulfine_cache.source import SourceItem


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

    def __init__(self, fits=1000):
        self.fits, self.batches = fits, []

    def encode_images(self, pixels):
        if len(pixels) > self.fits:
            raise torch.cuda.OutOfMemoryError("too large")
        self.batches.append(len(pixels))
        return np.stack([pixels[:, 0, 0, 0], np.ones(len(pixels))], axis=1).astype(np.float32)


def encoded(source, sizes, encoder, recorder, **options):
    blocks, start = [], 0
    for size in sizes:
        blocks.append(source.items[start : start + size])
        start += size
    values = {"batch_size": 4, "workers": 2, "progress": recorder} | options
    return encode_blocks(source, blocks, encoder, **values)


@pytest.mark.parametrize("workers", [1, 4])
def test_encode_blocks__order_and_batches(recorder, workers):
    source, encoder = MemorySource(30), ColourEncoder()
    blocks = list(encoded(source, [13, 1, 0, 16], encoder, recorder, workers=workers))
    good = [k for k in range(30) if k % 7 != 6]
    assert [int(value) for block in blocks for value in block.features[:, 0, 0]] == good
    assert [image.item.path for block in blocks for image in block.images] == [f"{k:03d}.png" for k in good]
    assert [path for block in blocks for path, _ in block.skipped] == ["006.png", "013.png", "020.png", "027.png"]
    # 12 good in the first block, none in the second and third (13 is broken), 14 in the last: none crosses an end
    assert encoder.batches == [4, 4, 4, 4, 4, 4, 2]
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
    source = MemorySource(200)
    blocks = encoded(source, [4] * 50, ColourEncoder(), recorder)
    next(blocks)
    # the 4 of the block, two batches of 4 ahead, and the one that is submitted before the oldest is taken
    assert source.reads <= 4 + 2 * 4 + 1
    blocks.close()
