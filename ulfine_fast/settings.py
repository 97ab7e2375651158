"""A method's settings: defaults, then a YAML file, then single assignments; anything unknown is refused by name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from pydantic import ValidationError

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.sources.trees.regular_file import read_text

if TYPE_CHECKING:
    from ulfine_cache.config import StrictConfig
    from ulfine_fast.method import Method

# A file of settings is written by hand: beyond these it is a mistake or an attack.
_MOST_BYTES = 2**20
_MOST_VALUES = 100_000
_MOST_WHOLE = 10**9
_MOST_REAL = 1e15
# YAML 1.1 takes 1e-3 for a word because it lacks a point; nobody means that.
_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def resolve_settings(
    method: Method,
    *,
    file: Path | None = None,
    assignments: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
) -> StrictConfig:
    """Put a method's settings together. Later sources win: defaults, `file`, `values`, `assignments`.

    Args:
        method: Whose settings.
        file: YAML mapping of settings, or a run's ``config.yaml``, which must be of the same method.
        assignments: ``"key=value"`` strings; values are read as YAML (numbers, true, null, lists).
        values: Settings as Python values.

    Raises:
        UsageError: A key is unknown, a value does not fit, an assignment has no ``=``.
        UlfineError: The file is missing or is no YAML mapping.

    Example:
        >>> from ulfine_fast.registry import get_method
        >>> resolve_settings(get_method("zero-shot"), assignments=["scale=50"])
        ZeroShotSettings(scale=50.0)
    """
    given: Any = values
    if given is not None and not isinstance(given, Mapping):
        raise UsageError(f"settings {given!r} of method {method.name} are no dictionary: write them as {{name: value}}")
    merged: dict[str, Any] = {}
    if file is not None:
        merged.update(_read_file(file, method.name))
    merged.update(values or {})
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"cannot read setting {assignment!r}: write it as key=value")
        merged[key.strip()] = _parse_value(text, assignment)
    known = list(method.settings.model_fields)
    for key in merged:
        if key not in known:
            choice = f"choose one of {', '.join(known)}" if known else "it has none"
            raise UsageError(f"unknown setting {key!r} of method {method.name}: {choice}")
        _check_size(key, merged[key], method.name)
    try:
        # Through JSON, whose strict reading takes whole numbers for floats and lists for tuples, and nothing else.
        return method.settings.model_validate_json(json.dumps(merged, default=_plain))
    except TypeError as error:
        raise UsageError(f"settings of method {method.name} must be plain numbers, words or lists: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "settings"
        raise UsageError(f"setting {key}={first['input']!r} of method {method.name}: {first['msg']}") from error


def resolved_config(method: Method, settings: StrictConfig) -> dict[str, Any]:
    """What a fitted classifier remembers of its method, JSON-able: ``method``, ``settings``.

    Of methods that are not of this package also ``prior_power``, so that their code is not needed to ask for it.
    """
    from ulfine_fast.registry import METHODS

    config = {"method": method.name, "settings": settings.model_dump(mode="json")}
    return config if method.name in METHODS else {**config, "prior_power": method.prior_power(settings)}


def prior_power(config: Mapping[str, Any]) -> float:
    """`Method.prior_power` of what `resolved_config` remembered.

    Raises:
        UsageError: The settings are not those of the method in this version.
    """
    from ulfine_fast.registry import get_method

    if "prior_power" in config:
        return float(config["prior_power"])
    method = get_method(config["method"])
    return method.prior_power(resolve_settings(method, values=config.get("settings")))


def read_settings_of_methods(file: Path, methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read a YAML file that holds a mapping of settings under the name of each method.

    Args:
        file: The file.
        methods: Those that it may name.

    Raises:
        UsageError: It names another method.
        UlfineError: It is missing, or of another form.
    """
    content = _read_mapping(file)
    for name, values in content.items():
        if name not in methods:
            raise UsageError(f"{file} has settings of {name!r}, which is not compared: choose of {', '.join(methods)}")
        if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            raise UlfineError(f"{file} has no mapping of settings under {name}: write lines of the form key: value")
    return {name: {key: _read_number(value) for key, value in values.items()} for name, values in content.items()}


def _read_file(file: Path, method_name: str) -> dict[str, Any]:
    content = _read_mapping(file)
    if "settings" in content and "method" in content:
        if content["method"] != method_name:
            raise UsageError(f"{file} holds the settings of method {content['method']}, not of {method_name}")
        content = content["settings"]
    return {key: _read_number(value) for key, value in content.items()}


def _read_mapping(file: Path) -> dict[str, Any]:
    try:
        content = _bounded(yaml.safe_load(read_text(file, most=_MOST_BYTES)))
    except OSError as error:
        raise UlfineError(f"cannot read the settings file {file}: {error.strerror or error}") from error
    except RecursionError as error:
        raise UlfineError(f"{file} is nested too deeply: settings are numbers, words and lists of them") from error
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UlfineError(f"{file} is not YAML: {reason}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UlfineError(f"{file} is not a mapping of settings: write lines of the form key: value")
    return content


def _parse_value(text: str, assignment: str) -> Any:
    try:
        return _read_number(_bounded(yaml.safe_load(text[:_MOST_BYTES])))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UsageError(
            f"cannot read the value of setting {assignment[:60]!r}: quote it or write plain YAML"
        ) from error


def _bounded(content: Any) -> Any:
    """Refuse what aliases blow up: a few lines of YAML can stand for more than any memory holds."""
    pending, seen = [content], 0
    while pending:
        item = pending.pop()
        seen += 1
        if seen > _MOST_VALUES:
            raise RecursionError
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return content


def _check_size(key: str, value: Any, method: str) -> None:
    """Refuse numbers that no computer counts to."""
    for item in value if isinstance(value, list | tuple) else [value]:
        whole = isinstance(item, int) and not isinstance(item, bool)
        if (whole and abs(item) > _MOST_WHOLE) or (isinstance(item, float) and abs(item) > _MOST_REAL):
            most = f"{_MOST_WHOLE:,}" if whole else f"{_MOST_REAL:g}"
            # Python refuses to write numbers of thousands of digits.
            given = "a number of hundreds of digits" if abs(item) > 10**300 else f"{item:g}"
            raise UsageError(f"setting {key}={given} of method {method}: choose a number of at most {most}")


def _plain(value: Any) -> Any:
    """A number or an array of numpy, of which grids of settings are made, as Python's own."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def _read_number(value: Any) -> Any:
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    if isinstance(value, list):
        return [_read_number(item) for item in value]
    return value
