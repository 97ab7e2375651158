"""`ulfine export --precision`: fewer bits, and what they cost and gain, measured before anything is written."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError
from ulfine_exports.inference.providers import open_session
from ulfine_exports.lower_precision.eight_bit_weights import VARIANT, with_eight_bit_weights

if TYPE_CHECKING:
    from onnx import ModelProto

    from ulfine_exports.gate.judged_rows import JudgedRows

PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Version:
    """One version of a graph and how it did.

    Attributes:
        precision: One of `PRECISIONS`.
        variant: How it was quantised, one of `ulfine_exports.lower_precision.quantise.VARIANTS`; ``""`` for floats.
        model: The graph.
        probabilities: float32 (n, C) of the judged rows.
        figures: JSON-able: precision, variant, accuracy, macro_accuracy, ece, bytes, rows_per_second,
            largest_difference and mean_difference to fp32: the largest of a probability, and the mean over rows of half
            the sum over classes, which bounds how often the answer can change.
    """

    precision: str
    variant: str
    model: "ModelProto"
    probabilities: NDArray[np.float32]
    figures: dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """All versions that were tried.

    Attributes:
        versions: fp32 first.
        chosen: The one to write.
        rows: Rows judged.
        source: What they are.
        max_drop: Points of macro accuracy that may be lost.
    """

    versions: tuple[Version, ...]
    chosen: Version
    rows: int
    source: str
    max_drop: float

    @property
    def drop(self) -> float:
        """Points of macro accuracy, 0 to 100, that the chosen version loses; negative where it gains."""
        before, after = (version.figures["macro_accuracy"] for version in (self.versions[0], self.chosen))
        return 100.0 * (before - after)

    def figures(self) -> dict[str, Any]:
        """What the command line prints and writes with ``--json``."""
        return {
            "source": self.source,
            "rows": self.rows,
            "max_drop": self.max_drop,
            "drop": round(self.drop, 4),
            "variant": self.chosen.variant,
            "versions": [version.figures for version in self.versions],
        }


def lower_precision(
    model: "ModelProto", precision: str, rows: "JudgedRows", *, max_drop: float, floats: bool = False
) -> Comparison:
    """Convert a graph and compare the versions on the same rows.

    Where there is more than one way (int8), the one whose probabilities stay closest to fp32 on the judged rows is
    chosen; their labels have no part in that.

    Args:
        model: The fp32 graph.
        precision: ``"fp16"`` or ``"int8"``.
        rows: Rows to judge and to calibrate on.
        max_drop: Points of macro accuracy, 0 to 100, that may be lost.
        floats: Of int8 only the variant that multiplies floats, see `ulfine_exports.lower_precision.eight_bit_weights`.

    Raises:
        UlfineError: The best version loses more, or gives values that are not finite.
    """
    candidates = {("fp32", ""): model, **_converted(model, precision, rows, floats)}
    versions = _measured(candidates, rows)
    chosen = min(versions[1:], key=lambda version: version.figures["mean_difference"])
    comparison = Comparison(versions, chosen, len(chosen.probabilities), rows.source, max_drop)
    # Not `drop > max_drop`: the difference of two fractions may miss it by a rounding error.
    if comparison.drop > max_drop + 1e-9:
        before, after = (100 * version.figures["macro_accuracy"] for version in (versions[0], chosen))
        milder = "--precision fp16 or fp32" if precision == "int8" else "--precision fp32"
        raise UlfineError(
            f"{precision} was not written: macro accuracy falls by {comparison.drop:.2f} points, from {before:.2f} % "
            f"to {after:.2f} % on {comparison.rows} {rows.source}, and --max-drop allows {max_drop:g}: choose {milder}"
            ", or raise --max-drop"
        )
    return comparison


def _converted(
    model: "ModelProto", precision: str, rows: "JudgedRows", floats: bool
) -> "dict[tuple[str, str], ModelProto]":
    if precision == "fp16":
        from ulfine_exports.lower_precision.half_precision import to_half

        return {("fp16", ""): to_half(model)}
    if floats:
        return {("int8", VARIANT): with_eight_bit_weights(model)}
    from ulfine_exports.lower_precision.quantise import quantise, variants_for

    quantised = quantise(model, variants_for(model), rows.calibration_batches)
    return {("int8", variant): converted for variant, converted in quantised.items()}


def _measured(candidates: "dict[tuple[str, str], ModelProto]", rows: "JudgedRows") -> tuple[Version, ...]:
    """Run all candidates on the same batches, in turn, so that a busy machine slows all of them."""
    from ulfine_fast.judging.metrics import evaluate_predictions

    sizes = {name: model.ByteSize() for name, model in candidates.items()}
    sessions = {name: open_session(model.SerializeToString(), "cpu") for name, model in candidates.items()}
    found: dict[tuple[str, str], list[NDArray[np.float32]]] = {name: [] for name in candidates}
    seconds: dict[tuple[str, str], list[float]] = {name: [] for name in candidates}
    labels, lengths = [], []
    for batch, classes in rows.batches():
        labels.append(classes)
        lengths.append(len(batch))
        for name, session in sessions.items():
            if not found[name]:
                # The first run of a session allocates its memory.
                session.run(batch)
            start = time.perf_counter()
            found[name].append(session.run(batch)[0])
            seconds[name].append(time.perf_counter() - start)
    truth = np.concatenate(labels)
    probabilities = {name: np.concatenate(blocks) for name, blocks in found.items()}
    reference = probabilities["fp32", ""]
    class_names = rows.cache.class_names
    versions = []
    for (precision, variant), values in probabilities.items():
        if not np.isfinite(values).all():
            raise UlfineError(
                f"{precision} was not written: it gives values that are not finite; choose another precision"
            )
        metrics = evaluate_predictions(values, truth, np.bincount(truth, minlength=len(class_names)), class_names)
        difference = np.abs(values.astype(np.float64) - reference)
        figures = {
            "precision": precision,
            "variant": variant,
            **{key: metrics[key] for key in ("accuracy", "macro_accuracy", "ece")},
            "bytes": sizes[precision, variant],
            "rows_per_second": round(_rate(lengths, seconds[precision, variant]), 2),
            "largest_difference": float(difference.max()),
            "mean_difference": float(difference.sum(axis=1).mean() / 2),
        }
        versions.append(Version(precision, variant, candidates[precision, variant], values, figures))
    return tuple(versions)


def _rate(sizes: list[int], seconds: list[float]) -> float:
    """Rows per second: the median over batches, which a hiccup of the machine does not move."""
    return float(np.median([size / max(spent, 1e-9) for size, spent in zip(sizes, seconds, strict=True)]))
