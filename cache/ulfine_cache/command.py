"""What makes a function a command: its signature says once what it takes, and every call is held to it.

Nothing here imports pydantic before the first call, so that the command line reads signatures in no time.
"""

import functools
import inspect
import types
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from ulfine_cache.errors import UlfineError
from ulfine_cache.remote.places import in_words, local, place

if TYPE_CHECKING:
    from ulfine_cache.config import StrictConfig

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

PROGRESS = "progress"
"""The one parameter that is not the user's: who watches is decided by whoever calls."""


@dataclass(frozen=True)
class Written:
    """How a text is written that no type describes; it is shown in the help, and the command itself checks the text.

    Attributes:
        form: Words as they are, capitals for what is to be put in, such as ``auto|cpu|cuda:N``.
    """

    form: str


@dataclass(frozen=True)
class MayBeUrl:
    """Marks a path that may also be a URL, such as ``s3://bucket/photos``; others have to be on this machine."""


Place = Annotated[Path, MayBeUrl()]
"""A path or a URL. The function gets a path either way, see `ulfine_cache.remote.places.place`."""


def command(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Hold every call of a function to its signature, strictly: nothing but a path as text is converted silently.

    The function has keyword-only parameters with types (bounds as in `annotated_types`, closed sets of words as
    `Literal`), one of them `progress`, and a Google-style docstring that says what each means. From the two the command
    line and ``docs/commands.md`` are made, see `ulfine_cli.command`.

    Raises:
        UsageError: By the decorated function: a parameter is unknown or missing, or its value of the wrong type or out
            of range. One line says which, and what may be given.

    Example:
        >>> @command
        ... def draw(*, seed: int = 0, progress: object = None) -> int:
        ...     return seed
        >>> draw(seed="1")
        Traceback (most recent call last):
        ulfine_cache.errors.UsageError: seed='1' cannot be used: input should be a valid integer
    """

    @functools.wraps(function)
    def call(**arguments: Any) -> Any:
        watching = {PROGRESS: arguments.pop(PROGRESS)} if PROGRESS in arguments else {}
        try:
            return in_words(function(**arguments_of(function, **arguments), **watching))  # pyright: ignore[reportCallIssue]
        except UlfineError as error:
            # As the user called it, and not by the path that stands for it.
            error.args = (in_words(str(error)),)
            raise

    return call  # pyright: ignore[reportReturnType]


def parameters_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The user's parameters of a command, by name; annotations are types, never text."""
    function = inspect.unwrap(function)

    def stand_in() -> None: ...

    # Without the return type, which may be imported for the type checker only.
    stand_in.__annotations__ = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    hints = get_type_hints(stand_in, function.__globals__, include_extras=True)
    parameters = inspect.signature(function).parameters
    return {name: item.replace(annotation=hints[name]) for name, item in parameters.items() if name != PROGRESS}


@functools.cache
def config_of(function: Callable[..., Any]) -> "type[StrictConfig]":
    """The parameters of a command as a strict configuration, which also reads them from JSON."""
    from pydantic import ConfigDict, create_model

    from ulfine_cache.config import StrictConfig

    class Finite(StrictConfig):
        model_config = ConfigDict(allow_inf_nan=False)

    fields: dict[str, Any] = {
        name: (_with_text_as_path(item.annotation), ... if item.default is inspect.Parameter.empty else item.default)
        for name, item in parameters_of(function).items()
    }
    with warnings.catch_warnings():
        # A parameter may be called as a method of pydantic's is, such as copy, which nothing here calls.
        warnings.filterwarnings("ignore", message="Field name .* shadows an attribute")
        return create_model(function.__name__, __base__=Finite, **fields)


def _with_text_as_path(hint: Any) -> Any:
    """A type hint in which a path may also be given as text."""
    from pydantic import BeforeValidator, Strict

    if hint is Path:
        return Annotated[Path, Strict(False), BeforeValidator(_only_paths(local))]
    origin, members = get_origin(hint), get_args(hint)
    if origin is Annotated and members[0] is Path and MayBeUrl() in members[1:]:
        return Annotated[Path, Strict(False), BeforeValidator(_only_paths(place))]
    if origin is Annotated:
        return Annotated[_with_text_as_path(members[0]), *members[1:]]
    if origin in (Union, types.UnionType):
        return Union[tuple(map(_with_text_as_path, members))]  # noqa: UP007 (the members are known only here)
    return Sequence[_with_text_as_path(members[0])] if origin is Sequence else hint


def _only_paths(read: Callable[[str | Path], Path]) -> Callable[[Any], Any]:
    # As text, because what is read from JSON has to be text.
    return lambda value: str(read(value)) if isinstance(value, str | Path) else value


def arguments_of(function: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """What a command would be called with: the checked arguments, completed by the defaults.

    Raises:
        UsageError: As by the command itself.
    """
    checked = config_of(function).checked(**arguments)
    return {name: getattr(checked, name) for name in type(checked).model_fields}
