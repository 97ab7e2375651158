"""`ulfine quickstart`: from photographs to a verified ONNX classifier, offline, on real handwriting."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.command import command
from ulfine_cache.progress import Progress, Silent

if TYPE_CHECKING:
    from ulfine_fast.run import Run

METHODS = ("zero-shot", "lp", "ulfine")
"""What is compared; the last is exported."""

TEMPLATES = ("the digit {}", "a photo of the digit {}.", "a handwritten digit {}.", "a drawing of the digit {}.")

SPLIT = "long-tailed"
PROTOCOL: dict[str, Any] = {
    "labelled_max": 20,
    "imbalance": 20.0,
    "unlabelled_max": 80,
    "unlabelled": "reversed",
    "test_per_class": 50,
    "seed": 0,
}
"""Each digit has about 178 pictures: 50 to judge with, and of the other 128 at most 20 labelled and 80 unlabelled, so
that no class runs out. The rarest class has 2 labelled pictures."""

_SHOWN = ("macro_accuracy", "head_accuracy", "medium_accuracy", "tail_accuracy")


@dataclass(frozen=True)
class _Places:
    """Where everything goes."""

    out: Path

    @property
    def photographs(self) -> Path:
        return self.out / "photographs"

    @property
    def templates(self) -> Path:
        return self.out / "templates.txt"

    @property
    def cache(self) -> Path:
        return self.out / "cache"

    @property
    def onnx(self) -> Path:
        return self.out / "digits.onnx"

    def run(self, method: str) -> Path:
        return self.out / "runs" / method


@command
def quickstart(*, out: Path = Path("quickstart"), progress: Progress = Silent()) -> dict[str, Any]:  # noqa: B008
    """Go the whole way once, offline, on real handwriting.

    Writes scikit-learn's digits as images, caches them with ``builtin:tiny``, draws a long-tailed split, fits three
    methods, prints their accuracies, exports the last one, and classifies one image with onnxruntime. Going again into
    the same directory keeps the images and the cache and replaces runs and export.

    Args:
        out: Directory for the photographs, the cache, the runs and the ONNX file.
        progress: Told about every step.

    Returns:
        Figures: ``out``, ``images``, ``classes``; ``split`` (sizes and labelled counts); ``methods``, each with
        ``method``, macro, head, medium and tail accuracy and ``seconds``; ``export`` as from `export_onnx`; ``example``
        (path, truth, label, confidence, device); ``files``, by what they are; ``seconds``.

    Raises:
        UlfineError: `out` cannot be written or holds something else.

    Example:
        >>> quickstart()["example"]["label"]  # doctest: +SKIP
        'seven'
    """
    places = _Places(out)
    started = time.perf_counter()
    images = prepare(places.out, progress)
    split = draw(places.out, progress)
    runs = [_fit(places, method, progress) for method in METHODS]
    from ulfine_exports.export import export_onnx

    progress.note(f"writing {places.onnx} and comparing it with torch")
    export = export_onnx(run=runs[-1].path, onnx=places.onnx, input="pixels", progress=progress)
    return {
        "out": str(places.out),
        "images": images,
        "classes": len(split["class_names"]),
        "split": {key: split[key] for key in ("labelled", "unlabelled", "test", "class_names", "labelled_counts")},
        "methods": [_row(run) for run in runs],
        "export": export,
        "example": _classify_one(places),
        "files": {
            "photographs": str(places.photographs),
            "cache": str(places.cache),
            "runs": [str(run.path) for run in runs],
            "onnx": str(places.onnx),
        },
        "seconds": round(time.perf_counter() - started, 1),
    }


def prepare(out: Path, progress: Progress) -> int:
    """Write the images and cache their features with the embedded CLIP; both resume.

    Returns:
        The number of images.
    """
    from ulfine_cache.atomic import make_directory, replacing
    from ulfine_cache.stage_one import cache_features
    from ulfine_exports.digits_folder import write_digits

    places = _Places(out)
    make_directory(out)
    progress.note(f"writing scikit-learn's handwritten digits to {places.photographs}")
    images = write_digits(places.photographs)
    with replacing(places.templates) as partial:
        partial.write_text("".join(f"{template}\n" for template in TEMPLATES), encoding="utf-8")
    cache_features(
        source=places.photographs,
        out=places.cache,
        model="builtin:tiny",
        templates=str(places.templates),
        progress=progress,
    )
    return len(images)


def draw(out: Path, progress: Progress) -> dict[str, Any]:
    """Draw the long-tailed split `SPLIT` after `PROTOCOL`; the figures of `make_split`."""
    from ulfine_cache.splits import make_split

    return make_split(cache=_Places(out).cache, name=SPLIT, **PROTOCOL, progress=progress)


def _fit(places: _Places, method: str, progress: Progress) -> "Run":
    from ulfine_fast import fit

    return fit(
        cache=places.cache, out=places.run(method), split=SPLIT, method=method, overwrite=True, progress=progress
    )


def _row(run: "Run") -> dict[str, Any]:
    return {"method": run.method, **{name: run.metrics[name] for name in (*_SHOWN, "seconds")}}


def _classify_one(places: _Places) -> dict[str, Any]:
    """Classify the first held-out image as a user would, with onnxruntime alone."""
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_exports.onnx_classifier import OnnxClassifier

    cache = FeatureCache.open(places.cache)
    row = cache.read_split(SPLIT).test[0]
    picture = places.photographs / cache.paths[row]
    classifier = OnnxClassifier(places.onnx)
    probabilities = classifier.predict_proba([picture])[0]
    return {
        "path": str(picture),
        "truth": cache.class_names[cache.labels[row]],
        "label": classifier.class_names[probabilities.argmax()],
        "confidence": float(probabilities.max()),
        "device": classifier.device,
    }
