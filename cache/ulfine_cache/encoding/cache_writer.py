"""Fill a cache directory: find what is missing, encode it shard by shard, and write what lies over all shards."""

import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ulfine_cache.atomic import make_directory, remove_partial_files
from ulfine_cache.encoders.encoder import ClipEncoder
from ulfine_cache.encoders.int8_tower import INT8
from ulfine_cache.encoders.prompts import ClassText, doubtful_names
from ulfine_cache.encoding.batch_size import agreed_batch_size, find_batch_size
from ulfine_cache.encoding.engines.engine import Engine, Settled
from ulfine_cache.encoding.former_rows import put_aside
from ulfine_cache.encoding.pipeline import STRICT
from ulfine_cache.encoding.price import cosine_to_fp32
from ulfine_cache.encoding.request import Request
from ulfine_cache.encoding.same_contents import same_contents
from ulfine_cache.encoding.shard_work import ShardWork
from ulfine_cache.encoding.what_changed import what_changed
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.progress import Progress
from ulfine_cache.remote.failures import StorageError
from ulfine_cache.search.index import check_index, has_index, index_cache
from ulfine_cache.sources.own_source import own_location, source_attributes
from ulfine_cache.sources.source import STRAY, ImageSource, listing_digest
from ulfine_cache.sources.vanished import readable_again
from ulfine_cache.sources.words.class_labels import SEVERAL
from ulfine_cache.store.cache_file import CacheContent, TextPrototypes, write_cache_file
from ulfine_cache.store.digest_file import check_once
from ulfine_cache.store.layout import CACHE_FILE, FORMER, SCRATCH, SHARDS, SKIPPED_FILE
from ulfine_cache.store.lock import preparing
from ulfine_cache.store.objects.copies import bring
from ulfine_cache.store.objects.writing import look_again, put_file, withdraw, withdraw_index
from ulfine_cache.store.plan_file import Plan, missing_shards, read_plan, remove_plan, write_plan
from ulfine_cache.store.same_request import WORDS, refuse_other_request, same_words
from ulfine_cache.store.seen_files import Identities, fold_seen, keep_seen, read_seen
from ulfine_cache.store.shards import read_header, read_skipped
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
        engine: Engine,
        settled: Settled,
    ) -> None:
        self.request, self.source, self.encoder, self.progress = request, source, encoder, progress
        self.texts, self.templates, self.record = texts, templates, request.record
        asked = request.arguments
        self.out: Path = asked["out"]
        self.index: str = asked["index"]
        self.pre_projection: bool = asked["pre_projection"]
        self.strict: bool = asked["strict"]
        self.workers: int = asked["workers"] or min(_MAX_WORKERS, os.cpu_count() or 1)
        self.engine, self.settled = engine, settled
        self.work = ShardWork(asked, self.record, source, encoder, workers=self.workers)
        self.blocks, self.paths = self.work.blocks, self.work.paths
        self.listings = [listing_digest(block) for block in self.blocks]
        self.seen: dict[Path, Identities] = {}

    def run(self) -> Encoded:
        """Encode what is missing and finish the cache; do nothing where it is complete.

        Raises:
            UlfineError: The directory holds features made in another way or cannot be written, or no image is readable.
        """
        out = self.out
        self._begin()
        self._clear()
        numbers = range(len(self.paths))
        todo, outdated = self._missing(numbers)
        if self.strict:
            self._refuse_skipped(set(numbers) - set(todo))
        outdated += self._beyond(todo, outdated)
        if not todo and not outdated and self._is_complete():
            shutil.rmtree(out / FORMER, ignore_errors=True)
            fold_seen(out, self.paths)
            remove_plan(out)
            self.progress.note(f"{out} is complete: nothing to do")
            return Encoded()
        check_index(self.index, self.encoder.n_features)
        if todo:
            self.engine.start(self.progress)
        self._make_room(todo, outdated)
        # Before the images, because a tokenizer that cannot be had should not cost hours.
        text = self._encode_text()
        self.record["batch_size"] = (
            self.record["batch_size"] or self.settled.batch_size or find_batch_size(self.encoder)
        )
        price = self._price()
        encoded = self._encode(todo)
        self._tell_overflow()
        # The index may need the memory.
        self.encoder.release()
        self._finish(text, price)
        shutil.rmtree(out / FORMER, ignore_errors=True)
        remove_plan(out)
        self._tell_kept(encoded)
        return encoded

    def run_range(self, part: range) -> Encoded:
        """Encode what is missing among some of the shards, beside other processes that make others, or the same.

        The first of them looks through all of the cache, as `run` does, and puts aside what is out of date.

        Args:
            part: The numbers of the shards.

        Raises:
            UlfineError: As `run`.
        """
        with preparing(self.out, self.progress):
            self._begin()
            known = read_plan(self.out) == self.plan
            numbers = part if known else range(len(self.paths))
            if not known:
                self._clear()
            todo, outdated = self._missing(numbers)
            if self.strict:
                self._refuse_skipped(set(part) - set(todo))
            outdated += [] if known else self._beyond(todo, outdated)
            if not known and not todo and not outdated and self._is_complete():
                self.progress.note(f"{self.out} is complete: nothing to do")
                return Encoded()
            check_index(self.index, self.encoder.n_features)
            self._make_room(todo, outdated)
        agreed = agreed_batch_size(self.encoder.device.type)
        self.record["batch_size"] = self.record["batch_size"] or self.settled.batch_size or agreed
        encoded = self._encode([number for number in todo if number in part])
        self._tell_overflow()
        self._tell_kept(encoded)
        look_again(self.out)
        missing = missing_shards(self.out, self.plan)
        self.progress.note(
            f"{len(self.paths) - len(missing)} of {subject(len(self.paths), 'shard', 'is/are')} there: when all are, "
            "the same command without --shard-range joins them"
        )
        return encoded

    @cached_property
    def plan(self) -> Plan:
        """How many shards there will be, and a digest of what will be in them."""
        words = [self.record[name] for name in WORDS] + [text.name for text in self.texts]
        listing = json.dumps([*self.listings, *words]).encode()
        return Plan(len(self.paths), hashlib.sha256(listing).hexdigest())

    def _begin(self) -> None:
        refuse_other_request(self.out, self.record)
        make_directory(self.out / SHARDS)
        self.seen = read_seen(self.out)

    def _clear(self) -> None:
        """Remove what killed commands left."""
        for directory in (self.out, self.out / SHARDS):
            remove_partial_files(directory)
        shutil.rmtree(self.out / SCRATCH, ignore_errors=True)

    def _beyond(self, todo: Sequence[int], outdated: Sequence[Path]) -> list[Path]:
        """Return the shards behind the last one, after saying what has changed since the others were made."""
        beyond = sorted(set((self.out / SHARDS).glob("*.h5")) - set(self.paths))
        if outdated or beyond:
            self._tell_changes(todo, outdated, beyond)
        return beyond

    def _make_room(self, todo: Sequence[int], outdated: Sequence[Path]) -> None:
        keep_seen(self.out)
        # While it is absent the cache is unfinished, which is what it is from here on.
        withdraw_index(self.out)
        (self.out / CACHE_FILE).unlink(missing_ok=True)
        put_aside(self.out, outdated)
        self._withdraw_damaged(todo)
        if read_plan(self.out) != self.plan:
            write_plan(self.out, self.plan)

    def _tell_overflow(self) -> None:
        if again := self.encoder.encoded_again:
            self.progress.note(
                f"{amount(again, 'row')} overflowed in {self.encoder.precision} and {'was' if again == 1 else 'were'} "
                "encoded in fp32: --precision fp32 encodes all rows so"
            )

    def _tell_kept(self, encoded: Encoded) -> None:
        if encoded.kept:
            self.progress.note(
                f"images encoded: {encoded.images:,}; found among those of before by what is in them: {encoded.kept:,}"
            )

    def _missing(self, numbers: Sequence[int]) -> tuple[list[int], list[Path]]:
        """Return which of some shards are to be written, and the files among them whose images changed."""
        there, damaged = 0, 0
        todo: list[int] = []
        kept: list[int] = []
        outdated: list[Path] = []
        for number in numbers:
            path, listing = self.paths[number], self.listings[number]
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
            except StorageError:
                raise
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
                    bring(self.paths[number])
                    check_once(self.paths[number])
                except StorageError:
                    raise
                except (OSError, UlfineError):
                    damaged += 1
                    todo.append(number)
            todo.sort()
        if damaged:
            self.progress.note(f"{subject(damaged, 'shard', 'is/are')} damaged: what was in it is encoded again")
        if there > len(outdated) + damaged and todo:
            self.progress.note(
                f"going on: {there - len(outdated) - damaged} of {subject(len(numbers), 'shard', 'is/are')} complete"
            )
        return todo, outdated

    def _withdraw_damaged(self, todo: Sequence[int]) -> None:
        """Let shards that are to be made anew, and are not among the former ones, be written where they are."""
        for path in (self.paths[number] for number in todo):
            if path.exists():
                withdraw(path)

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

    def _refuse_skipped(self, kept: Iterable[int]) -> None:
        for number in sorted(kept):
            for name, why in read_skipped(self.paths[number]):
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

    def _price(self) -> dict[str, float]:
        """What int8 costs, told before the long work, as an attribute of the cache; nothing for other precisions."""
        if self.encoder.precision != INT8:
            return {}
        found = cosine_to_fp32(self.source, self.encoder, self.work.recipe)
        if found is None:
            return {}
        cosine, count = found
        self.progress.note(
            f"int8: mean cosine {cosine:.5f} to the features in fp32, of {amount(count, 'image')} from all over the "
            "source"
        )
        return {"cosine_to_fp32": cosine}

    def _encode(self, todo: Sequence[int]) -> Encoded:
        notes = Counter[str]()
        images = kept = 0
        if not todo:
            return Encoded()
        with closing(self.engine.make(self.work, todo, self.progress)) as done:
            started = time.perf_counter()
            for shard in done:
                images += shard.images
                kept += shard.kept
                notes.update(shard.notes)
            seconds = time.perf_counter() - started
        return Encoded(len(todo), images, kept, seconds, dict(notes.most_common()))

    def _finish(self, text: TextPrototypes | None, price: Mapping[str, float]) -> None:
        out, encoder, asked = self.out, self.encoder, self.request.arguments
        look_again(out)
        skipped = [row for path in self.paths for row in read_skipped(path)]
        write_skipped(out, skipped)
        put_file(out / SKIPPED_FILE)
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
            **price,
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
