"""`.plan`: how many shards an unfinished cache will have, so that anybody can say which are missing.

It is there from the first shard to `cache.h5`. Nothing depends on it but words, and that processes which each make a
range of the shards look through the others only once.
"""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ulfine_cache.atomic import replacing
from ulfine_cache.store.layout import PLAN, PREPARING_FILE
from ulfine_cache.store.regular import check_regular
from ulfine_cache.store.shards import shard_path
from ulfine_cache.wording.counts import amount, subject

_SHOWN = 8
_MOST = 10**7
"""Shards that are looked for at most: the file may come from somebody else."""


class Plan(NamedTuple):
    """What is to be made.

    Attributes:
        shards: How many.
        listing: Digest of all that is in them and of the words for the classes.
    """

    shards: int
    listing: str


def write_plan(cache: Path, plan: Plan) -> None:
    """Write it down.

    Raises:
        UlfineError: The directory cannot be written.
    """
    with replacing(cache / PLAN, goes_on=True) as partial:
        partial.write_text(json.dumps(plan._asdict()) + "\n", encoding="ascii")


def read_plan(cache: Path) -> Plan | None:
    """Return what was written down, or None where nothing readable is."""
    try:
        check_regular(cache / PLAN)
        found = json.loads((cache / PLAN).read_text("ascii"))
        plan = Plan(**found)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    sound = type(plan.shards) is int and type(plan.listing) is str and 0 < plan.shards <= _MOST
    return plan if sound else None


def remove_plan(cache: Path) -> None:
    """Forget it, because all of it is done, and nobody makes a range any more."""
    for name in (PLAN, PREPARING_FILE):
        with contextlib.suppress(OSError):
            (cache / name).unlink()


def missing_shards(cache: Path, plan: Plan) -> list[int]:
    """Return the numbers of the shards that are not there, in order."""
    return [number for number in range(plan.shards) if not shard_path(cache, number).is_file()]


def what_is_missing(cache: Path) -> str:
    """Say which shards an unfinished cache lacks, or "" where nobody knows.

    Example:
        >>> what_is_missing(Path("no-cache"))
        ''
    """
    plan = read_plan(cache)
    if plan is None:
        return ""
    missing = missing_shards(cache, plan)
    if not missing:
        return f"all of its {amount(plan.shards, 'shard')} are there, and only what lies over them is missing"
    return f"{subject(len(missing), 'shard', 'is/are')} missing of {plan.shards}: {_in_runs(missing)}"


def _in_runs(numbers: Sequence[int]) -> str:
    """Numbers in rising order, as "3, 5 to 9"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    said = [" to ".join(map(str, run)) for run in runs[:_SHOWN]]
    return ", ".join([*said, "..."] if len(runs) > _SHOWN else said)
