"""Every command exists three times, as a function, a strict config and a declaration; here they are compared."""

import inspect
import sys
import typing
from pathlib import Path

import pytest

from ulfine_cache.config import StrictConfig
from ulfine_cli.command import Command
from ulfine_cli.commands import COMMANDS

NAMES = [command.name for command in COMMANDS]


def spelled(annotation: object) -> object:
    """A type without typer's and pydantic's annotations; unions and literals whatever way they are written."""
    if typing.get_origin(annotation) is typing.Annotated:
        return spelled(typing.get_args(annotation)[0])
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return ("literal", frozenset(arguments))
    if arguments and not isinstance(annotation, type):
        origin = typing.get_origin(annotation)
        parts = [spelled(argument) for argument in arguments]
        is_union = "Union" in str(origin)
        return ("union", frozenset(parts)) if is_union else (origin, *parts)
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


def config_of(function: object) -> type[StrictConfig]:
    name = "".join(word.capitalize() for word in function.__name__.split("_")) + "Config"
    return getattr(sys.modules[function.__module__], name)


@pytest.fixture(params=COMMANDS, ids=NAMES)
def command(request: pytest.FixtureRequest) -> Command:
    return request.param


def test_commands__are_those_of_the_design():
    assert [
        *("quickstart", "cache-features", "import-features", "info", "verify", "split"),
        *("fit", "evaluate", "compare", "predict", "export"),
    ] == NAMES


def test_command__declaration_equals_function(command):
    of_function = signature_of(command.function())
    del of_function["progress"]
    assert signature_of(command.declaration) == of_function


def test_command__function_equals_config(command):
    function = command.function()
    of_function = signature_of(function)
    del of_function["progress"]
    assert fields_of(config_of(function)) == of_function


def test_command__function_takes_keywords_only_and_reports_progress(command):
    parameters = inspect.signature(command.function()).parameters
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert parameters["progress"].default is not inspect.Parameter.empty


def test_command__config_is_strict(command):
    config = config_of(command.function())
    assert issubclass(config, StrictConfig)
    assert config.model_config["extra"] == "forbid"
    assert config.model_config["strict"] is True


def test_spelled__tells_types_apart():
    assert spelled(int | None) == spelled(typing.Optional[int])  # noqa: UP045
    assert spelled(int | None) != spelled(float | None)
    assert spelled(typing.Literal["a", "b"]) != spelled(str)
    assert spelled(list[Path]) != spelled(list[str])
    assert spelled(typing.Annotated[Path, "help"]) is Path
