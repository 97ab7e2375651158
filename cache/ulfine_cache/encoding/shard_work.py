"""The work on shards, the same in every process: encode the images of a block, and write them."""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ulfine_cache.encoders.encoder import ClipEncoder
from ulfine_cache.encoding.decoding import PixelRecipe
from ulfine_cache.encoding.former_rows import FormerRows
from ulfine_cache.encoding.pipeline import EncodedBlock, encode_blocks
from ulfine_cache.encoding.same_contents import identities
from ulfine_cache.pictures.pixel_range import parse_pixel_range
from ulfine_cache.progress import Progress
from ulfine_cache.sources.source import ImageSource, SourceItem, blocks_of, listing_digest, stamp
from ulfine_cache.sources.vanished import refuse_vanished_source
from ulfine_cache.store.digest_file import file_sha256, recorded_sha256
from ulfine_cache.store.seen_files import note_seen
from ulfine_cache.store.shards import Shard, shard_path, write_shard


@dataclass(frozen=True)
class ShardDone:
    """What is told of a shard that stands on the disk; small, because it may cross a network.

    Attributes:
        number: Which one, counted from 0.
        sha256: 64 hexadecimal digits: of its file.
        images: How many images were encoded for it.
        kept: How many were found among those of before.
        skipped: How many have no row.
        notes: What had to be decided about images, with how many.
    """

    number: int
    sha256: str
    images: int
    kept: int
    skipped: int
    notes: Mapping[str, int] = field(default_factory=dict)


class ShardWork:
    """What shards of one cache are made with, in one process.

    Args:
        arguments: Of the call of `cache_features`, by name.
        record: What decides about the features, see `ulfine_cache.encoding.request.Request`.
        source: The images.
        encoder: What encodes them.
        workers: Threads that read and decode.
        cores: How many the process may use; None for all of the machine.

    Attributes:
        record: What decides about the features.
        encoder: What encodes.
        recipe: How a picture becomes pixels.
        blocks: The images of each shard.
        paths: The file of each shard.
    """

    def __init__(
        self,
        arguments: Mapping[str, Any],
        record: Mapping[str, Any],
        source: ImageSource,
        encoder: ClipEncoder,
        *,
        workers: int,
        cores: int | None = None,
    ) -> None:
        self._out: Path = arguments["out"]
        self._pre_projection: bool = arguments["pre_projection"]
        self._strict: bool = arguments["strict"]
        self.record, self.encoder, self._source = record, encoder, source
        self._workers, self._cores = workers, cores
        self.recipe = PixelRecipe(
            encoder.preprocess, arguments["views"], arguments["jpeg_draft"], parse_pixel_range(arguments["pixel_range"])
        )
        self._former: FormerRows | None = None
        self.blocks = blocks_of(source.items, arguments["shard_size"])
        self.paths = [shard_path(self._out, number) for number in range(len(self.blocks))]

    def listing(self, number: int) -> str:
        """The digest of a block as it is listed, see `listing_digest`."""
        return listing_digest(self.blocks[number])

    def make(self, todo: Sequence[int], progress: Progress) -> Iterator[ShardDone]:
        """Encode blocks one after the other, and write the shard of each.

        Args:
            todo: Their numbers.
            progress: Receives the stage "encoding" in images.

        Yields:
            What became of each, in order, when its file is complete.

        Raises:
            UlfineError: What stops it, in one line.
        """
        # Before they are read: what replaces a file later is noticed next time.
        seen = {number: identities(self._source, self.blocks[number]) for number in todo}
        self._former = self._former or FormerRows(self._out, self._source)
        encoded = encode_blocks(
            self._source,
            [self.blocks[number] for number in todo],
            self.encoder,
            self.recipe,
            former=self._former,
            batch_size=self.record["batch_size"],
            workers=self._workers,
            cores=self._cores,
            pre_projection=self._pre_projection,
            strict=self._strict,
            progress=progress,
        )
        with warnings.catch_warnings():
            # Pillow warns about odd metadata in readable images; what cannot be read is in skipped.csv.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            for number, block in zip(todo, encoded, strict=True):
                refuse_vanished_source(self._source, self.blocks[number], block.skipped)
                names = [*(image.item.path for image in block.images), *(path for path, _ in block.skipped)]
                note_seen(self._out, self.paths[number], [seen[number][name] for name in names])
                yield self._written(number, block)

    def _written(self, number: int, block: EncodedBlock) -> ShardDone:
        path = self.paths[number]
        # Another process may have made the same one in the meantime.
        write_shard(path, self._shard(self.listing(number), block), keep_same=True)
        notes = Counter(note for image in block.images for note in image.notes)
        return ShardDone(
            number=number,
            sha256=recorded_sha256(path) or file_sha256(path),
            images=block.n_encoded,
            kept=len(block.images) - block.n_encoded,
            skipped=len(block.skipped),
            notes=dict(notes),
        )

    def _shard(self, listing: str, block: EncodedBlock) -> Shard:
        items: list[SourceItem] = [image.item for image in block.images]
        return Shard(
            features=block.features,
            features_pre=block.features_pre,
            labels=np.array([item.label for item in items], np.int64),
            paths=[item.path for item in items],
            set_names=[item.set_name for item in items],
            hashes=[image.content for image in block.images],
            skipped=block.skipped,
            stamps=[stamp(item) for item in items],
            groups=[item.group for item in items],
            listing=listing,
            request=dict(self.record),
        )
