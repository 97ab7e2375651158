"""What runs on a Ray worker: it loads the encoder once, and makes one shard after the other where all can see them."""

import platform
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from ulfine_cache.atomic import make_directory
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Silent
from ulfine_cache.remote.places import named, place, url_of
from ulfine_cache.store.layout import SHARDS, WORKERS

_PLACES = ("source", "out", "root", "classes")
"""Arguments that are paths or URLs, and come as text."""

_NOT_COMPARED = ("python", "h5py", "faiss-cpu")
"""Libraries that leave the numbers in a shard alone."""


class _Counting(Silent):
    """How far the shard is that is being made."""

    def __init__(self) -> None:
        self.images, self.busy, self.notes = 0, 0.0, list[str]()

    def update(self, stage: str, done: int, total: int | None, **figures: float) -> None:
        self.images, self.busy = done, figures.get("encoder_busy", 0.0)

    def note(self, message: str) -> None:
        self.notes.append(message)


class ShardWorker:
    """One worker. What it is asked for is answered in small values; features stay in the shards.

    Args:
        arguments: Of the call of `cache_features`, by name, with device and precision as the workers take them.
        record: What decides about the features, see `ulfine_cache.encoding.request.Request`.
        token: What the call wrote into the cache directory.
        versions: Of the libraries in the process that gave the command.
        cores: How many the worker may use.
    """

    def __init__(
        self,
        arguments: Mapping[str, Any],
        record: Mapping[str, Any],
        token: str,
        versions: Mapping[str, str],
        cores: int,
    ) -> None:
        places = {name: place(arguments[name]) for name in _PLACES if arguments[name]}
        self._arguments: dict[str, Any] = {**arguments, **places}
        self._record, self._token = record, token
        self._versions, self._cores = versions, cores
        self._progress = _Counting()

    def ready(self) -> dict[str, Any]:
        """Load all that is needed, and say so.

        Returns:
            "refused", a line, and "usage", or nothing of that.
        """
        try:
            _ = self._work
        except UlfineError as error:
            return _refused(error)
        return {}

    def make(self, number: int, listing: str) -> dict[str, Any]:
        """Make a shard.

        Args:
            number: Which one.
            listing: Digest of its images as they were listed by the process that gave the command.

        Returns:
            "done", the values of `ulfine_cache.encoding.shard_work.ShardDone`; "again", how many rows overflowed; and
            "notes", lines to be told. Or as `ready`.
        """
        self._progress = progress = _Counting()
        try:
            work = self._work
            if number >= len(work.blocks) or work.listing(number) != listing:
                raise UlfineError(
                    f"the worker on {platform.node()} finds other images in {named(self._arguments['source'])} than "
                    "the process that gave the command: it is another folder there, or has changed meanwhile; run the "
                    "same command again, it goes on"
                )
            before = self._encoder.encoded_again
            (done,) = work.encode([number], progress)
            return {"done": asdict(done), "again": self._encoder.encoded_again - before, "notes": progress.notes}
        except UlfineError as error:
            return _refused(error)

    def at(self) -> tuple[int, float]:
        """How many images of the shard that is being made are encoded, and the share of the time it was busy."""
        return self._progress.images, self._progress.busy

    @cached_property
    def _encoder(self) -> Any:
        from ulfine_cache.encoders.picture_choice import PictureOptions
        from ulfine_cache.joining.load import load_named

        asked = self._arguments
        pictures = PictureOptions.parsed(asked["preprocess"], asked["mean"], asked["std"], asked["interpolation"])
        encoder = load_named(
            asked["model"],
            asked["pretrained"],
            asked["device"],
            asked["precision"],
            pictures=pictures,
            pre_projection=asked["pre_projection"],
        )
        if encoder.weights_hash[:16] != self._record["weights"]:
            raise UlfineError(
                f"the worker on {platform.node()} has other weights for {asked['model']} {asked['pretrained']} than "
                "the process that gave the command: bring the same there"
            )
        return encoder

    @cached_property
    def _work(self) -> Any:
        from ulfine_cache.encoding.shard_work import ShardWork
        from ulfine_cache.sources.open_source import open_source
        from ulfine_cache.sources.source_options import SourceOptions

        self._check_place()
        self._check_versions()
        options = SourceOptions.from_request(dict(self._arguments))
        # The user named it in the command whose workers these are.
        source = open_source(self._arguments["source"], options, files=True)
        workers = self._arguments["workers"] or min(16, self._cores)
        return ShardWork(self._arguments, self._record, source, self._encoder, workers=workers, cores=self._cores)

    def _check_place(self) -> None:
        out: Path = self._arguments["out"]
        if url_of(out) is not None:
            # All machines see the storage; what is here is this one's own.
            make_directory(out / SHARDS)
            return
        try:
            found = (out / WORKERS).read_text("ascii")
        except (OSError, ValueError):
            found = ""
        if found != self._token:
            raise UlfineError(
                f"the worker on {platform.node()} does not see the cache directory {out} of the process that gave the "
                "command: choose an --out on a file system that all machines of the cluster share, by the same path"
            )

    def _check_versions(self) -> None:
        from ulfine_cache.store.cache_file import library_versions

        here = library_versions()
        other = [
            f"{name} {here.get(name, 'none')} instead of {version}"
            for name, version in self._versions.items()
            if here.get(name) != version and name not in _NOT_COMPARED
        ]
        if other:
            raise UlfineError(
                f"the worker on {platform.node()} has {', '.join(other)}: install the same versions on all machines, "
                "or features would differ"
            )


def _refused(error: UlfineError) -> dict[str, Any]:
    return {"refused": str(error), "usage": isinstance(error, UsageError)}


def number_format(device: str, precision: str) -> str:
    """Return the precision that a worker chooses; it runs on one."""
    from ulfine_cache.encoders.device import choose_device, choose_precision

    return choose_precision(precision, choose_device(device))
