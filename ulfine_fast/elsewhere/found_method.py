"""Finding a method that another package or a file holds, and checking that it is one."""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

from ulfine_cache.elsewhere import found_part
from ulfine_cache.elsewhere.found_part import Kind, Origin, is_file

if TYPE_CHECKING:
    from ulfine_fast.method import Method

__all__ = ["GROUP", "Origin", "installed", "is_file", "of_file", "of_package"]

GROUP = "ulfine_fast.methods"
"""Of the entry points by which an installed package adds methods: ``name = "package.module:METHOD"``."""


def installed() -> dict[str, EntryPoint]:
    """The methods of installed packages by name. Nothing of them is imported."""
    return found_part.installed(GROUP)


def of_file(name: str, taken: Collection[str]) -> tuple[Method, Origin]:
    """Run a file and take the method out of it; see `Kind.of_file`."""
    return _kind().of_file(name, taken)


def of_package(entry: EntryPoint, taken: Collection[str]) -> tuple[Method, Origin]:
    """Import the method of an installed package; see `Kind.of_package`."""
    return _kind().of_package(entry, taken)


def _kind() -> Kind[Method]:
    from ulfine_fast.method import Method

    return Kind("method", Method, GROUP)
