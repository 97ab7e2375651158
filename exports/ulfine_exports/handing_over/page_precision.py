"""How many bits the model of a page gets where nobody says: as few as cost no more than is allowed."""

from typing import TYPE_CHECKING

from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress
from ulfine_exports.lower_precision.comparison import Comparison, lower_precision

if TYPE_CHECKING:
    from onnx import ModelProto

    from ulfine_exports.gate.judged_rows import JudgedRows

PRECISIONS = ("int8", "fp16")
"""What is tried, in this order."""


def page_precision(
    model: "ModelProto", precision: str | None, rows: "JudgedRows", max_drop: float, progress: Progress
) -> Comparison:
    """Convert a graph for a page.

    Args:
        model: The fp32 graph.
        precision: What was asked for; None: the first of `PRECISIONS` that costs no more than `max_drop`.
        rows: Rows to judge on.
        max_drop: Points of macro accuracy, 0 to 100, that may be lost.
        progress: Told where the first was not taken.

    Raises:
        UlfineError: What was asked for costs more, or the last of `PRECISIONS` does.
    """
    tried = [precision] if precision else list(PRECISIONS)
    for chosen in tried[:-1]:
        try:
            return lower_precision(model, chosen, rows, max_drop=max_drop, floats=True)
        except UlfineError as error:
            progress.note(f"{str(error).split(' on ')[0]}: {tried[-1]} instead")
    return lower_precision(model, tried[-1], rows, max_drop=max_drop, floats=True)
