"""What makes shards elsewhere: it loads the encoder once, and writes shard after shard where all can see them."""

import platform
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from ulfine_cache.atomic import make_directory
from ulfine_cache.encoding.engines.worker import Counting, Worker, check_place, check_versions, other_images
from ulfine_cache.errors import UlfineError
from ulfine_cache.remote.places import named, place, url_of
from ulfine_cache.store.layout import SHARDS

PLACES = ("source", "out", "root", "classes")
"""Arguments that are paths or URLs, and come as text."""

_NOT_COMPARED = ("python", "h5py", "faiss-cpu")
"""Libraries that leave the numbers in a shard alone."""


class ShardWorker(Worker):
    """A worker that makes shards. It answers "done", the values of `ShardDone`, and "again", how many rows overflowed.

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
        super().__init__()
        places = {name: place(arguments[name]) for name in PLACES if arguments[name]}
        self._arguments: dict[str, Any] = {**arguments, **places}
        self._record, self._token = record, token
        self._versions, self._cores = versions, cores

    def _load(self) -> dict[str, Any]:
        _ = self._work
        return {}

    def _make(self, number: int, listing: str, progress: Counting) -> dict[str, Any]:
        work = self._work
        if number >= len(work.blocks) or work.listing(number) != listing:
            raise other_images(named(self._arguments["source"]))
        before = self._encoder.encoded_again
        (done,) = work.make([number], progress)
        return {"done": asdict(done), "again": self._encoder.encoded_again - before}

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
        check_place(out, self._token, "the cache directory")

    def _check_versions(self) -> None:
        from ulfine_cache.store.cache_file import library_versions

        wanted = {name: version for name, version in self._versions.items() if name not in _NOT_COMPARED}
        check_versions(wanted, library_versions(), "features")


def number_format(device: str, precision: str) -> str:
    """Return the precision that a worker chooses; it runs on one."""
    from ulfine_cache.encoders.device import choose_device, choose_precision

    return choose_precision(precision, choose_device(device))
