"""Parts of predictions as a job for workers elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ulfine_cache.sources.own_source import OwnImages
from ulfine_cache.store.digest_file import file_sha256
from ulfine_exports.predicting.part_request import PartRequest
from ulfine_exports.predicting.part_work import PartDone, PartWork
from ulfine_exports.predicting.part_worker import PartWorker, part_versions


class PartJob:
    """The parts of one folder; see `ulfine_cache.encoding.engines.engine.Job`.

    Args:
        work: What is made.
        request: What is asked for.
        device: What workers run on, "cpu" or "cuda".
        token: What they know the folder by.
        runs_on: Told what each worker runs on.
    """

    word, stage = "part", "predicting"

    def __init__(
        self, work: PartWork, request: PartRequest, device: str, token: str, runs_on: Callable[[str], None]
    ) -> None:
        self._work, self._runs_on, self.worker = work, runs_on, PartWorker
        # Workers have other working directories.
        root = request.options.root
        told = replace(
            request,
            model=request.model.absolute(),
            out=request.out.absolute(),
            place=request.place if isinstance(work.source, OwnImages) else request.place.absolute(),
            options=replace(request.options, root=root and root.absolute()),
        )
        self.told: Sequence[Any] = (told, request.model_digest(), token, part_versions(request), device)

    def images(self, number: int) -> int:
        """How many images a part has."""
        return len(self._work.blocks[number])

    def listing(self, number: int) -> str:
        """The digest of its images as they are listed here."""
        return self._work.listing(number)

    def path(self, number: int) -> Path:
        """Its file."""
        return self._work.folder.file(number)

    def heard(self, answer: Mapping[str, Any]) -> None:
        """What a worker runs on."""
        self._runs_on(str(answer["device"]))

    def done(self, answer: Mapping[str, Any]) -> PartDone:
        """What became of a part."""
        return PartDone(**answer["done"])

    def is_seen(self, done: PartDone) -> bool:
        """Whether its file is there, with the bytes that were written."""
        try:
            return file_sha256(self.path(done.number)) == done.sha256
        except OSError:
            return False


def part_jobs(request: PartRequest, runs_on: Callable[[str], None]) -> Callable[[PartWork, str, str], PartJob]:
    """Return what makes a job of the work of one call of `predict`.

    Args:
        request: What is asked for.
        runs_on: Told what each worker runs on.
    """
    return lambda work, device, token: PartJob(work, request, device, token, runs_on)
