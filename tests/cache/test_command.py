from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import TypeAdapter, ValidationError

from ulfine_cache.command import Written, arguments_of, command, config_of, parameters_of
from ulfine_cache.errors import UsageError

if TYPE_CHECKING:
    from nowhere import Unknown  # pyright: ignore[reportMissingImports]

WALLS = (Path("a"), Path("b"))


@command
def paint(
    *,
    walls: Sequence[Path],
    colour: Literal["red", "blue"] = "red",
    coats: Annotated[int, Ge(1)] | Literal["auto"] = "auto",
    heat: Annotated[int, Ge(0), Le(40)] = 20,
    thinner: Annotated[float, Gt(0), Lt(1)] | None = None,
    style: Annotated[str, Written("plain|PATTERN")] = "plain",
    progress: object = None,
) -> Unknown:
    """Paint walls."""
    return {**locals()}


def test_command__hands_on_what_was_given_and_the_defaults():
    given = {"walls": WALLS, "coats": 2, "progress": 7}
    assert paint(**given) == {**given, "colour": "red", "heat": 20, "thinner": None, "style": "plain"}
    assert paint(walls=WALLS)["progress"] is None


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"coats": 0}, "coats=0 cannot be used: choose a number of at least 1 or auto"),
        ({"coats": "many"}, "coats='many' cannot be used: choose a number of at least 1 or auto"),
        ({"coats": "2"}, "coats='2' cannot be used: choose a number of at least 1 or auto"),
        ({"heat": 41}, "heat=41 cannot be used: choose a number from 0 to 40"),
        ({"heat": "20"}, "heat='20' cannot be used: input should be a valid integer"),
        ({"heat": True}, "heat=True cannot be used: input should be a valid integer"),
        ({"thinner": 0.0}, "thinner=0.0 cannot be used: choose a number above 0 and below 1"),
        ({"thinner": float("nan")}, "thinner=nan cannot be used: input should be a finite number"),
        ({"colour": "pink"}, "colour='pink' cannot be used: choose red or blue"),
        ({"colour": None}, "colour=None cannot be used: choose red or blue"),
        ({"walls": [3]}, "walls.0=3 cannot be used: input should be a path"),
        ({"style": 3}, "style=3 cannot be used: input should be a valid string"),
        ({"brush": 1}, "paint has no parameter 'brush': choose walls, colour, coats, heat, thinner or style"),
    ],
)
def test_command__refuses_in_one_line(wrong, line):
    with pytest.raises(UsageError) as caught:
        paint(**{"walls": WALLS} | wrong)
    assert str(caught.value) == line


def test_command__names_what_is_missing():
    with pytest.raises(UsageError, match=r"^paint needs walls$"):
        paint()


def test_command__takes_whole_numbers_for_floats_and_no_positions():
    @command
    def dilute(*, share: float = 0.5, progress: object = None) -> float:
        return share

    assert repr(dilute(share=1)) == "1.0"
    with pytest.raises(TypeError, match="positional"):
        dilute(1)


def test_command__errors_of_the_work_are_not_taken_for_wrong_arguments():
    @command
    def work(*, progress: object = None) -> int:
        return TypeAdapter(int).validate_python("many")

    with pytest.raises(ValidationError):
        work()


def test_parameters_of__are_types_though_the_module_writes_text():
    found = parameters_of(paint)
    assert list(found) == ["walls", "colour", "coats", "heat", "thinner", "style"]
    assert found["walls"].annotation == Sequence[Path]
    assert found["heat"].annotation == Annotated[int, Ge(0), Le(40)]
    assert (found["heat"].default, found["walls"].default) == (20, found["walls"].empty)


def test_arguments_of__checks_without_a_call():
    assert arguments_of(paint, walls=WALLS)["coats"] == "auto"
    with pytest.raises(UsageError, match="coats=0"):
        arguments_of(paint, walls=WALLS, coats=0)


def test_config_of__reads_json():
    arguments = config_of(paint).model_validate_json('{"walls": ["a", "b"], "coats": 3}').model_dump()
    assert arguments == {**arguments_of(paint, walls=WALLS, coats=3), "walls": list(WALLS)}
