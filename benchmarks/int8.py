"""`ulfine cache-features --precision int8`: how fast, how near to fp32, and what a fit loses.

    python benchmarks/int8.py [--quick] [--json FILE] [--images DIR] [--count N] [--draws N]

- Speed: the same photographs through the plain open_clip loop in fp32 (a DataLoader with a worker a core) and through
  `ulfine cache-features` in bf16 and int8, ViT-B/32 with random weights. The contenders take turns, and the best turn
  of each counts, so that other work on the machine disturbs all of them.
- Nearness: the mean cosine of every feature in int8 to the same one in fp32.
- Price: ULFine fitted on the features of both, 8 labelled images a class, the others tested; mean macro accuracy of the
  draws. With `builtin:lite0` (trained on photographs) and with that ViT-B/32, whose random weights give features all
  the same.

The images are the photographs in `--images` (or `whurs19` in the folder that the environment variable
ULFINE_SHARED_DATA names, else ../shared/data). `--quick` takes `builtin:tiny` for the ViT and 4 classes; the bar on
speed is not judged then.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from stage_one import CORES, plain_loop, random_weights, some_of, ulfine

from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.stage_one import cache_features
from ulfine_fast import ULFineClassifier

TURNS = 3
LABELLED = 8


def some_classes(images: Path, folder: Path, classes: int, each: int) -> Path:
    """A folder of links to the first images of the first classes."""
    root = folder / "classes"
    for kind in sorted(path for path in images.iterdir() if path.is_dir())[:classes]:
        (root / kind.name).mkdir(parents=True)
        for path in sorted(kind.iterdir())[:each]:
            (root / kind.name / path.name).symlink_to(path.resolve())
    return root


def speed(images: Path, folder: Path, model: str, weights: Path, turns: int) -> dict[str, float]:
    """Images a second, the best of each contender's turns."""
    best: dict[str, float] = {}
    for turn in range(turns):
        rates = {"plain open_clip DataLoader loop, fp32": plain_loop(images, model, weights)}
        for precision in ("bf16", "int8"):
            place = folder / f"turn-{turn}"
            place.mkdir(exist_ok=True)
            rates[f"ulfine cache-features, {precision}"] = ulfine(images, place, model, weights, precision)[
                "images_per_second"
            ]
        for name, rate in rates.items():
            best[name] = max(rate, best.get(name, 0.0))
            print(f"{rate:>9.1f} images/s  {name}", flush=True)
    return best


def price(images: Path, folder: Path, model: str, pretrained: str, draws: int) -> dict[str, Any]:
    """Cosine of all features to those in fp32, and macro accuracy of fits on both."""
    features, labels = {}, np.empty(0, np.int64)
    for precision in ("fp32", "int8"):
        out = folder / f"{model.replace(':', '-')}-{precision}"
        cache_features(
            source=images, out=out, model=model, pretrained=pretrained, precision=precision, device="cpu", index="none"
        )
        cache = FeatureCache.open(out)
        labels = cache.labels
        features[precision] = cache.features(np.arange(cache.n_rows)).reshape(cache.n_rows, -1).astype(np.float32)
    cosine = (features["fp32"] * features["int8"]).sum(axis=1)
    macro: dict[str, list[float]] = {precision: [] for precision in features}
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(len(labels))
        labelled = np.concatenate([order[labels[order] == k][:LABELLED] for k in range(labels.max() + 1)])
        rest = np.setdiff1d(order, labelled)
        for precision, rows in features.items():
            answers = ULFineClassifier(random_state=0).fit(rows[labelled], labels[labelled]).predict(rows[rest])
            recalls = [np.mean(answers[labels[rest] == k] == k) for k in range(labels.max() + 1)]
            macro[precision].append(100 * float(np.mean(recalls)))
    means = {precision: float(np.mean(values)) for precision, values in macro.items()}
    differences = np.subtract(macro["fp32"], macro["int8"])
    return {
        "images": len(labels),
        "cosine_mean": float(cosine.mean()),
        "cosine_lowest": float(cosine.min()),
        "macro_accuracy": means,
        "points_lost": float(differences.mean()),
        "standard_error": float(differences.std(ddof=1) / np.sqrt(draws)) if draws > 1 else None,
    }


def bars_of(figures: dict[str, Any]) -> list[dict[str, Any]]:
    bars = []
    if rates := figures["images_per_second"]:
        plain = rates["plain open_clip DataLoader loop, fp32"]
        bars.append(("int8, times the plain fp32 loop", rates["ulfine cache-features, int8"] / plain, 3.5, True))
    for model, found in figures["models"].items():
        bars.append((f"{model}, mean cosine to fp32", found["cosine_mean"], 0.995, True))
        bars.append((f"{model}, points of macro accuracy lost", found["points_lost"], 0.2, False))
    return [
        {"name": name, "value": round(value, 4), "bar": bar, "holds": value >= bar if at_least else value <= bar}
        for name, value, bar, at_least in bars
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="What does int8 gain and cost in stage one?")
    parser.add_argument("--quick", action="store_true", help="a small encoder and 4 classes; no bar on speed")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--images", type=Path, help="a folder with a folder of images per class")
    parser.add_argument("--count", type=int, default=400, help="images whose speed is measured")
    parser.add_argument("--each", type=int, default=1000, help="at most so many images of a class for the price")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--only", choices=("speed", "price"), help="measure one of both")
    arguments = parser.parse_args()
    shared = Path(os.environ.get("ULFINE_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data")
    images = arguments.images or shared / "images" / "whurs19"
    if not images.is_dir():
        raise SystemExit(f"no photographs in {images}: give --images a folder with a folder of images per class")
    figures: dict[str, Any] = {"cores": CORES, "load": os.getloadavg()[0], "images_per_second": {}, "models": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large = not arguments.quick
        weights = random_weights("ViT-B-32", folder) if large else Path()
        if large and arguments.only != "price":
            some = some_of(images, folder, arguments.count)
            figures["images_per_second"] = speed(some, folder, "ViT-B-32", weights, TURNS)
        if arguments.only != "speed":
            classes = some_classes(images, folder, 1000 if large else 4, arguments.each if large else 20)
            models = {"builtin:lite0": "", "ViT-B-32": str(weights)} if large else {"builtin:tiny": ""}
            for model, pretrained in models.items():
                found = price(classes, folder, model, pretrained, arguments.draws if large else 3)
                figures["models"][model] = found
                print(f"{model}: {json.dumps(found)}", flush=True)
    bars = bars_of(figures)
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']} (bar {bar['bar']})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
