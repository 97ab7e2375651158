"""Fill a cache directory: find what is missing, encode it shard by shard, and write what lies over all shards."""

import json
import os
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ulfine_cache.atomic import make_directory, remove_partial_files
from ulfine_cache.encoders.encoder import ClipEncoder
from ulfine_cache.encoders.prompts import ClassText, doubtful_names
from ulfine_cache.encoding.batch_size import find_batch_size
from ulfine_cache.encoding.decoding import PixelRecipe
from ulfine_cache.encoding.former_rows import FormerRows, put_aside
from ulfine_cache.encoding.pipeline import STRICT, EncodedBlock, encode_blocks
from ulfine_cache.encoding.request import Request
from ulfine_cache.encoding.same_contents import identities, same_contents
from ulfine_cache.encoding.what_changed import what_changed
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.pictures.pixel_range import parse_pixel_range
from ulfine_cache.progress import Progress
from ulfine_cache.search.index import check_index, has_index, index_cache
from ulfine_cache.sources.own_source import own_location, source_attributes
from ulfine_cache.sources.source import STRAY, ImageSource, SourceItem, blocks_of, listing_digest, stamp
from ulfine_cache.sources.vanished import readable_again, refuse_vanished_source
from ulfine_cache.sources.words.class_labels import SEVERAL
from ulfine_cache.store.cache_file import CacheContent, TextPrototypes, write_cache_file
from ulfine_cache.store.digest_file import check_once
from ulfine_cache.store.layout import CACHE_FILE, FORMER, SCRATCH, SHARDS, SKIPPED_FILE
from ulfine_cache.store.same_request import WORDS, refuse_other_request, same_words
from ulfine_cache.store.seen_files import Identities, fold_seen, keep_seen, note_seen, read_seen
from ulfine_cache.store.shards import Shard, read_header, read_skipped, shard_path, write_shard
from ulfine_cache.store.skipped import write_skipped
from ulfine_cache.store.unit_norm import unit_norm
from ulfine_cache.wording.counts import amount, subject

_MAX_WORKERS = 16


@dataclass(frozen=True)
class Encoded:
    """What one call did itself.

    Attributes:
        shards: Shards written.
        images: Images encoded for them.
        kept: Images in them whose features were found among those of before.
        seconds: How long that took.
        notes: What had to be decided about images, with how many.
    """

    shards: int = 0
    images: int = 0
    kept: int = 0
    seconds: float = 0.0
    notes: Mapping[str, int] = field(default_factory=dict)


class CacheWriter:
    """One call's work on one locked cache directory."""

    def __init__(
        self,
        request: Request,
        source: ImageSource,
        texts: Sequence[ClassText],
        templates: Sequence[str],
        encoder: ClipEncoder,
        progress: Progress,
    ) -> None:
        self.request, self.source, self.encoder, self.progress = request, source, encoder, progress
        self.texts, self.templates, self.record = texts, templates, request.record
        asked = request.arguments
        self.out: Path = asked["out"]
        self.index: str = asked["index"]
        self.pre_projection: bool = asked["pre_projection"]
        self.strict: bool = asked["strict"]
        self.workers: int = asked["workers"] or min(_MAX_WORKERS, os.cpu_count() or 1)
        self.recipe = PixelRecipe(
            encoder.preprocess, asked["views"], asked["jpeg_draft"], parse_pixel_range(asked["pixel_range"])
        )
        self.blocks = blocks_of(source.items, asked["shard_size"])
        self.listings = [listing_digest(block) for block in self.blocks]
        self.paths = [shard_path(self.out, number) for number in range(len(self.blocks))]
        self.seen: dict[Path, Identities] = {}

    def run(self) -> Encoded:
        """Encode what is missing and finish the cache; do nothing where it is complete.

        Raises:
            UlfineError: The directory holds features made in another way or cannot be written, or no image is readable.
        """
        out = self.out
        refuse_other_request(out, self.record)
        make_directory(out / SHARDS)
        for directory in (out, out / SHARDS):
            remove_partial_files(directory)
        shutil.rmtree(out / SCRATCH, ignore_errors=True)
        self.seen = read_seen(out)
        todo, outdated = self._missing()
        if self.strict:
            self._refuse_skipped(todo)
        beyond = sorted(set((out / SHARDS).glob("*.h5")) - set(self.paths))
        if outdated or beyond:
            self._tell_changes(todo, outdated, beyond)
        outdated += beyond
        if not todo and not outdated and self._is_complete():
            shutil.rmtree(out / FORMER, ignore_errors=True)
            fold_seen(out, self.paths)
            self.progress.note(f"{out} is complete: nothing to do")
            return Encoded()
        check_index(self.index, self.encoder.n_features)
        keep_seen(out)
        # While it is absent the cache is unfinished, which is what it is from here on.
        (out / CACHE_FILE).unlink(missing_ok=True)
        put_aside(out, outdated)
        # Before the images, because a tokenizer that cannot be had should not cost hours.
        text = self._encode_text()
        self.record["batch_size"] = self.record["batch_size"] or find_batch_size(self.encoder)
        encoded = self._encode(todo)
        if again := self.encoder.encoded_again:
            self.progress.note(
                f"{amount(again, 'row')} overflowed in {self.encoder.precision} and {'was' if again == 1 else 'were'} "
                "encoded in fp32: --precision fp32 encodes all rows so"
            )
        # The index may need the memory.
        self.encoder.release()
        self._finish(text)
        shutil.rmtree(out / FORMER, ignore_errors=True)
        if encoded.kept:
            self.progress.note(
                f"images encoded: {encoded.images:,}; found among those of before by what is in them: {encoded.kept:,}"
            )
        return encoded

    def _missing(self) -> tuple[list[int], list[Path]]:
        """Return the numbers of the shards to write, and the files among them whose images changed."""
        there, damaged = 0, 0
        todo: list[int] = []
        kept: list[int] = []
        outdated: list[Path] = []
        for number, (path, listing) in enumerate(zip(self.paths, self.listings, strict=True)):
            if not path.exists():
                todo.append(number)
                continue
            there += 1
            try:
                header = read_header(path, checked=False)
                current = header.listing == listing and same_words(header.request, self.record)
                skipped = read_skipped(path, checked=False)
                current = current and not readable_again(self.source, self.blocks[number], skipped)
                current = current and same_contents(
                    self.out, self.source, self.blocks[number], path, self.seen.get(path), self.workers
                )
            except UlfineError:
                damaged += 1
                todo.append(number)
                continue
            if not current:
                outdated.append(path)
                todo.append(number)
                continue
            kept.append(number)
        if todo or not (self.out / CACHE_FILE).is_file():
            # What a new cache.h5 will vouch for.
            for number in kept:
                try:
                    check_once(self.paths[number])
                except OSError:
                    damaged += 1
                    todo.append(number)
            todo.sort()
        if damaged:
            self.progress.note(f"{subject(damaged, 'shard', 'is/are')} damaged: what was in it is encoded again")
        if there > len(outdated) + damaged and todo:
            self.progress.note(
                f"going on: {there - len(outdated) - damaged} of {subject(len(self.paths), 'shard', 'is/are')} complete"
            )
        return todo, outdated

    def _tell_changes(self, todo: Sequence[int], outdated: Sequence[Path], beyond: Sequence[Path]) -> None:
        sound, words = [], list[str]()
        for path in (*outdated, *beyond):
            try:
                request = read_header(path).request
            except UlfineError:
                continue
            sound.append(path)
            words = [f"other {name}" for name in WORDS if request.get(name) != self.record.get(name)]
        try:
            old = FeatureCache.open(self.out).class_names
        except UlfineError:
            old = None
        items = (item for number in todo for item in self.blocks[number])
        count = len(outdated) + len(beyond)
        changed = what_changed(sound, items, old, [text.name for text in self.texts], words)
        self.progress.note(
            f"{subject(count, 'shard', 'is/are')} out of date ({changed}): what is new in "
            f"{'it' if count == 1 else 'them'} is encoded"
        )

    def _is_complete(self) -> bool:
        try:
            cache = FeatureCache.open(self.out)
        except UlfineError:
            return False
        return (
            has_index(cache, self.index)
            and (self.out / SKIPPED_FILE).is_file()
            and cache.class_names == [text.name for text in self.texts]
            and cache.shard_paths == self.paths
        )

    def _refuse_skipped(self, todo: Sequence[int]) -> None:
        for path in [path for number, path in enumerate(self.paths) if number not in set(todo)]:
            for name, why in read_skipped(path):
                raise UlfineError(f"{name}: {why} ({STRICT})")

    def _encode_text(self) -> TextPrototypes | None:
        if not self.texts:
            return None
        if not self.encoder.has_text:
            self.progress.note(f"{self.encoder.model_name} has no text encoder: the cache holds no text prototypes")
            return None
        doubt = doubtful_names([text.name for text in self.texts])
        if doubt:
            self.progress.note(
                f"the classes' names {doubt}, which tell a text encoder little: give it names in words with --classes"
            )
        prompts = [text.prompts(self.templates) for text in self.texts]
        flat = [prompt for row in prompts for prompt in row]
        cut = self.encoder.cut_prompts(flat)
        if cut:
            self.progress.note(
                f"{len(cut)} of {subject(len(flat), 'prompt', 'is/are')} longer than the encoder reads, and their "
                f"ends are cut off, first of {flat[cut[0]]!r}: give shorter names or descriptions with --classes"
            )
        features = self.encoder.encode_text(flat).reshape(len(prompts), len(self.templates), -1)
        # CLIP's prompt ensemble: unit vectors are averaged, and the mean is brought to unit norm again.
        mean = unit_norm(features.mean(axis=1))
        self.progress.note(f"text: {amount(len(self.texts), 'class')}, {amount(len(self.templates), 'prompt')} each")
        pre = self.encoder.map_text(mean) if self.pre_projection else None
        return TextPrototypes(mean, features, prompts, pre)

    def _encode(self, todo: Sequence[int]) -> Encoded:
        started, notes = time.perf_counter(), Counter[str]()
        # Before they are read: what replaces a file later is noticed next time.
        seen = {number: identities(self.source, self.blocks[number]) for number in todo}
        blocks = [self.blocks[number] for number in todo]
        encoded = encode_blocks(
            self.source,
            blocks,
            self.encoder,
            self.recipe,
            former=FormerRows(self.out, self.source),
            batch_size=self.record["batch_size"],
            workers=self.workers,
            pre_projection=self.pre_projection,
            strict=self.strict,
            progress=self.progress,
        )
        images = kept = 0
        with warnings.catch_warnings():
            # Pillow warns about odd metadata in readable images; what cannot be read is in skipped.csv.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            for number, block in zip(todo, encoded, strict=True):
                refuse_vanished_source(self.source, self.blocks[number], block.skipped)
                names = [*(image.item.path for image in block.images), *(path for path, _ in block.skipped)]
                note_seen(self.out, self.paths[number], [seen[number][name] for name in names])
                write_shard(self.paths[number], self._shard(self.listings[number], block))
                images += block.n_encoded
                kept += len(block.images) - block.n_encoded
                notes.update(note for image in block.images for note in image.notes)
        seconds = time.perf_counter() - started
        return Encoded(len(todo), images, kept, seconds, dict(notes.most_common()))

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
            request=self.record,
        )

    def _finish(self, text: TextPrototypes | None) -> None:
        out, encoder, asked = self.out, self.encoder, self.request.arguments
        skipped = [row for path in self.paths for row in read_skipped(path)]
        write_skipped(out, skipped)
        if len(skipped) == len(self.source.items):
            path, why = skipped[0]
            used = "used" if any(reason.startswith((SEVERAL, STRAY)) for _, reason in skipped) else "read"
            if len(skipped) == 1:
                raise UlfineError(f"the only image in {asked['source']} cannot be {used}: {path}: {why}")
            raise UlfineError(
                f"none of the {amount(len(skipped), 'image')} in {asked['source']} can be {used} (first: {path}: "
                f"{why}): see {out / SKIPPED_FILE}"
            )
        if skipped:
            self.progress.note(f"{_without_row([why for _, why in skipped])}: see {out / SKIPPED_FILE}")
        attributes = {
            "model": encoder.model_name,
            "pretrained": encoder.pretrained,
            "weights_hash": encoder.weights_hash,
            "preprocess": self.record["preprocess"],
            "precision": encoder.precision,
            **encoder.recorded(asked["views"]),
            "views": asked["views"],
            "templates": self.record["templates"],
            "source": self.source.location,
            **source_attributes(self.source),
            "shard_size": asked["shard_size"],
            "skipped": len(skipped),
            "request": json.dumps(self.record, sort_keys=True),
            "call": json.dumps(self.request.call() | own_location(self.source), sort_keys=True),
            **index_cache(out, self.paths, self.index, progress=self.progress).attributes(),
        }
        content = CacheContent([words.name for words in self.texts], attributes, text)
        write_cache_file(out, self.paths, content, progress=self.progress)


def _without_row(reasons: Sequence[str]) -> str:
    several, stray = (sum(why.startswith(kind) for why in reasons) for kind in (SEVERAL, STRAY))
    parts = [
        (len(reasons) - several - stray, "cannot/cannot", "be read"),
        (several, "has/have", "several classes"),
        (stray, "lies/lie", "in no class folder"),
    ]
    return ", ".join(f"{subject(count, 'image', verb)} {what}" for count, verb, what in parts if count)
