"""The folder that predictions of many images go to: one Parquet file for each block, complete or not there at all.

A part carries the listing of its block and the reasons why some of its images have no row, so that a command which goes
on needs nothing else, and `skipped.csv` is made from the parts when all are there.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.atomic import PARTIAL, remove_partial_files, replacing
from ulfine_cache.errors import UlfineError
from ulfine_cache.store.layout import LOCK_FILE, WORKERS
from ulfine_fast.judging.accepted_rows import Thresholds
from ulfine_fast.records.predictions import write_predictions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SETTINGS_FILE = "settings.json"
"""What the parts were made with."""

SKIPPED_FILE = "skipped.csv"
"""The images without a row; it is there when all parts are."""

_ABOUT = "ulfine"
"""Key of a part's own words in the metadata of its Parquet schema."""


@dataclass(frozen=True)
class Part:
    """What is known of a part without its rows.

    Attributes:
        listing: Digest of its block of the source.
        n_rows: Images that were classified.
        skipped: (path, reason) of the others.
    """

    listing: str
    n_rows: int
    skipped: Sequence[tuple[str, str]]


class PartFolder:
    """A folder of parts, held by one process, beside which others may write parts for it.

    Args:
        folder: The folder, which exists.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder

    def settle(self, settings: Mapping[str, Any]) -> None:
        """Record what the parts are made with, or hold it against what is recorded, and remove what kills have left.

        Raises:
            UlfineError: The folder holds something else, or the parts that are there were made with something else.
        """
        path = self.path / SETTINGS_FILE
        names = [found.name for found in self.path.iterdir() if found.name != LOCK_FILE]
        others = [name for name in names if not name.endswith(PARTIAL)]
        if others and not path.is_file():
            raise UlfineError(f"{self.path} holds other files ({min(others)}): choose another --out")
        remove_partial_files(self.path)
        (self.path / WORKERS).unlink(missing_ok=True)
        if not path.is_file():
            with replacing(path) as partial:
                partial.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
            return
        try:
            recorded = json.loads(path.read_text(encoding="utf-8"))
            changed = [name for name in dict.fromkeys([*recorded, *settings]) if recorded[name] != settings[name]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UlfineError(f"{path} is damaged or of another version: choose another --out") from error
        if changed:
            words = ", ".join(f"{name.replace('_', ' ')} {recorded[name]} -> {settings[name]}" for name in changed)
            raise UlfineError(f"{self.path} holds predictions made in another way ({words}): choose another --out")

    def file(self, number: int) -> Path:
        """Name of a part, counted from 0."""
        return self.path / f"part-{number:05d}.parquet"

    def read(self, number: int) -> Part | None:
        """What a part says about itself; None where there is none that can be read."""
        from pyarrow import ArrowException, parquet

        try:
            metadata = parquet.read_metadata(self.file(number))
            about = json.loads((metadata.metadata or {})[_ABOUT.encode()])
            skipped = [(str(path), str(why)) for path, why in about["skipped"]]
            return Part(str(about["listing"]), int(metadata.num_rows), skipped)
        except (OSError, ValueError, KeyError, TypeError, ArrowException):
            return None

    def write(
        self,
        number: int,
        listing: str,
        skipped: Sequence[tuple[str, str]],
        *,
        paths: Sequence[str],
        probabilities: "NDArray[np.float32]",
        class_names: Sequence[str],
        threshold: Thresholds | None,
        outlier_scores: "NDArray[np.float32] | None" = None,
    ) -> None:
        """Write a part; see `write_predictions`.

        Raises:
            UlfineError: The folder cannot be written.
        """
        write_predictions(
            self.file(number),
            paths=paths,
            probabilities=probabilities,
            class_names=class_names,
            threshold=threshold,
            outlier_scores=outlier_scores,
            about={_ABOUT: json.dumps({"listing": listing, "skipped": list(skipped)})},
        )

    def remove_beyond(self, n_parts: int) -> None:
        """Delete what a longer listing left."""
        for path in self.path.glob("part-*.parquet"):
            if path not in {self.file(number) for number in range(n_parts)}:
                path.unlink()
