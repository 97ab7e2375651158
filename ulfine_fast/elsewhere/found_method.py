"""Finding a method that another package or a file holds, and checking that it is one."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.store.digest_file import file_sha256

if TYPE_CHECKING:
    from ulfine_fast.method import Method

GROUP = "ulfine_fast.methods"
"""Of the entry points by which an installed package adds methods: ``name = "package.module:METHOD"``."""

_FILE = re.compile(r"(?P<file>.+\.py)(:(?P<attribute>\w+))?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Origin:
    """Where a method comes from, as a run records it.

    Attributes:
        package: Distribution and version, such as ``"prototype-net 1.0"``; None for a file.
        file: Path and attribute, such as ``"mine.py:METHOD"``; None for a package.
        sha256: Of the file's bytes; None for a package.
    """

    package: str | None = None
    file: str | None = None
    sha256: str | None = None

    def __str__(self) -> str:
        return f"the package {self.package}" if self.package else f"the file {self.file}"


def is_file(name: str) -> bool:
    """Whether the name of a method stands for a file: ``"path/to/file.py"`` or ``"path/to/file.py:METHOD"``."""
    return _FILE.fullmatch(name) is not None


def installed() -> dict[str, EntryPoint]:
    """The methods of installed packages by name. Nothing of them is imported."""
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)}


def of_file(name: str, taken: Collection[str]) -> tuple[Method, Origin]:
    """Run a file and take the method out of it.

    Args:
        name: ``"path/to/file.py:METHOD"``; without an attribute ``METHOD``.
        taken: Names that a method may not have.

    Raises:
        UlfineError: There is no such file, it cannot be run, or what it holds there is no method.
    """
    found = _FILE.fullmatch(name)
    assert found is not None
    path, attribute = Path(found["file"]), found["attribute"] or "METHOD"
    if not path.is_file():
        raise UlfineError(f"the method {name!r} is to come from {path}, which is no file: check the path")
    # Its classes need a module that can be found by name, one of its own for each file.
    digest = file_sha256(path)
    module_name = f"ulfine_method_{digest[:16]}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.get(module_name)
    if module is None:
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[module_name]
            reason = " ".join(str(error).split())
            raise UlfineError(f"{path} cannot be run ({type(error).__name__}: {reason}): mend it") from error
    method = checked(getattr(module, attribute, None), f"{path}:{attribute}", taken)
    return method, Origin(file=f"{path}:{attribute}", sha256=digest)


def of_package(entry: EntryPoint, taken: Collection[str]) -> tuple[Method, Origin]:
    """Import the method of an installed package.

    Args:
        entry: One of `installed`.
        taken: Names that a method may not have.

    Raises:
        UlfineError: It cannot be imported, or is no method.
    """
    origin = Origin(package=f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value)
    try:
        value = entry.load()
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())
        raise UlfineError(
            f"method {entry.name!r} of {origin} cannot be imported ({type(error).__name__}: {reason}): install a "
            "version of it that fits this one"
        ) from error
    method = checked(value, f"{entry.value} of {origin}", taken)
    if method.name != entry.name:
        raise UlfineError(f"{entry.value} of {origin} is named {method.name!r}, its entry point {entry.name!r}")
    return method, origin


def checked(value: Any, where: str, taken: Collection[str]) -> Method:
    """What was found, if it is a method.

    Raises:
        UlfineError: It is none, or its name is taken or cannot be written in file names.
    """
    from ulfine_fast.method import Method

    if not isinstance(value, Method):
        what = "nothing" if value is None else f"a {type(value).__name__}"
        raise UlfineError(f"{where} is {what}, not a Method: write METHOD = Method(name=..., ...) there")
    if value.name in taken:
        raise UsageError(f"{where} is named {value.name!r}, as a method of ulfine-fast is: choose another name")
    if not _NAME.fullmatch(value.name):
        raise UsageError(f"{where} is named {value.name!r}: choose letters, digits, '.', '_' and '-'")
    return value
