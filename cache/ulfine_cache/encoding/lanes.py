"""Lanes: threads that each push whole batches through the encoder, side by side."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from ulfine_cache.encoders.encoder import ClipEncoder, UnusableFeatures
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress

_MAX_CPU_LANES = 8
_GPU_LANES = 2
"""While one waits for its copies, the other keeps the GPU busy."""

Features = tuple[npt.NDArray[np.float16], npt.NDArray[np.float16] | None]


class Lanes:
    """The threads that encode, as a context manager.

    On a CPU each lane encodes a batch of its own on its share of the cores: threads that share one batch wait for each
    other at every layer, and for the decoders that run beside them. On a GPU each lane has its own stream, so that the
    copies of one batch overlap with the arithmetic of the other.

    Args:
        encoder: What encodes.
        batch_size: Rows that are given to the encoder at once; halved when a GPU's memory does not suffice.
        pre_projection: Also give the features before the encoder's projection.
        progress: Receives a note when batches are halved.
        cores: How many there are for them; None for all of the machine.

    Attributes:
        count: How many there are.
        pool: Their threads.
    """

    def __init__(
        self,
        encoder: ClipEncoder,
        batch_size: int,
        *,
        pre_projection: bool,
        progress: Progress,
        cores: int | None = None,
    ) -> None:
        self._encoder, self._rows, self._pre, self._progress = encoder, batch_size, pre_projection, progress
        cores = cores or os.cpu_count() or 1
        on_cpu = encoder.device.type == "cpu"
        self.count = min(cores, _MAX_CPU_LANES) if on_cpu else _GPU_LANES
        self._threads = max(1, cores // self.count) if on_cpu else torch.get_num_threads()
        self._lock = threading.Lock()
        self._busy_seconds, self._started = 0.0, time.perf_counter()

    def __enter__(self) -> Self:
        """Start the threads."""
        self._threads_before = torch.get_num_threads()
        self.pool = ThreadPoolExecutor(self.count, thread_name_prefix="encode", initializer=self._enter_lane)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let what is under way end and drop what is queued."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._threads_before)

    def encode(self, pixels: npt.NDArray[np.uint8]) -> Features:
        """Encode rows of pixels; runs on a lane.

        Args:
            pixels: uint8 (n, height, width, 3), n >= 1.

        Returns:
            float16 (n, D) and, if asked for, float16 (n, D_pre); both unit norm.

        Raises:
            UnusableFeatures: A row is NaN, infinite or all zeros.
            UlfineError: Not even one row fits into the GPU's memory.
        """
        started = time.perf_counter()
        try:
            return self._encode(pixels)
        finally:
            with self._lock:
                self._busy_seconds += time.perf_counter() - started

    def busy(self) -> float:
        """Return the share of the time so far in which the lanes had a batch, in [0, 1]."""
        return self._busy_seconds / max(1e-9, self.count * (time.perf_counter() - self._started))

    def _encode(self, pixels: npt.NDArray[np.uint8]) -> Features:
        while True:
            rows = self._rows
            try:
                parts = [self._forward(pixels, start, rows) for start in range(0, len(pixels), rows)]
            except torch.cuda.OutOfMemoryError as error:
                self._halve(rows, error)
                continue
            features = np.concatenate([part[0] for part in parts])
            pre = [part[1] for part in parts if part[1] is not None]
            return features, np.concatenate(pre) if pre else None

    def _forward(self, pixels: npt.NDArray[np.uint8], start: int, rows: int) -> Features:
        part = pixels[start : start + rows]
        try:
            if self._pre:
                features, pre = self._encoder.encode_both(part)
                return features.astype(np.float16), pre.astype(np.float16)
            return self._encoder.encode_images(part).astype(np.float16), None
        except UnusableFeatures as error:
            raise UnusableFeatures(str(error), start + error.row) from error

    def _halve(self, failed: int, error: BaseException) -> None:
        with self._lock:
            # Two lanes may fail at the same size: only the first halves it.
            if self._rows == failed:
                if failed == 1:
                    raise UlfineError("not even one image fits into the GPU's memory: use --device cpu") from error
                self._rows = failed // 2
                self._progress.note(f"not enough GPU memory: batches of {self._rows} from here on")
        torch.cuda.empty_cache()

    def _enter_lane(self) -> None:
        if self._encoder.device.type == "cuda":
            torch.cuda.set_stream(torch.cuda.Stream(self._encoder.device))
        else:
            torch.set_num_threads(self._threads)
