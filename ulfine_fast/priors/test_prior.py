"""What `--test-prior` says: a word, or a CSV file of class weights. No torch, and numpy only where it is read."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ulfine_cache.atomic import reason
from ulfine_cache.command import Written
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.names.csv_cells import from_cell
from ulfine_cache.sources.trees.regular_file import read_text
from ulfine_cache.wording.counts import amount

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ulfine_cache.progress import Progress

WORDS = ("uniform", "labelled", "estimate")
HEADER = ["class", "weight"]

TestPriorOption = Annotated[str, Written("|".join((*WORDS, "FILE")))]
"""A test prior as it is asked for."""


@dataclass(frozen=True)
class TestPrior:
    """Which class prior the answers are wanted for.

    Attributes:
        name: One of `WORDS`, or ``"file"``.
        prior: float64 (C,), sums to 1, zeros allowed; None where it has yet to be estimated.
    """

    name: str
    prior: NDArray[np.float64] | None

    def settled(
        self,
        logits: Callable[[], NDArray[np.floating]],
        answered: NDArray[np.float64],
        rows: str,
        progress: Progress,
    ) -> NDArray[np.float64]:
        """The prior, estimated from some rows where it is to be.

        Args:
            logits: Gives float (N, C) of the rows; called for ``"estimate"`` alone.
            answered: (C,) the prior that they answer for.
            rows: What the rows are, for a note where they are few.
            progress: Told that.
        """
        from ulfine_fast.priors.class_prior import IMAGINED, estimate_prior

        if self.prior is not None:
            return self.prior
        found = logits()
        n_rows, n_classes = found.shape
        if n_rows < IMAGINED * n_classes:
            progress.note(
                f"the class prior is estimated from {n_rows} {rows} for {amount(n_classes, 'class')}: fewer than "
                f"{IMAGINED} a class tell little, so it stays near uniform"
            )
        return estimate_prior(found, answered)


def read_test_prior(
    option: str, class_names: Sequence[str], labelled_counts: Sequence[int] | NDArray[np.integer]
) -> TestPrior:
    """Understand a value of `--test-prior`.

    Args:
        option: ``"uniform"``; ``"labelled"``, the class frequencies of the labelled rows; ``"estimate"``; or a CSV file
            with the columns class and weight, every class once. Weights need not sum to 1.
        class_names: C names.
        labelled_counts: (C,) labelled rows.

    Raises:
        UsageError: It is neither a word nor a file.
        UlfineError: The file is not as described, in words that say what is wrong.

    Example:
        >>> read_test_prior("labelled", ["cat", "dog"], [30, 10]).prior
        array([0.75, 0.25])
    """
    import numpy as np

    from ulfine_fast.priors.class_prior import answered_prior, prior_of_weights

    if option == "estimate":
        return TestPrior(option, None)
    if option in WORDS:
        return TestPrior(option, answered_prior(labelled_counts, 1.0 if option == "labelled" else 0.0))
    path = Path(option)
    if not option or not path.exists():
        raise UsageError(
            f"no test prior {option!r}: choose {', '.join(WORDS)}, or name a CSV file with the columns class,weight"
        )
    weights = _read_weights(path, class_names)
    values = np.array([weights[name] for name in class_names])
    if not values.any():
        raise UlfineError(f"{path}: all weights are zero, so no class could be predicted: give one at least 1")
    return TestPrior("file", prior_of_weights(values))


def _read_weights(path: Path, class_names: Sequence[str]) -> dict[str, float]:
    """Class name to weight, every class of the run exactly once."""
    known, weights = set(class_names), dict[str, float]()
    try:
        with io.StringIO(read_text(path, "utf-8-sig"), newline="") as file:
            lines = csv.reader(file, strict=True)
            header = [cell.strip() for cell in next(lines, [])]
            if header != HEADER:
                raise UlfineError(
                    f"{path} has no header class,weight: it begins with {','.join(header)[:60]!r}"
                    if header
                    else f"{path} is empty: write a header class,weight and a line for every class"
                )
            for cells in lines:
                if not cells:
                    continue
                where = f"{path}, line {lines.line_num}"
                if len(cells) != len(HEADER):
                    raise UlfineError(f"{where}: {amount(len(cells), 'value')}, expected a class and a weight")
                spelled = (cells[0], cells[0].strip(), from_cell(cells[0]), from_cell(cells[0].strip()))
                name = next((text for text in spelled if text in known), spelled[1])
                if name not in known:
                    raise UlfineError(f"{where}: {name[:60]!r} is no class of the model: take the names it knows")
                if name in weights:
                    raise UlfineError(f"{where}: class {name!r} comes twice: leave one line")
                weights[name] = _weight(cells[1], where, name)
    except OSError as error:
        raise UlfineError(f"cannot read the test prior {path}: {reason(error)}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UlfineError(f"{path} is no CSV file: {' '.join(str(error).split())}") from error
    missing = [name for name in class_names if name not in weights]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise UlfineError(f"{path} has no weight for class {missing[0]!r}{more}: add a line; 0 means never")
    return weights


def _weight(text: str, where: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise UlfineError(f"{where}: the weight of {name!r} is {text.strip()[:60]!r}: give a number of at least 0")
    return value
