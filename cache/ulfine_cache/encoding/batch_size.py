"""How many images are encoded together where the user leaves it open."""

import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ulfine_cache.encoders.encoder import ClipEncoder

_CPU = 32
"""Measured on two cores with ViT-B/32 in bf16: 16 to 32 rows a lane are fastest, larger batches leave the caches."""
_GPU = (32, 64, 128, 256, 512, 1024)
_GPU_AGREED = 256
_WORTH_IT = 1.05
_REPEATS = 3


def find_batch_size(encoder: "ClipEncoder") -> int:
    """Return a good number of rows for one forward pass.

    On a CPU it is a constant. On a GPU batches of noise of growing size are timed until the next size brings less than
    5 % or does not fit.

    Returns:
        Rows, at least 1.
    """
    if encoder.device.type != "cuda":
        return _CPU
    import torch

    best, best_rate = 1, 0.0
    for rows in _GPU:
        # Not blank, of which some encoders make features without a direction.
        noise = np.random.default_rng(0).integers(0, 256, (rows, *encoder.preprocess.pixel_shape), np.uint8)
        try:
            encoder.encode_images(noise)
            started = time.perf_counter()
            for _ in range(_REPEATS):
                encoder.encode_images(noise)
            rate = _REPEATS * rows / (time.perf_counter() - started)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            break
        if rate < best_rate * _WORTH_IT:
            break
        best, best_rate = rows, rate
    return best


def agreed_batch_size(device: str) -> int:
    """Return the number of rows that processes take which fill one cache together: one that none of them measures.

    Args:
        device: The kind of device that they encode on, such as "cuda".
    """
    return _GPU_AGREED if device == "cuda" else _CPU
