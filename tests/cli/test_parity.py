"""Every command exists three times, as a function, a strict config and a declaration; here they are compared."""

import inspect
import re
import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path

import pytest

from ulfine_cache.config import StrictConfig
from ulfine_cli.command import Command
from ulfine_cli.commands import COMMANDS

NAMES = [command.name for command in COMMANDS]


def spelled(annotation: object) -> object:
    """A type without typer's and pydantic's annotations; unions and literals whatever way they are written.

    Several values of one type are one thing, whether they come as list, tuple or any sequence.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return spelled(arguments[0])
    if origin in (list, Sequence) or (origin is tuple and arguments[1:] == (...,)):
        return ("several", spelled(arguments[0]))
    if origin is typing.Literal:
        return ("literal", frozenset(arguments))
    if origin in (typing.Union, types.UnionType):
        return ("union", frozenset(spelled(argument) for argument in arguments))
    return annotation


def signature_of(function: object) -> dict[str, tuple[object, object]]:
    """Name to type and default of a function's parameters."""
    # One by one, for a return type may be imported for the type checker only.
    names = vars(sys.modules[function.__module__])

    def hint(parameter: inspect.Parameter) -> object:
        written = parameter.annotation
        return eval(written, names) if isinstance(written, str) else written

    parameters = inspect.signature(function).parameters
    return {name: (spelled(hint(parameter)), parameter.default) for name, parameter in parameters.items()}


def fields_of(config: type[StrictConfig]) -> dict[str, tuple[object, object]]:
    """Name to type and default of a config's fields."""
    hints = typing.get_type_hints(config, include_extras=True)
    return {
        name: (spelled(hints[name]), inspect.Parameter.empty if field.is_required() else field.get_default())
        for name, field in config.model_fields.items()
    }


def config_of(command: Command) -> type[StrictConfig]:
    function = command.function()
    names = [re.sub(r"(^|[_-])(.)", lambda found: found[2].upper(), name) for name in (command.name, function.__name__)]
    module = sys.modules[function.__module__]
    return next(getattr(module, f"{name}Config") for name in names if hasattr(module, f"{name}Config"))


@pytest.fixture(params=COMMANDS, ids=NAMES)
def command(request: pytest.FixtureRequest) -> Command:
    return request.param


def test_commands__are_those_of_the_design():
    assert [
        *("quickstart", "cache-features", "import-features", "info", "verify", "neighbours", "convert", "split"),
        *("fit", "evaluate", "compare", "predict", "export", "serve"),
    ] == NAMES


def test_command__declaration_equals_function(command):
    of_function = signature_of(command.function())
    del of_function["progress"]
    assert signature_of(command.declaration) == of_function


def test_command__function_equals_config(command):
    of_function = signature_of(command.function())
    del of_function["progress"]
    assert fields_of(config_of(command)) == of_function


def test_command__function_takes_keywords_only_and_reports_progress(command):
    parameters = inspect.signature(command.function()).parameters
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert parameters["progress"].default is not inspect.Parameter.empty


def test_command__config_is_strict(command):
    config = config_of(command)
    assert issubclass(config, StrictConfig)
    assert config.model_config["extra"] == "forbid"
    assert config.model_config["strict"] is True


def test_spelled__tells_types_apart():
    assert spelled(int | None) == spelled(typing.Optional[int])  # noqa: UP045
    assert spelled(int | None) != spelled(float | None)
    assert spelled(typing.Literal["a", "b"]) != spelled(str)
    assert spelled(list[Path]) != spelled(list[str])
    assert spelled(list[Path]) == spelled(tuple[Path, ...]) != spelled(Path)
    assert spelled(typing.Annotated[Path, "help"]) is Path
