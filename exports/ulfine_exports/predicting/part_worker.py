"""What makes parts elsewhere: it loads the model once, and writes one part after the other where all can see them."""

import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ulfine_cache.encoding.engines.worker import (
    Counting,
    Worker,
    check_place,
    check_versions,
    hide_gpus,
    other_images,
)
from ulfine_cache.errors import UlfineError

if TYPE_CHECKING:
    from ulfine_exports.predicting.part_request import PartRequest
    from ulfine_exports.predicting.part_work import PartWork

_COMPARED = (("ulfine-fast", "ulfine-fast-runtime"), ("numpy",), ("pillow",), ("pyarrow",))
"""Packages that shape the bytes of a part; of alternatives, which hold the same code, one is there."""
_OF_RUNS = (("torch",), ("open_clip_torch",))
_OF_FILES = (("onnxruntime", "onnxruntime-gpu"),)


class PartWorker(Worker):
    """A worker that makes parts. It is ready with "device", and answers "done", the values of `PartDone`.

    Args:
        request: What is asked for, with paths that mean the same here.
        model: Digest of the model that the process has which gave the command.
        token: What it wrote into the folder.
        versions: Of the libraries in it, see `part_versions`.
        device: "cpu" where the worker holds no GPU.
        cores: How many the worker may use.
    """

    def __init__(
        self, request: "PartRequest", model: str, token: str, versions: Mapping[str, str], device: str, cores: int
    ) -> None:
        super().__init__()
        self._request, self._model, self._token = request, model, token
        self._versions, self._cores = versions, cores
        if device == "cpu":
            hide_gpus()

    def _load(self) -> dict[str, Any]:
        return {"device": self._work.predictor.device}

    def _make(self, number: int, listing: str, progress: Counting) -> dict[str, Any]:
        work = self._work
        if number >= len(work.blocks) or work.listing(number) != listing:
            raise other_images(str(self._request.place))
        (done,) = work.make([number], progress)
        return {"done": asdict(done)}

    @cached_property
    def _work(self) -> "PartWork":
        from ulfine_cache.sources.open_unlabelled import open_unlabelled
        from ulfine_exports.predicting.predictors import open_predictor

        asked = self._request
        check_place(asked.out, self._token, "the folder")
        check_versions(self._versions, part_versions(asked), "predictions")
        predictor = open_predictor(asked.model, asked.views, asked.timeout, threads=self._cores)
        if asked.model_digest() != self._model:
            raise UlfineError(
                f"the worker on {platform.node()} has another model at {asked.model} than the process that gave the "
                "command: bring the same there"
            )
        # One that loads its encoder late says now what is missing.
        predictor.reader()
        return asked.work(open_unlabelled(asked.place, asked.options), predictor, self._cores)


def part_versions(request: "PartRequest") -> dict[str, str]:
    """Return the versions of what shapes the bytes of parts; packages that are absent are left out."""
    versions: dict[str, str] = {}
    for packages in (*_COMPARED, *(_OF_RUNS if request.model.is_dir() else _OF_FILES)):
        for package in packages:
            with suppress(PackageNotFoundError):
                versions.setdefault(packages[0], version(package))
    return versions
