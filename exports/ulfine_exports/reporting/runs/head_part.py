"""What stands on top of a report, and at its end: the figures that matter most, and where the run comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ulfine_cache.wording.counts import amount

if TYPE_CHECKING:
    from ulfine_exports.reporting.runs.run_facts import RunFacts
    from ulfine_fast.run import Run

_TILES = (
    ("accuracy", "accuracy", "of all test images"),
    ("macro_accuracy", "macro accuracy", "mean of the classes"),
    ("head_accuracy", "head", "the third with most labels"),
    ("medium_accuracy", "medium", "the middle third"),
    ("tail_accuracy", "tail", "the third with fewest labels"),
    ("ece", "calibration error", "confidence against truth"),
)
_COUNTED = (("labelled", "labelled image"), ("unlabelled", "unlabelled image"), ("test", "test image"))


def subtitle(facts: RunFacts) -> str:
    """The method, and how many classes and images a run is about."""
    made = facts.run.provenance.get("split") or {}
    counts = [amount(int(made[part]), word) for part, word in _COUNTED if made.get(part)]
    return ", ".join([facts.run.method, amount(len(facts.run.class_names), "class"), *counts])


def tiles(run: Run) -> list[tuple[str, str, str]]:
    """Name, value and explanation of the figures that matter most; cross-validated ones where there is no test set."""
    metrics = run.metrics
    if metrics.get("macro_accuracy") is not None:
        told = [(words, metrics.get(name), meaning) for name, words, meaning in _TILES]
        return [(words, f"{100 * value:.1f} %", meaning) for words, value, meaning in told if value is not None]
    crossed = metrics.get("cross_validated") or {}
    told = [(words, crossed.get(name) or {}, "cross-validated") for name, words, _ in _TILES[:2]]
    expected = (crossed.get("unlabelled") or {}).get("expected_accuracy") or {}
    told.append(("unlabelled images", expected, "expected accuracy"))
    return [
        (words, f"{100 * figure['value']:.1f} %", f"{meaning}, {_between(figure)}")
        for words, figure, meaning in told
        if figure.get("value") is not None
    ]


def crossed(run: Run) -> str:
    """What cross-validation says besides a test set, in a sentence; "" where there is none of the two."""
    found = run.metrics.get("cross_validated") or {}
    figures = [(words, found.get(name) or {}) for name, words, _ in _TILES[:2]]
    if run.metrics.get("macro_accuracy") is None or any(figure.get("value") is None for _, figure in figures):
        return ""
    told = [f"{words} {100 * figure['value']:.1f} % ({_between(figure)})" for words, figure in figures]
    return f"Cross-validated on the labelled images: {' and '.join(told)}."


def _between(figure: dict[str, Any]) -> str:
    """The interval of a figure."""
    low, high = figure.get("low"), figure.get("high")
    return "without an interval" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f} %"


def origin(run: Run) -> list[tuple[str, str]]:
    """The settings and the provenance that fit on a line each."""
    cache, made = run.cache or {}, run.provenance.get("split") or {}
    versions = run.provenance.get("versions") or {}
    told: list[tuple[str, Any]] = [
        ("method", run.method),
        ("fitted", run.provenance.get("created")),
        ("seconds of training", run.provenance.get("seconds")),
        ("seed", run.provenance.get("seed")),
        ("split", made.get("requested") or "the cache's own sets"),
        ("encoder", " ".join(str(cache[key]) for key in ("model", "pretrained") if cache.get(key)) or None),
        ("views", run.views),
        ("cache", cache.get("path")),
        ("fingerprint of the cache", cache.get("fingerprint")),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items()) or None),
        *((f"setting {name}", value) for name, value in (run.config.get("settings") or {}).items()),
    ]
    return [(name, "–" if value is None else str(value)) for name, value in told]
