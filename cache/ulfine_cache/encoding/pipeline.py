"""Decode images ahead of the encoder and encode them in batches, block by block, in the order of the source."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from ulfine_cache.encoders.encoder import ClipEncoder, UnusableFeatures
from ulfine_cache.encoding.decoding import DecodedImage, PixelRecipe, decode_item
from ulfine_cache.encoding.former_rows import FormerRows
from ulfine_cache.encoding.in_order import in_order
from ulfine_cache.encoding.lanes import Lanes
from ulfine_cache.errors import UlfineError
from ulfine_cache.pictures.views import check_views
from ulfine_cache.progress import Progress
from ulfine_cache.sources.source import ImageSource, SourceItem

STRICT = "--strict stops at the first image that would have no row"
"""The end of an error for an image that ends in `skipped.csv` otherwise."""
_BATCHES_AHEAD = 2


@dataclass(frozen=True)
class EncodedBlock:
    """One block of the source, or one batch of it, after the encoder.

    Attributes:
        images: The n images that have features, in source order, without their pixels.
        features: float16 (n, views, D), unit norm.
        features_pre: float16 (n, views, D_pre), unit norm, where it was asked for.
        skipped: (path, reason) of the others.
        n_encoded: How many of the images were encoded, and not found among those of before.
    """

    images: Sequence[DecodedImage]
    features: npt.NDArray[np.float16]
    features_pre: npt.NDArray[np.float16] | None
    skipped: Sequence[tuple[str, str]]
    n_encoded: int = 0


def encode_blocks(
    source: ImageSource,
    blocks: Sequence[Sequence[SourceItem]],
    encoder: ClipEncoder,
    recipe: PixelRecipe,
    *,
    former: FormerRows | None = None,
    batch_size: int,
    workers: int,
    cores: int | None = None,
    pre_projection: bool = False,
    strict: bool = False,
    progress: Progress,
) -> Iterator[EncodedBlock]:
    """Encode blocks of a source one after the other.

    A batch never crosses the end of a block, so a block's features do not depend on which blocks come before it. Images
    are decoded and batches are encoded ahead, across the ends of blocks, so that the encoder goes on while the caller
    writes; how far ahead is bounded by the batch size and the number of lanes.

    Args:
        source: Where the bytes come from.
        blocks: The items of each block.
        encoder: What makes features.
        recipe: From bytes to pixels.
        former: Images that were encoded before; they are not encoded again.
        batch_size: Images encoded together; halved when a GPU's memory does not suffice.
        workers: Threads that read and decode.
        cores: How many the encoder may use on a CPU; None for all of the machine.
        pre_projection: Also give the features before the encoder's projection.
        strict: Raise at the first image that cannot be read, instead of listing it.
        progress: Receives the stage "encoding" in images, with the share of the time in which the encoder was busy.

    Yields:
        An `EncodedBlock` for each block, in order.

    Raises:
        UlfineError: Not even one image fits into the GPU's memory, the encoder gives what is no direction, or `strict`
            and an image cannot be read.
    """
    total, done = sum(map(len, blocks)), 0
    items = (item for block in blocks for item in block)
    with (
        ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool,
        Lanes(encoder, batch_size, pre_projection=pre_projection, progress=progress, cores=cores) as lanes,
    ):
        images = in_order(pool, partial(decode_item, source, recipe, former=former), items, _BATCHES_AHEAD * batch_size)
        cut = _cut(blocks, images, batch_size)
        batches = in_order(
            lanes.pool, partial(_encode, lanes, former, pre_projection), cut, _BATCHES_AHEAD * lanes.count
        )
        parts: list[EncodedBlock] = []
        with closing(images), closing(batches):
            for ends_block, part in batches:
                if strict and part.skipped:
                    path, problem = part.skipped[0]
                    raise UlfineError(f"{path}: {problem} ({STRICT})")
                parts.append(part)
                done += len(part.images) + len(part.skipped)
                progress.update("encoding", done, total, encoder_busy=lanes.busy())
                if ends_block:
                    yield _joined(parts, check_views(recipe.views), encoder.n_features)
                    parts = []


_Batch = tuple[bool, Sequence[DecodedImage]]
"""Whether it is the last of its block, and its images, readable or not."""


def _cut(blocks: Sequence[Sequence[SourceItem]], images: Iterator[DecodedImage], batch_size: int) -> Iterator[_Batch]:
    """Cut each block into batches with `batch_size` images to encode; the last of a block has fewer, or none."""
    for block in blocks:
        batch: list[DecodedImage] = []
        to_encode = 0
        for left in range(len(block) - 1, -1, -1):
            batch.append(next(images))
            to_encode += batch[-1].pixels is not None
            if to_encode == batch_size and left:
                yield False, batch
                batch, to_encode = [], 0
        yield True, batch


def _encode(lanes: Lanes, former: FormerRows | None, pre_projection: bool, batch: _Batch) -> tuple[bool, EncodedBlock]:
    """Encode the images of a batch that have pixels, on the lane that runs this, and let go of these; find the rest."""
    ends_block, images = batch
    kept = [image for image in images if image.readable]
    skipped = [(image.item.path, image.problem) for image in images if not image.readable]
    if not kept:
        return ends_block, EncodedBlock([], np.empty(0, np.float16), None, skipped)
    features: list[npt.NDArray[np.float16]] = []
    features_pre: list[npt.NDArray[np.float16]] = []
    pixels = [image.pixels for image in kept if image.pixels is not None]
    if pixels:
        try:
            encoded, pre = lanes.encode(np.concatenate(pixels))
        except UnusableFeatures as error:
            with_pixels = [image for image in kept if image.pixels is not None]
            path = with_pixels[error.row // len(pixels[0])].item.path
            raise UlfineError(f"{path}: {error}") from error
        shape = (len(pixels), len(pixels[0]), -1)
        features.append(encoded.reshape(shape))
        features_pre += [] if pre is None else [pre.reshape(shape)]
    places = [image.former for image in kept if image.former is not None]
    if places and former:
        features.append(former.features(places))
        features_pre += [former.features(places, pre_projection=True)] if pre_projection else []
    # Back from "encoded, then found" to the order of the source.
    order = np.argsort(np.argsort([image.former is not None for image in kept], kind="stable"), kind="stable")
    return ends_block, EncodedBlock(
        [replace(image, pixels=None) for image in kept],
        np.concatenate(features)[order],
        np.concatenate(features_pre)[order] if features_pre else None,
        skipped,
        len(pixels),
    )


def _joined(parts: Sequence[EncodedBlock], n_views: int, n_features: int) -> EncodedBlock:
    empty = np.empty((0, n_views, n_features), np.float16)
    pre = [part.features_pre for part in parts if part.features_pre is not None]
    return EncodedBlock(
        images=[image for part in parts for image in part.images],
        features=np.concatenate([empty, *(part.features for part in parts if part.images)]),
        features_pre=np.concatenate(pre) if pre else None,
        skipped=[row for part in parts for row in part.skipped],
        n_encoded=sum(part.n_encoded for part in parts),
    )
