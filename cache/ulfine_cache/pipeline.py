"""Read, decode and resize images on threads, ahead of the encoder, and encode them in batches, block by block."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ulfine_cache.atomic import reason
from ulfine_cache.encoder import ClipEncoder
from ulfine_cache.errors import UlfineError
from ulfine_cache.pixels import UndecodableImage, decode
from ulfine_cache.preprocess import Preprocess
from ulfine_cache.progress import Progress
from ulfine_cache.shards import content_hash
from ulfine_cache.source import ImageSource, SourceItem
from ulfine_cache.views import make_views

_BATCHES_AHEAD = 2


@dataclass(frozen=True)
class DecodedImage:
    """One image ready to be encoded, or the reason why there is none.

    Attributes:
        item: What was listed.
        pixels: uint8 (views, height, width, 3), or None.
        content: `content_hash` of the bytes, or "".
        problem: Why there are no pixels, or "".
    """

    item: SourceItem
    pixels: npt.NDArray[np.uint8] | None
    content: str = ""
    problem: str = ""


@dataclass(frozen=True)
class EncodedBlock:
    """One block of the source after the encoder.

    Attributes:
        images: The images that have features, in source order.
        features: float16 (n, views, D), unit norm.
        skipped: (path, reason) of the others.
    """

    images: Sequence[DecodedImage]
    features: npt.NDArray[np.float16]
    skipped: Sequence[tuple[str, str]]


def encode_blocks(
    source: ImageSource,
    blocks: Sequence[Sequence[SourceItem]],
    encoder: ClipEncoder,
    *,
    batch_size: int,
    workers: int,
    progress: Progress,
) -> Iterator[EncodedBlock]:
    """Encode blocks of a source one after the other.

    A batch never crosses the end of a block, so a block's features do not depend on which blocks come before it.
    At most two batches are decoded ahead, across the ends of blocks.

    Args:
        source: Where the bytes come from.
        blocks: The items of each block.
        encoder: What makes features.
        batch_size: Images encoded together; halved when a GPU's memory does not suffice.
        workers: Threads that read and decode.
        progress: Receives the stage "encoding" in images.

    Yields:
        An `EncodedBlock` for each block, in order.

    Raises:
        UlfineError: Not even one image fits into the GPU's memory.
    """
    total, done = sum(map(len, blocks)), 0
    ahead = max(_BATCHES_AHEAD * batch_size, 2 * workers)
    with closing(_decoded(source, (item for block in blocks for item in block), encoder, workers, ahead)) as images:
        for block in blocks:
            kept: list[DecodedImage] = []
            waiting: list[DecodedImage] = []
            skipped: list[tuple[str, str]] = []
            parts = [np.empty((0, *_shape(encoder)), np.float16)]
            for _ in block:
                image = next(images)
                if image.pixels is None:
                    skipped.append((image.item.path, image.problem))
                else:
                    waiting.append(image)
                done += 1
                if len(waiting) == batch_size:
                    batch_size = _encode(encoder, waiting, parts, batch_size, progress)
                    kept += _without_pixels(waiting)
                    waiting = []
                    progress.update("encoding", done, total)
            if waiting:
                batch_size = _encode(encoder, waiting, parts, batch_size, progress)
                kept += _without_pixels(waiting)
            progress.update("encoding", done, total)
            yield EncodedBlock(kept, np.concatenate(parts), skipped)


def decode_item(source: ImageSource, item: SourceItem, preprocess: Preprocess) -> DecodedImage:
    """Read and decode one image; what is wrong with it becomes its `problem`."""
    try:
        data = source.read(item)
        return DecodedImage(item, make_views(decode(data), preprocess), content_hash(data))
    except UndecodableImage as error:
        return DecodedImage(item, None, problem=str(error))
    except (OSError, MemoryError) as error:
        return DecodedImage(item, None, problem=f"cannot be read: {reason(error)}")


def _decoded(
    source: ImageSource, items: Iterable[SourceItem], encoder: ClipEncoder, workers: int, ahead: int
) -> Generator[DecodedImage, None, None]:
    """Yield images in order while `ahead` more are in the works."""
    pending: deque[Future[DecodedImage]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        for item in items:
            pending.append(pool.submit(decode_item, source, item, encoder.preprocess))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _encode(
    encoder: ClipEncoder,
    images: Sequence[DecodedImage],
    parts: list[npt.NDArray[np.float16]],
    batch_size: int,
    progress: Progress,
) -> int:
    """Append the features of `images` to `parts` and return the batch size that worked."""
    pixels = np.stack([image.pixels for image in images if image.pixels is not None])
    n_images, n_views = pixels.shape[:2]
    pixels = pixels.reshape(-1, *pixels.shape[2:])
    while True:
        try:
            chunks = [encoder.encode_images(pixels[i : i + batch_size]) for i in range(0, len(pixels), batch_size)]
            break
        except torch.cuda.OutOfMemoryError as error:
            if batch_size == 1:
                raise UlfineError("not even one image fits into the GPU's memory: use --device cpu") from error
            batch_size //= 2
            torch.cuda.empty_cache()
            progress.note(f"not enough GPU memory: batches of {batch_size} from here on")
    parts.append(np.concatenate(chunks).reshape(n_images, n_views, -1).astype(np.float16))
    return batch_size


def _without_pixels(images: Sequence[DecodedImage]) -> list[DecodedImage]:
    return [DecodedImage(image.item, None, image.content) for image in images]


def _shape(encoder: ClipEncoder) -> tuple[int, int]:
    return 1, encoder.n_features
