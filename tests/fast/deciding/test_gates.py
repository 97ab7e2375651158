"""Gates: what they read, what holds, and what is said of those that do not."""

import pytest

from ulfine_cache.errors import UsageError
from ulfine_fast.deciding.gates import failed_gates, judged_gates, read_gates

FIGURES = {"macro_accuracy": 0.9, "tail_accuracy": None, "cross_validated": {"accuracy": {"value": 0.8, "low": 0.7}}}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("macro_accuracy=0.9", True),
        ("macro_accuracy=0.9001", False),
        ("tail_accuracy=0", False),
        ("ece=0", False),
        ("cross_validated.accuracy=0.8", True),
        ("cross_validated.accuracy=0.81", False),
        ("cross_validated.macro_accuracy=0", False),
    ],
)
def test_judged_gates__holds_from_the_value_on(text, holds):
    found = judged_gates(read_gates([text]), FIGURES)
    assert found["gates"][0]["holds"] is holds
    assert bool(failed_gates(found)) is not holds


def test_judged_gates__none_asked_for():
    assert judged_gates([], FIGURES) == {}
    assert failed_gates({}) == []


def test_judged_gates__of_a_run_without_left_out_rows():
    found = judged_gates(read_gates(["cross_validated.accuracy=0.5"]), {"cross_validated": None})
    line = "cross_validated.accuracy is not known, so it cannot reach the gate of 0.5"
    assert failed_gates(found) == [line]


@pytest.mark.parametrize("text", ["acuracy=0.9", "per_class=1", "macro_accuracy", "macro_accuracy=nan", "=1", ""])
def test_read_gates__refuses(text):
    with pytest.raises(UsageError, match="--min"):
        read_gates([text])
