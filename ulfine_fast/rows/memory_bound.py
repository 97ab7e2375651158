"""How much memory a fit may take, and how much there is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import psutil

from ulfine_cache.errors import UsageError

SHARE = 0.5
"""Of the memory that is free, the part that ``auto`` lets a fit take."""

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?)b?|b?)", re.IGNORECASE)
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryBound:
    """What the resident memory of the process shall stay below.

    Attributes:
        bytes: The bound.
        asked: Whether a user named it: one that cannot be kept is then an error.
    """

    bytes: int
    asked: bool = True


def memory_bound(text: str) -> MemoryBound:
    """Read ``--memory``.

    Args:
        text: A size such as ``"4GB"``, ``"500 MB"`` or ``"2GiB"``; ``"auto"`` is what the process has already and half
            of what is free.

    Raises:
        UsageError: It is neither.

    Example:
        >>> memory_bound("1.5GB").bytes
        1500000000
    """
    if text == "auto":
        return MemoryBound(resident_bytes() + int(SHARE * free_bytes()), asked=False)
    match = _SIZE.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise UsageError(f"memory {text!r} is no size: write auto or something like 4GB")
    unit = (match[2] or "").lower()
    return MemoryBound(int(float(match[1]) * (_BINARY[unit] if match[3] else _UNITS[unit])))


def readable(n_bytes: float) -> str:
    """A number of bytes as people write it.

    Example:
        >>> readable(10_240_000_000), readable(81_920_000)
        ('10.2 GB', '82 MB')
    """
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def resident_bytes() -> int:
    """Resident memory of this process."""
    return psutil.Process().memory_info().rss


def free_bytes() -> int:
    """Memory that a process can still take, within the limit of its container."""
    free, in_container = psutil.virtual_memory().available, _free_in_container()
    return free if in_container is None else min(free, in_container)


def _free_in_container() -> int | None:
    """What cgroups leave: version 2, which counts files that were read and can be dropped, else version 1.

    Read here, since psutil knows the whole machine alone.
    """
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        if limit == "max":
            return None
        statistics = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        used = int((_CGROUP / "memory.current").read_text()) - int(statistics["inactive_file"])
        return max(0, int(limit) - used)
    except (OSError, ValueError, KeyError):
        pass
    try:
        folder = _CGROUP / "memory"
        used = int((folder / "memory.usage_in_bytes").read_text())
        return max(0, int((folder / "memory.limit_in_bytes").read_text()) - used)
    except (OSError, ValueError):
        return None
