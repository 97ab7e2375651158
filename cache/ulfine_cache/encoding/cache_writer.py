"""Fill a cache directory: find what is missing, encode it shard by shard, and write what lies over all shards."""

import hashlib
import json
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ulfine_cache.atomic import make_directory, remove_partial_files
from ulfine_cache.encoders.encoder import ClipEncoder
from ulfine_cache.encoders.prompts import ClassText
from ulfine_cache.encoding.batch_size import find_batch_size
from ulfine_cache.encoding.decoding import PixelRecipe
from ulfine_cache.encoding.pipeline import EncodedBlock, encode_blocks
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.pictures.views import first_view
from ulfine_cache.progress import Progress
from ulfine_cache.search.index import check_index, has_index, index_cache
from ulfine_cache.sources.source import ImageSource, SourceItem, listing_digest
from ulfine_cache.sources.vanished import readable_again, refuse_vanished_source
from ulfine_cache.store.cache_file import CACHE_FILE, CacheContent, TextPrototypes, write_cache_file
from ulfine_cache.store.plan import existing_plan, refuse_other_plan
from ulfine_cache.store.shards import SHARDS, Shard, read_header, read_skipped, shard_path, write_shard
from ulfine_cache.store.skipped import SKIPPED_FILE, write_skipped

if TYPE_CHECKING:
    from ulfine_cache.stage_one import CacheFeaturesConfig

_MAX_WORKERS = 16


@dataclass(frozen=True)
class Encoded:
    """What one call did itself: shards and images encoded, and the seconds that took."""

    shards: int = 0
    images: int = 0
    seconds: float = 0.0


class CacheWriter:
    """One call's work on one locked cache directory."""

    def __init__(
        self,
        config: "CacheFeaturesConfig",
        source: ImageSource,
        texts: Sequence[ClassText],
        templates: Sequence[str],
        encoder: ClipEncoder,
        progress: Progress,
    ) -> None:
        self.config, self.source, self.encoder, self.progress = config, source, encoder, progress
        self.texts, self.templates = texts, templates
        size = config.shard_size
        self.blocks = [source.items[start : start + size] for start in range(0, len(source.items), size)]
        self.listings = [listing_digest(block) for block in self.blocks]
        self.paths = [shard_path(config.out, number) for number in range(len(self.blocks))]
        self.plan = {
            "made by": "cache-features",
            "model": encoder.model_name,
            "pretrained": Path(encoder.pretrained).name,
            "weights": encoder.weights_hash[:16],
            "preprocess": self._preprocess_of_new_images(),
            "precision": encoder.precision,
            "views": config.views,
            "templates": _named(config.templates, templates),
            "classes": _named("file", [str(text) for text in texts]) if config.classes else "folder names",
            "shard size": size,
            # Kept by later calls, because other batches round a feature otherwise.
            "batch size": config.batch_size or (existing_plan(config.out) or {}).get("batch size"),
            # Left out where they are not asked for.
            **({"features before projection": True} if config.pre_projection else {}),
            **({"jpeg draft": True} if config.jpeg_draft else {}),
        }

    def run(self) -> Encoded:
        """Encode what is missing and finish the cache; do nothing where it is complete.

        Raises:
            UlfineError: The directory holds features made in another way or cannot be written, or no image is readable.
        """
        out = self.config.out
        refuse_other_plan(out, self.plan)
        make_directory(out / SHARDS)
        for directory in (out, out / SHARDS):
            remove_partial_files(directory)
        todo = self._missing()
        if self.config.strict:
            self._refuse_skipped(todo)
        surplus = sorted(set((out / SHARDS).glob("*.h5")) - set(self.paths))
        if not todo and not surplus and self._is_complete():
            self.progress.note(f"{out} is complete: nothing to do")
            return Encoded()
        check_index(self.config.index, self.encoder.n_features)
        # While it is absent the cache is unfinished, which is what it is from here on.
        (out / CACHE_FILE).unlink(missing_ok=True)
        for path in surplus:
            path.unlink()
        # Before the images, because a tokenizer that cannot be had should not cost hours.
        text = self._encode_text()
        self.plan["batch size"] = self.plan["batch size"] or find_batch_size(self.encoder)
        encoded = self._encode(todo)
        # The index may need the memory.
        self.encoder.release()
        self._finish(text)
        return encoded

    def _missing(self) -> list[int]:
        """Return the shards to encode, and say how many are kept and how many are out of date."""
        there, outdated, todo = 0, 0, []
        for number, (path, listing) in enumerate(zip(self.paths, self.listings, strict=True)):
            if not path.exists():
                todo.append(number)
                continue
            there += 1
            try:
                current = read_header(path).listing == listing
                current = current and not readable_again(self.source, self.blocks[number], read_skipped(path))
            except UlfineError:
                current = False
            if not current:
                outdated += 1
                todo.append(number)
        if outdated:
            self.progress.note(f"{outdated} shards are encoded again: their images changed or they are damaged")
        if there > outdated and todo:
            self.progress.note(f"going on: {there - outdated} of {len(self.paths)} shards are complete")
        return todo

    def _is_complete(self) -> bool:
        try:
            cache = FeatureCache.open(self.config.out)
        except UlfineError:
            return False
        return (
            has_index(cache, self.config.index)
            and (self.config.out / SKIPPED_FILE).is_file()
            and cache.class_names == [text.name for text in self.texts]
            and cache.shard_paths == self.paths
        )

    def _refuse_skipped(self, todo: Sequence[int]) -> None:
        for path in [path for number, path in enumerate(self.paths) if number not in set(todo)]:
            for name, why in read_skipped(path):
                raise UlfineError(f"{name}: {why} (--strict stops at the first image that cannot be read)")

    def _request(self) -> str:
        """What was asked for, as JSON: with the cache's directory it is the call that makes the cache again."""
        request = self.config.model_dump(mode="json", exclude={"out", "strict"})
        files = {name: str(Path(request[name]).resolve()) for name in ("source", "classes", "root") if request[name]}
        if Path(self.config.templates).is_file():
            files["templates"] = str(Path(self.config.templates).resolve())
        chosen = {"pretrained": self.encoder.pretrained, "precision": self.encoder.precision}
        return json.dumps(request | files | chosen | {"batch_size": self.plan["batch size"]}, sort_keys=True)

    def _preprocess_of_new_images(self) -> str:
        return first_view(self.config.views, self.encoder.preprocess).to_json()

    def _encode_text(self) -> TextPrototypes | None:
        if not self.texts:
            return None
        if not self.encoder.has_text:
            self.progress.note(f"{self.encoder.model_name} has no text encoder: the cache holds no text prototypes")
            return None
        if all(text.name.isdecimal() for text in self.texts):
            self.progress.note("the classes are called by numbers, which tell a text encoder little: see --classes")
        prompts = [text.prompts(self.templates) for text in self.texts]
        flat = [prompt for row in prompts for prompt in row]
        features = self.encoder.encode_text(flat).reshape(len(prompts), len(self.templates), -1)
        # CLIP's prompt ensemble: unit vectors are averaged, and the mean is brought to unit norm again.
        mean = features.mean(axis=1)
        mean /= np.linalg.norm(mean, axis=1, keepdims=True)
        self.progress.note(f"text: {len(self.texts)} classes, {len(self.templates)} prompts each")
        pre = self.encoder.map_text(mean) if self.config.pre_projection else None
        return TextPrototypes(mean, features, prompts, pre)

    def _encode(self, todo: Sequence[int]) -> Encoded:
        started = time.perf_counter()
        blocks = [self.blocks[number] for number in todo]
        config = self.config
        encoded = encode_blocks(
            self.source,
            blocks,
            self.encoder,
            PixelRecipe(self.encoder.preprocess, config.views, config.jpeg_draft),
            batch_size=self.plan["batch size"],
            workers=config.workers or min(_MAX_WORKERS, os.cpu_count() or 1),
            pre_projection=config.pre_projection,
            strict=config.strict,
            progress=self.progress,
        )
        with warnings.catch_warnings():
            # Pillow warns about odd metadata in readable images; what cannot be read is in skipped.csv.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            for number, block in zip(todo, encoded, strict=True):
                refuse_vanished_source(self.source, self.blocks[number], block.skipped)
                write_shard(self.paths[number], self._shard(self.listings[number], block))
        return Encoded(len(todo), sum(map(len, blocks)), time.perf_counter() - started)

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
            listing=listing,
            plan=self.plan,
        )

    def _finish(self, text: TextPrototypes | None) -> None:
        out, config, encoder = self.config.out, self.config, self.encoder
        skipped = [row for path in self.paths for row in read_skipped(path)]
        write_skipped(out, skipped)
        if len(skipped) == len(self.source.items):
            path, why = skipped[0]
            raise UlfineError(
                f"none of the {len(skipped)} images in {config.source} can be read (first: {path}: {why}): "
                f"see {out / SKIPPED_FILE}"
            )
        if skipped:
            self.progress.note(f"{len(skipped)} images cannot be read: see {out / SKIPPED_FILE}")
        attributes = {
            "model": encoder.model_name,
            "pretrained": encoder.pretrained,
            "weights_hash": encoder.weights_hash,
            "preprocess": self.plan["preprocess"],
            "precision": encoder.precision,
            "views": config.views,
            "templates": self.plan["templates"],
            "source": self.source.location,
            "shard_size": config.shard_size,
            "skipped": len(skipped),
            "request": self._request(),
            **index_cache(out, self.paths, config.index, progress=self.progress).attributes(),
        }
        content = CacheContent([words.name for words in self.texts], attributes, text)
        write_cache_file(out, self.paths, content, progress=self.progress)


def _named(name: str, content: Sequence[str]) -> str:
    """Return a name that changes with the content, unless the name itself is the content."""
    if name in ("simple", "imagenet"):
        return name
    digest = hashlib.sha256(json.dumps(list(content)).encode()).hexdigest()[:16]
    return f"{Path(name).name} {digest}"
