"""Named splits of a cache: drawn by the protocol, stored beside it, tied to its fingerprint."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from pydantic import Field

from ulfine_cache.atomic import make_directory
from ulfine_cache.datasets import UNREADABLE, dataset, read_array, replacing_file
from ulfine_cache.digest_file import digest_problem
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.split_protocol import (
    Shape,
    Split,
    SplitProtocol,
    arrange_counts,
    draw_split,
    long_tailed_counts,
    own_sets,
    protocol_values,
)

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache

__all__ = [
    "MakeSplitConfig",
    "Split",
    "SplitProtocol",
    "arrange_counts",
    "draw_split",
    "long_tailed_counts",
    "make_split",
    "own_sets",
    "read_split",
    "write_split",
]

SPLITS = "splits"


class MakeSplitConfig(SplitProtocol):
    """The parameters of `make_split`."""

    cache: Path
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


def make_split(
    *,
    cache: Path,
    name: str,
    labelled_max: int,
    imbalance: float,
    unlabelled_max: int | None = None,
    unlabelled_imbalance: float | None = None,
    unlabelled: Shape = "consistent",
    test_per_class: int | None = None,
    seed: int = 0,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Draw a long-tailed split and store it in the cache under a name.

    Args:
        cache: A cache directory.
        name: Letters, digits, ".", "_" and "-".
        labelled_max: Labelled rows of the most frequent class.
        imbalance: How many times more labelled rows the most frequent class has than the rarest, >= 1.
        unlabelled_max: Unlabelled rows of the class that has most; None takes all that the shape can have.
        unlabelled_imbalance: Imbalance of the unlabelled rows; None repeats `imbalance`.
        unlabelled: How the unlabelled counts lie along the ranks, see `arrange_counts`.
        test_per_class: Rows of every class to hold out where the cache has no test set of its own.
        seed: Decides ranks and rows.
        progress: Receives the notes.

    Returns:
        Figures: name, path, labelled, unlabelled, val, test (totals) and, as lists over classes, class_names,
        labelled_counts, unlabelled_counts, test_counts; clipped (class names), unlabelled_max, protocol.

    Raises:
        UsageError: The parameters contradict one another or the cache.
        UlfineError: The cache cannot be read or written, a class would have no labelled row, or the name belongs to a
            split of another protocol, which runs may refer to.

    Example:
        >>> make_split(cache=Path("digits"), name="lt", labelled_max=40, imbalance=20)  # doctest: +SKIP
    """
    from ulfine_cache.feature_cache import FeatureCache

    config = MakeSplitConfig.checked(
        cache=cache,
        name=name,
        labelled_max=labelled_max,
        imbalance=float(imbalance),
        unlabelled_max=unlabelled_max,
        unlabelled_imbalance=None if unlabelled_imbalance is None else float(unlabelled_imbalance),
        unlabelled=unlabelled,
        test_per_class=test_per_class,
        seed=seed,
    )
    opened = FeatureCache.open(config.cache)
    parameters = SplitProtocol.checked(**config.model_dump(exclude={"cache", "name"}))
    split = draw_split(opened.labels, opened.set_names, parameters, name=name, class_names=opened.class_names)
    if name in opened.split_names():
        _check_same_protocol(opened, name, protocol_values(parameters))
    path = write_split(opened, split)
    drawn = split.protocol["drawn"]
    if drawn["clipped"]:
        progress.note(
            f"fewer rows than asked for in {len(drawn['clipped'])} classes: {', '.join(drawn['clipped'][:8])}"
        )
    if len(split.test) == 0:
        progress.note("no test rows: the cache has no test set and --test-per-class was not given")
    totals = {part: len(getattr(split, part)) for part in ("labelled", "unlabelled", "val", "test")}
    return {"name": name, "path": str(path), **totals, "class_names": opened.class_names, **drawn} | {
        "protocol": protocol_values(parameters)
    }


def _check_same_protocol(cache: "FeatureCache", name: str, wanted: dict[str, Any]) -> None:
    found = cache.read_split(name).protocol
    changes = [f"{key}: {found.get(key)} -> {value}" for key, value in wanted.items() if found.get(key) != value]
    if changes:
        raise UlfineError(
            f"{cache.path} has a split {name!r} of another protocol ({', '.join(changes)}): choose another --name, or "
            f"delete {cache.path / SPLITS / f'{name}.h5'}"
        )


def write_split(cache: "FeatureCache", split: Split) -> Path:
    """Store a split in its cache's directory, tied to the cache's fingerprint.

    Raises:
        UlfineError: The directory cannot be written.
    """
    path = cache.path / SPLITS / f"{split.name}.h5"
    make_directory(path.parent)
    with replacing_file(path, digest=True) as file:
        file.attrs["fingerprint"] = cache.fingerprint
        # A dataset, because HDF5 attributes end at 64 KiB and the counts of many classes do not.
        file["protocol"] = json.dumps(split.protocol, sort_keys=True)
        for part in ("labelled", "unlabelled", "val", "test"):
            file[part] = getattr(split, part)
    return path


def read_split(cache: "FeatureCache", name: str) -> Split:
    """Read a named split.

    Raises:
        UlfineError: There is no such split, it is damaged, or it was drawn from other features.
    """
    path = cache.path / SPLITS / f"{name}.h5"
    if name not in cache.split_names():
        there = ", ".join(cache.split_names()) or "none yet"
        raise UlfineError(f"no split {name!r} in {cache.path}: there are {there}; `ulfine split` draws one")
    try:
        problem = digest_problem(path)
        if problem is not None and problem.path == path:
            raise OSError(problem.reason)
        with h5py.File(path, "r") as file:
            fingerprint = str(file.attrs["fingerprint"])
            protocol = json.loads(dataset(file, "protocol")[()])
            sets = [read_array(file, part).astype(np.int64) for part in ("labelled", "unlabelled", "val", "test")]
    except UNREADABLE as error:
        raise UlfineError(f"{path} is damaged or not a split: draw it again with `ulfine split`") from error
    if fingerprint != cache.fingerprint or any(len(rows) and rows[-1] >= cache.n_rows for rows in sets):
        raise UlfineError(f"split {name!r} was drawn from other features than {cache.path} holds now: draw it again")
    return Split(name, *sets, protocol=protocol)
