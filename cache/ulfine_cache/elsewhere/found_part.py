"""Taking a part, such as a method, a source or an encoder, out of a file or out of an installed package.

Code runs only where the user names its file, or where its package is installed. What is stored never says which.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.store.digest_file import file_sha256

ENCODER_ORIGIN = "encoder_origin"
SOURCE_ORIGIN = "source_origin"
"""Attributes of a cache: JSON of the `Origin` of its encoder and its source, where they are not of ulfine-fast."""

_FILE = re.compile(r"(?P<file>.+\.py)(:(?P<attribute>\w+))?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Named(Protocol):
    """What all parts have."""

    @property
    def name(self) -> str:
        """By which it is known."""
        ...


_Part = TypeVar("_Part", bound=Named)


@dataclass(frozen=True)
class Origin:
    """Where a part comes from, as it is recorded.

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


@dataclass(frozen=True)
class Kind(Generic[_Part]):
    """A kind of part.

    Attributes:
        word: What it is called, such as ``"method"``.
        type: Its class.
        group: Of the entry points by which an installed package adds some: ``name = "package.module:METHOD"``.
    """

    word: str
    type: type[_Part]
    group: str

    @property
    def attribute(self) -> str:
        """Under which a file has it where nothing else is said, such as ``"METHOD"``."""
        return self.word.upper()

    def installed(self) -> dict[str, EntryPoint]:
        """Those of installed packages by name. Nothing of them is imported."""
        return installed(self.group)

    def of_file(self, name: str, taken: Collection[str]) -> tuple[_Part, Origin]:
        """Run a file and take the part out of it.

        Args:
            name: ``"path/to/file.py:METHOD"``; without an attribute the usual one.
            taken: Names that it may not have.

        Raises:
            UlfineError: There is no such file, it cannot be run, or what it holds there is something else.
        """
        found = _FILE.fullmatch(name)
        assert found is not None
        path, attribute = Path(found["file"]), found["attribute"] or self.attribute
        if not path.is_file():
            raise UlfineError(f"the {self.word} {name!r} is to come from {path}, which is no file: check the path")
        # Its classes need a module that can be found by name, one of its own for each file.
        digest = file_sha256(path)
        module_name = f"ulfine_{self.word}_{digest[:16]}"
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
                raise UlfineError(f"{path} cannot be run ({said(error)}): mend it") from error
        part = self.checked(getattr(module, attribute, None), f"{path}:{attribute}", taken)
        return part, Origin(file=f"{path}:{attribute}", sha256=digest)

    def of_package(self, entry: EntryPoint, taken: Collection[str]) -> tuple[_Part, Origin]:
        """Import the part of an installed package.

        Args:
            entry: One of `installed`.
            taken: Names that it may not have.

        Raises:
            UlfineError: It cannot be imported, or is something else.
        """
        origin = Origin(package=f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value)
        try:
            value = entry.load()
        except (Exception, SystemExit) as error:
            raise UlfineError(
                f"{self.word} {entry.name!r} of {origin} cannot be imported ({said(error)}): install a version of it "
                "that fits this one"
            ) from error
        part = self.checked(value, f"{entry.value} of {origin}", taken)
        if part.name != entry.name:
            raise UlfineError(f"{entry.value} of {origin} is named {part.name!r}, its entry point {entry.name!r}")
        return part, origin

    def checked(self, value: object, where: str, taken: Collection[str]) -> _Part:
        """What was found, if it is of this kind.

        Raises:
            UlfineError: It is not, or its name is taken or cannot be written in file names.
        """
        if not isinstance(value, self.type):
            what = "nothing" if value is None else f"a {type(value).__name__}"
            kind = self.type.__name__
            raise UlfineError(f"{where} is {what}, not a {kind}: write {self.attribute} = {kind}(name=..., ...) there")
        if value.name in taken:
            raise UsageError(
                f"{where} is named {value.name!r}, as {self._article} {self.word} of ulfine-fast is: choose another "
                "name"
            )
        if not isinstance(value.name, str) or not _NAME.fullmatch(value.name):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"{where} is named {value.name!r}: choose letters, digits, '.', '_' and '-'")
        return value

    @property
    def _article(self) -> str:
        return "an" if self.word[0] in "aeiou" else "a"


def is_file(name: str) -> bool:
    """Whether a name stands for a file: ``"path/to/file.py"`` or ``"path/to/file.py:METHOD"``."""
    return _FILE.fullmatch(name) is not None


def installed(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name. Nothing of them is imported."""
    return {entry.name: entry for entry in sorted(entry_points(group=group), key=lambda entry: entry.name)}


def said(error: BaseException) -> str:
    """An error of somebody else's code in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
