"""What a type hint says about the values that a command line may give."""

import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt

from ulfine_cache.command import MayBeUrl, Written

_PLACEHOLDERS = {int: "N", float: "NUMBER", str: "TEXT", Path: "PATH"}
_BOUNDS = {Ge: "at least {}", Gt: "above {}", Le: "at most {}", Lt: "below {}"}


@dataclass(frozen=True)
class Hint:
    """A type hint, taken apart.

    Attributes:
        kinds: The types of one value, None left out.
        words: The words that may be given, instead of or besides those.
        form: How a text is written, where the hint says it; see `Written`.
        bounds: Of a number, such as ``at least 1``.
        several: Whether there may be several values.
        optional: Whether there may be none.
        url: Whether a path may also be a URL.

    Example:
        >>> hint = Hint.of(Annotated[int, Ge(1)] | Literal["auto"])
        >>> hint.choices, hint.bounds
        (('auto', 'N'), ('at least 1',))
    """

    kinds: tuple[type, ...] = ()
    words: tuple[str, ...] = ()
    form: str = ""
    bounds: tuple[str, ...] = ()
    several: bool = False
    optional: bool = False
    url: bool = False

    @classmethod
    def of(cls, hint: Any) -> "Hint":
        """Take a hint apart."""
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            marks = arguments[1:]
            form = "".join(mark.form for mark in marks if isinstance(mark, Written))
            bounds = tuple(_bound(mark) for mark in marks if type(mark) in _BOUNDS)
            return cls.of(arguments[0]) + cls(form=form, bounds=bounds, url=MayBeUrl() in marks)
        if origin is Literal:
            return cls(words=arguments)
        if origin is Sequence:
            return cls.of(arguments[0]) + cls(several=True)
        if origin in (Union, types.UnionType):
            return sum(map(cls.of, arguments), cls())
        return cls(optional=True) if hint is types.NoneType else cls(kinds=(hint,))

    def __add__(self, other: "Hint") -> "Hint":
        """Both of what two parts of a hint say."""
        return Hint(
            self.kinds + other.kinds,
            self.words + other.words,
            self.form + other.form,
            self.bounds + other.bounds,
            self.several or other.several,
            self.optional or other.optional,
            self.url or other.url,
        )

    @property
    def flag(self) -> bool:
        """Whether it is a switch, which takes no value."""
        return self.kinds == (bool,)

    @property
    def choices(self) -> tuple[str, ...]:
        """What may be given: words, and capitals for what is to be put in."""
        return (
            tuple(self.form.split("|")) if self.form else (*self.words, *(_PLACEHOLDERS[kind] for kind in self.kinds))
        )


def _bound(mark: Any) -> str:
    return _BOUNDS[type(mark)].format(getattr(mark, type(mark).__name__.lower()))
