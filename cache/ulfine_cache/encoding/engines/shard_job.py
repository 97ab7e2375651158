"""Shards as a job for workers elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ulfine_cache.encoding.engines.ray_worker import PLACES, ShardWorker
from ulfine_cache.encoding.shard_work import ShardDone, ShardWork
from ulfine_cache.remote.places import named
from ulfine_cache.store.cache_file import library_versions
from ulfine_cache.store.digest_file import recorded_sha256
from ulfine_cache.store.objects.copies import made_elsewhere


class ShardJob:
    """The shards of one cache; see `ulfine_cache.encoding.engines.engine.Job`.

    Args:
        work: What is made.
        arguments: Of the call of `cache_features`, by name.
        device: What workers run on, "cpu" or "cuda".
        token: What they know the cache directory by.
    """

    word, stage = "shard", "encoding"

    def __init__(self, work: ShardWork, arguments: Mapping[str, Any], device: str, token: str) -> None:
        self._work, self.worker = work, ShardWorker
        settled = {"device": device, "precision": work.encoder.precision}
        self.told: Sequence[Any] = (_for_others(arguments) | settled, dict(work.record), token, library_versions())

    def images(self, number: int) -> int:
        """How many images a shard has."""
        return len(self._work.blocks[number])

    def listing(self, number: int) -> str:
        """The digest of its images as they are listed here."""
        return self._work.listing(number)

    def path(self, number: int) -> Path:
        """Its file."""
        return self._work.paths[number]

    def heard(self, answer: Mapping[str, Any]) -> None:
        """Nothing is said."""

    def done(self, answer: Mapping[str, Any]) -> ShardDone:
        """What became of a shard."""
        done = ShardDone(**answer["done"])
        self._work.encoder.encoded_again += answer["again"]
        made_elsewhere(self.path(done.number), done.sha256)
        return done

    def is_seen(self, done: ShardDone) -> bool:
        """Whether its digest file and its file are there."""
        path = self.path(done.number)
        return recorded_sha256(path) == done.sha256 and path.is_file()


def shard_jobs(arguments: Mapping[str, Any]) -> Callable[[ShardWork, str, str], ShardJob]:
    """Return what makes a job of the work of one call of `cache_features`.

    Args:
        arguments: Of the call, by name.
    """
    return lambda work, device, token: ShardJob(work, arguments, device, token)


def _for_others(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as they mean the same in other working directories and on other machines."""
    told = {name: value for name, value in arguments.items() if name != "progress"}
    for name in PLACES:
        path: Path | None = told[name]
        # As text: a URL's local copies may be elsewhere there.
        told[name] = path and named(path.absolute())
    kind, _, folder = told["model"].partition(":")
    if kind == "local-dir":
        told["model"] = f"{kind}:{Path(folder).absolute()}"
    if Path(told["pretrained"]).is_file():
        told["pretrained"] = str(Path(told["pretrained"]).absolute())
    return told
