"""The processes of one fit, and what they tell each other: sums. One process alone is a group of one."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ulfine_cache.errors import UlfineError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from ulfine_fast.method import Method


class OtherProcessEnded(UlfineError):
    """Another process of the group has gone; it says why."""


def place_from_torchrun() -> tuple[int, int] | None:
    """Return this process's rank and how many there are, where torchrun started more than one; else None.

    Raises:
        UsageError: They are spread over several machines.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    if os.environ.get("LOCAL_WORLD_SIZE") != os.environ["WORLD_SIZE"]:
        raise UsageError("a fit takes the processes of one machine: leave --nnodes of torchrun at 1")
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


_JOINED: list[bool] = []


@contextmanager
def joined() -> Generator[None]:
    """Join the group that torchrun started, for the body; the command line does that for `fit`.

    Raises:
        OtherProcessEnded: Another process ended before all had come.
    """
    import torch.distributed as distributed

    try:
        # Of one machine: no other host is asked for its name.
        distributed.init_process_group("gloo")
    except RuntimeError as error:
        raise OtherProcessEnded("the other processes of this fit cannot be reached") from error
    _JOINED.append(True)
    try:
        yield
    finally:
        _JOINED.clear()
        distributed.destroy_process_group()


def is_joined() -> bool:
    """Whether this process fits together with others. A group that somebody else made is not ours to speak in."""
    return bool(_JOINED)


def rank() -> int:
    """This process's number, from 0; that of a process alone."""
    import torch.distributed as distributed

    return distributed.get_rank() if is_joined() else 0


def count() -> int:
    """How many processes there are."""
    import torch.distributed as distributed

    return distributed.get_world_size() if is_joined() else 1


def share_of(n_rows: int) -> slice:
    """Which of `n_rows` rows are this process's: runs as even as can be, in the order of the ranks.

    Example:
        >>> share_of(7)
        slice(0, 7, None)
    """
    return slice(n_rows * rank() // count(), n_rows * (rank() + 1) // count())


def add_up(*tensors: Tensor) -> None:
    """Make each tensor, in place, the sum of the tensors of all processes; every process gets the same bits.

    Raises:
        OtherProcessEnded: Another process ended meanwhile.
    """
    if not is_joined():
        return
    import torch.distributed as distributed

    try:
        for tensor in tensors:
            distributed.all_reduce(tensor)
    except RuntimeError as error:
        raise OtherProcessEnded("another process of this fit ended") from error


def any_of(flag: bool) -> bool:
    """Whether `flag` is set in any process."""
    import torch

    told = torch.tensor([float(flag)])
    add_up(told)
    return bool(told[0])


def check_shared(method: Method) -> None:
    """Refuse a method that several processes cannot fit together, where there are several.

    Raises:
        UsageError: It is one.
    """
    if is_joined() and not method.shared:
        from ulfine_fast.registry import METHODS, get_method

        can = ", ".join(name for name in METHODS if get_method(name).shared)
        raise UsageError(f"method {method.name} is fitted by one process: start it without torchrun, or choose {can}")
