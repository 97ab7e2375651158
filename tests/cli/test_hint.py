from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Optional

import pytest
from annotated_types import Ge, Gt, Le, Lt

from ulfine_cache.command import Written
from ulfine_cli.hint import Hint


@pytest.mark.parametrize(
    ("hint", "expected", "choices"),
    [
        (bool, Hint(kinds=(bool,)), ()),
        (Sequence[Path], Hint(kinds=(Path,), several=True), ("PATH",)),
        (Literal["red", "blue"], Hint(words=("red", "blue")), ("red", "blue")),
        (
            Annotated[int, Ge(1)] | Literal["auto"],
            Hint(kinds=(int,), words=("auto",), bounds=("at least 1",)),
            ("auto", "N"),
        ),
        (
            Annotated[float, Gt(0), Lt(1)] | None,
            Hint(kinds=(float,), bounds=("above 0", "below 1"), optional=True),
            ("NUMBER",),
        ),
        (Optional[Path], Hint(kinds=(Path,), optional=True), ("PATH",)),  # noqa: UP045
        (Annotated[int, Le(9)], Hint(kinds=(int,), bounds=("at most 9",)), ("N",)),
        (
            Annotated[str, Written("plain|PATTERN")] | None,
            Hint(kinds=(str,), form="plain|PATTERN", optional=True),
            ("plain", "PATTERN"),
        ),
    ],
)
def test_hint__is_taken_apart(hint, expected, choices):
    found = Hint.of(hint)
    assert found == expected
    assert found.flag or found.choices == choices
