"""What takes part in a comparison: methods with their settings, or with several to choose from."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.errors import UsageError
from ulfine_fast.registry import METHODS, found_method, get_method
from ulfine_fast.settings import read_settings_of_methods, resolve_settings

if TYPE_CHECKING:
    from ulfine_cache.config import StrictConfig
    from ulfine_fast.elsewhere.found_method import Origin
    from ulfine_fast.method import Method

_MOST_TRIED = 1000
"""Settings of one grid beyond which it is a mistake: each is fitted once for every fold."""

_COMMA = re.compile(r",(?![^\[]*\])")
"""Between values, not inside a list."""


@dataclass(frozen=True)
class Contender:
    """A method in a comparison.

    Attributes:
        name: Its name there.
        method: The method.
        settings: Those that it is fitted with, where there is no grid.
        grid: Settings to choose from on left-out labelled rows; empty without a grid.
        origin: Where the method comes from; None for those of this package.
    """

    name: str
    method: Method
    settings: StrictConfig
    grid: tuple[StrictConfig, ...] = ()
    origin: Origin | None = None

    def identity(self) -> dict[str, Any]:
        """What has to be the same for two fits to be of one contender, JSON-able."""
        return {
            "method": self.name,
            "settings": self.settings.model_dump(mode="json"),
            "grid": [values.model_dump(mode="json") for values in self.grid],
            # A file is known by what is in it, wherever it lies.
            "code": None if self.origin is None else self.origin.sha256 or asdict(self.origin)["package"],
        }


def find_contenders(
    methods: str,
    *,
    ablation: bool = False,
    settings: Path | None = None,
    assignments: Sequence[str] = (),
    grid: Sequence[str] = (),
) -> list[Contender]:
    """Find the methods of a comparison and put their settings together.

    Args:
        methods: Names, separated by commas.
        ablation: The one method named, and the same without each of its parts.
        settings: YAML file with a mapping of settings under the name of each method.
        assignments: ``"method.key=value"``; they win over the file.
        grid: ``"method.key=value,value"``; several of one method make all combinations.

    Raises:
        UsageError: A method is unknown or named twice, a setting is unknown or of a method that is not compared, or an
            ablation is asked of several methods, of one without switches, or together with a grid.
        UlfineError: The file of settings, or that of a method, cannot be read.

    Example:
        >>> [contender] = find_contenders("lp-la", grid=["lp-la.tau=0.5,1"])
        >>> [values.tau for values in contender.grid]
        [0.5, 1.0]
    """
    names = [name.strip() for name in methods.split(",")]
    if "" in names:
        raise UsageError(f"methods {methods!r} holds an empty name: write them as zero-shot,lp,ulfine")
    if len(set(names)) < len(names):
        raise UsageError(f"a method is named twice in {methods}: name each once")
    found = [found_method(name) for name in names]
    known = [method.name for method, _ in found]
    if len(set(known)) < len(known):
        raise UsageError(f"two of the methods {methods} have one name: give each METHOD its own")
    from_file = {} if settings is None else read_settings_of_methods(settings, known)
    assigned = _of_methods("set", assignments, known)
    tried = _of_methods("grid", grid, known)
    if ablation:
        _check_ablation([method for method, _ in found], grid)
    contenders: list[Contender] = []
    for method, origin in found:
        own = (from_file.get(method.name, {}), assigned.get(method.name, []))
        base = resolve_settings(method, values=own[0], assignments=own[1])
        choices = tuple(
            resolve_settings(method, values=own[0], assignments=[*own[1], *combination])
            for combination in _combinations(method.name, tried.get(method.name, []))
        )
        if ablation:
            contenders += [
                Contender(
                    method.name if part is None else f"{method.name} without {part}",
                    method,
                    base.model_copy(update=changes),
                    origin=origin,
                )
                for part, changes in method.ablations().items()
            ]
        else:
            contenders.append(Contender(method.name, method, base, choices, origin))
    return contenders


def _check_ablation(methods: list[Method], grid: Sequence[str]) -> None:
    if len(methods) != 1 or not methods[0].switches:
        able = ", ".join(name for name in METHODS if get_method(name).switches)
        raise UsageError(f"--ablation takes one method that has parts to turn off: --methods is one of {able}")
    if grid:
        raise UsageError("--ablation and --grid do not go together: choose the settings first, then use --set")


def _of_methods(option: str, texts: Sequence[str], known: Sequence[str]) -> dict[str, list[str]]:
    """What is said of each method, without its name: ``lp.tau=1`` is ``tau=1`` of ``lp``."""
    found: dict[str, list[str]] = {}
    for text in texts:
        left, equals, value = text.partition("=")
        # Names of methods may hold points, those of settings do not.
        name, point, key = left.strip().rpartition(".")
        if not (equals and point and key):
            raise UsageError(f"cannot read --{option} {text!r}: write it as {known[0]}.key=value")
        if name not in known:
            raise UsageError(f"--{option} {text!r} is of {name!r}, which is not compared: choose of {', '.join(known)}")
        found.setdefault(name, []).append(f"{key}={value}")
    return found


def _combinations(name: str, grid: list[str]) -> list[tuple[str, ...]]:
    """Every choice of one value for each setting of a grid, as assignments."""
    if not grid:
        return []
    axes = [[f"{key}={value.strip()}" for value in _COMMA.split(values)] for key, _, values in map(_parted, grid)]
    keys = [axis[0].partition("=")[0] for axis in axes]
    if len(set(keys)) < len(keys):
        raise UsageError(f"the grid of {name} names a setting twice: write all its values into one --grid")
    found = list(itertools.islice(itertools.product(*axes), _MOST_TRIED + 1))
    if len(found) > _MOST_TRIED:
        raise UsageError(f"the grid of {name} has more than {_MOST_TRIED} settings: name fewer values")
    return found


def _parted(text: str) -> tuple[str, str, str]:
    return text.partition("=")
