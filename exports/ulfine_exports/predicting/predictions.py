"""What `ulfine predict` hands back: the answers themselves, or where they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ulfine_exports.predicting.in_parts import InParts


@dataclass(frozen=True)
class Predictions:
    """What `predict` found.

    Attributes:
        model: The run or file that classified.
        device: What it ran on.
        class_names: C names, in the order of the columns.
        paths: n inputs that could be read: paths of images, or the names of rows of features.
        probabilities: float32 (n, C).
        unreadable: The other inputs, each ``{"path", "reason"}``.
        out: The file that was written; None where none was asked for, or no input could be read.
        seconds: Time from start to end.
        test_prior: Name of the prior that the answers are for, see `TestPrior`; None: as the model is.
        class_prior: float64 (C,), that prior.
        threshold: Confidence from which an answer is accepted; None where the model has none, or under a test prior,
            for which none was learnt.
        class_thresholds: That of each class, (C,); None where `threshold` is for all.
        outlier_scores: float32 (n,), above 1 for what is unlike every class; None of a model without such a score.
    """

    model: Path
    device: str
    class_names: tuple[str, ...]
    paths: list[str]
    probabilities: NDArray[np.float32]
    unreadable: list[dict[str, str]]
    out: Path | None
    seconds: float
    test_prior: str | None = None
    class_prior: NDArray[np.float64] | None = None
    threshold: float | None = None
    class_thresholds: tuple[float, ...] | None = None
    outlier_scores: NDArray[np.float32] | None = None

    @property
    def accepted(self) -> NDArray[np.bool_] | None:
        """Bool (n,): whether the confidence reaches the threshold, or that of its class; None without one."""
        from ulfine_fast.judging.accepted_rows import accepted_rows

        thresholds = self.class_thresholds or self.threshold
        return None if thresholds is None else accepted_rows(self.probabilities, thresholds)

    @property
    def labels(self) -> list[str]:
        """The most probable class of each input."""
        return [self.class_names[index] for index in self.probabilities.argmax(axis=1)]

    @property
    def confidences(self) -> NDArray[np.float32]:
        """float32 (n,): the probability of that class."""
        return self.probabilities.max(axis=1)

    def figures(self) -> dict[str, Any]:
        """What the command line prints and writes with ``--json``; `out` holds all probabilities."""
        rows = zip(self.paths, self.labels, self.confidences.tolist(), strict=True)
        under: dict[str, Any] = {}
        if self.class_prior is not None:
            from ulfine_fast.priors.class_prior import prior_figures

            under = prior_figures(self.test_prior, self.class_prior, self.class_names)
        predictions: list[dict[str, Any]] = [
            {"path": path, "label": label, "confidence": value} for path, label, value in rows
        ]
        sure: dict[str, Any] = {}
        if self.accepted is not None:
            sure = {"threshold": self.threshold, "accepted": int(self.accepted.sum())}
            if self.class_thresholds is not None:
                sure["class_thresholds"] = dict(zip(self.class_names, self.class_thresholds, strict=True))
            for entry, accepted in zip(predictions, self.accepted.tolist(), strict=True):
                entry["accepted"] = accepted
        if self.outlier_scores is not None:
            sure["outliers"] = int((self.outlier_scores > 1).sum())
            for entry, score in zip(predictions, self.outlier_scores.tolist(), strict=True):
                entry["outlier_score"] = score
        return {
            "model": str(self.model),
            "device": self.device,
            **under,
            **sure,
            "predictions": predictions,
            "unreadable": self.unreadable,
            "out": None if self.out is None else str(self.out),
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class PredictionsInParts(Predictions):
    """Predictions that are in a folder of parts, and not in memory: there are no paths and no probabilities here.

    Attributes:
        done: What was done.
    """

    done: InParts = field(kw_only=True)

    def figures(self) -> dict[str, Any]:
        """What the command line prints and writes with ``--json``."""
        figures = {**super().figures(), **{name: getattr(self.done, name) for name in ("images", "predicted")}}
        for name in ("predictions", "unreadable", "accepted", "outliers"):
            figures.pop(name, None)
        return {
            **figures,
            "skipped": len(self.done.skipped),
            "parts": self.done.parts,
            "parts_kept": self.done.parts_kept,
            "images_per_second": round(self.done.images_now / self.seconds, 1),
        }
