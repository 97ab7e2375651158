"""A run whose answers are for a test prior before it becomes a graph."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split
    from ulfine_exports.gate.run_rows import RunRows
    from ulfine_fast.run import Run


@dataclass(frozen=True)
class RunUnderTestPrior:
    """A run and the prior that its answers are for.

    Attributes:
        run: With a `ModelUnderTestPrior`; the run itself where nothing was asked for.
        class_prior: float64 (C,), sums to 1.
        test_prior: ``"uniform"``, ``"labelled"``, ``"estimate"`` or ``"file"``; None where nothing was asked for.
    """

    run: "Run"
    class_prior: NDArray[np.float64]
    test_prior: str | None

    def figures(self) -> dict[str, Any]:
        """What the command line prints and writes with ``--json``; nothing where nothing was asked for."""
        if self.test_prior is None:
            return {}
        from ulfine_fast.priors.class_prior import prior_figures

        return prior_figures(self.test_prior, self.class_prior, self.run.class_names)


def under_test_prior(rows: "RunRows", test_prior: str | None, views: str, progress: Progress) -> RunUnderTestPrior:
    """Put the shift of a test prior behind the logits of a run's model (`ulfine_fast.priors.class_prior`).

    Args:
        rows: Those of a loaded run's cache, for an estimate.
        test_prior: As for `ulfine_exports.export.export_onnx`.
        views: What the export looks at in an image; an estimate looks at the same where the cache holds it.
        progress: Told where an estimate rests on few rows.

    Raises:
        UsageError: `test_prior` is neither a word nor a file.
        UlfineError: The file of weights does not fit; for an estimate the cache is gone or has other rows by now, or
            there are no unlabelled ones.
    """
    from ulfine_fast.models.model_under_test_prior import ModelUnderTestPrior
    from ulfine_fast.priors.class_prior import prior_shift
    from ulfine_fast.priors.test_prior import read_test_prior

    run = rows.run
    answered = run.answered_prior()
    if test_prior is None:
        return RunUnderTestPrior(run, answered, None)
    wanted = read_test_prior(test_prior, run.class_names, run.labelled_counts)
    prior = wanted.settled(lambda: _unlabelled_logits(rows, views), answered, "unlabelled rows", progress)
    return RunUnderTestPrior(
        replace(run, model=ModelUnderTestPrior(run.model, prior_shift(prior, answered))), prior, wanted.name
    )


def _unlabelled_logits(rows: "RunRows", views: str) -> NDArray[np.float32]:
    """Logits of the unlabelled rows that the run was fitted on, of a sample where they are many."""
    from ulfine_fast.judging.five_crops import choose_views
    from ulfine_fast.judging.judge import read_logits
    from ulfine_fast.priors.class_prior import MAX_ROWS
    from ulfine_fast.rows.sample_places import sample_places

    remedy = "give the prior as --test-prior FILE, or estimate it where the file is used, with ulfine predict"
    run = rows.run
    try:
        cache = rows.cache
    except UlfineError as error:
        raise UlfineError(f"no unlabelled rows to estimate the prior from ({_reason(error)}): {remedy}") from error
    unlabelled = _fitted_rows(run, cache, remedy).unlabelled
    if not len(unlabelled):
        raise UlfineError(f"the run {run.path} was fitted without unlabelled rows to estimate the prior from: {remedy}")
    sample = unlabelled[sample_places(len(unlabelled), MAX_ROWS)]
    return read_logits(run.model, cache, sample, choose_views("auto", views, cache))


def _fitted_rows(run: "Run", cache: "FeatureCache", remedy: str) -> "Split":
    from ulfine_fast.evaluate import fitted_split

    fitted = fitted_split(run, cache)
    if fitted is None:
        raise UlfineError(f"{cache.path} no longer holds the unlabelled rows of the run {run.path}: {remedy}")
    return fitted


def _reason(error: UlfineError) -> str:
    """What is wrong, without the remedy of another command."""
    return str(error).split(": ")[0]
