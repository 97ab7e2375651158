"""From photographs to an ONNX file without a hub: is `ulfine` ahead of its peers, and how long does each step take?

    python benchmarks/photographs.py [--quick] [--json FILE] [--data DIR] [--seeds K]

The 1,005 aerial photographs of WHU-RS19 in 19 classes, encoded with `builtin:lite0` (EfficientNet-Lite0, trained on
ImageNet, no text). 14 of every class are held out to test; of the others at most 16 a class are labelled, imbalance 8,
and as many as there are unlabelled, in three shapes. Every method is fitted with its defaults on the same draws; those
that do not look at unlabelled rows give the same for every shape and are fitted once. The photographs lie outside the
repository: `--data` (or the environment variable ULFINE_SHARED_DATA, else ../shared/data) names the folder that holds
`images/whurs19/`.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ulfine_cache.splits import make_split
from ulfine_cache.splitting.split_protocol import Shape
from ulfine_cache.stage_one import cache_features
from ulfine_exports.export import export_onnx
from ulfine_exports.predict import predict
from ulfine_fast.compare import compare
from ulfine_fast.fitting import fit
from ulfine_fast.registry import METHODS, get_method

LABELLED_MAX, IMBALANCE, TEST_PER_CLASS = 16, 8, 14
SHAPES: tuple[Shape, ...] = ("consistent", "uniform", "reversed")
UNLABELLED = tuple(name for name in METHODS if get_method(name).unlabelled)
"""Methods that look at unlabelled rows."""
WITHOUT_TEXT = tuple(name for name in METHODS if name != "zero-shot")
SHOWN = ("macro_accuracy", "tail_accuracy")


class Steps:
    """Seconds of each step, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 2)
        print(f"{name:<32}{self.seconds[name]:>10.2f} s", flush=True)


def make_cache(photos: Path, folder: Path, steps: Steps) -> Path:
    cache = folder / "cache"
    with steps.timed("cache-features"):
        cache_features(source=photos, out=cache, model="builtin:lite0")
    for shape in SHAPES:
        make_split(
            cache=cache,
            name=shape,
            labelled_max=LABELLED_MAX,
            imbalance=IMBALANCE,
            unlabelled=shape,
            test_per_class=TEST_PER_CLASS,
        )
    return cache


def deploy(cache: Path, photos: Path, folder: Path, steps: Steps) -> dict[str, Any]:
    """Fit `ulfine` on the first draw, export it with its encoder, and let onnxruntime look at some photographs."""
    shape = SHAPES[-1]
    with steps.timed(f"fit, {shape}"):
        run = fit(cache=cache, out=folder / "run", split=shape)
    parity = {}
    for kind in ("pixels", "image"):
        with steps.timed(f"export --input {kind}"):
            exported = export_onnx(run=folder / "run", onnx=folder / f"{kind}.onnx", input=kind)
        parity[kind] = exported["parity"]["largest_difference"]
    some = sorted(photos.glob("*/*.jpg"))[::20]
    with steps.timed(f"predict {len(some)} photographs"):
        predict(model=folder / "image.onnx", inputs=some)
    return {"fit": {name: run.metrics[name] for name in SHOWN}, "largest_difference": parity}


def judge(cache: Path, methods: list[str], seeds: int, steps: Steps) -> dict[str, list[dict[str, Any]]]:
    """What `compare` finds for each shape."""
    results: dict[str, list[dict[str, Any]]] = {}
    for shape in SHAPES:
        fitted = [name for name in methods if not results or name in UNLABELLED]
        with steps.timed(f"compare {len(fitted)} methods, {shape}"):
            figures = compare(cache=cache, split=shape, methods=",".join(fitted), seeds=seeds)
        known = [entry for entry in results.get(SHAPES[0], []) if entry["method"] not in UNLABELLED]
        results[shape] = [*known, *figures["methods"]]
    return results


def bars_of(results: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """`ulfine` must be ahead of every peer in each shape, on macro and on tail accuracy."""
    bars = []
    for shape, entries in results.items():
        means = {entry["method"]: {name: entry[name]["mean"] for name in SHOWN} for entry in entries}
        for name in SHOWN:
            best = max((peer for peer in means if not peer.startswith("ulfine")), key=lambda peer: means[peer][name])
            lead = means["ulfine"][name] - means[best][name]
            bars.append({"name": f"{name}, {shape}, over {best}", "value": lead, "bar": "> 0", "holds": lead > 0})
    return bars


def show(results: dict[str, list[dict[str, Any]]], methods: list[str]) -> None:
    print("\nmacro | tail accuracy, %, mean ± standard deviation of the draws")
    print("| method | " + " | ".join(results) + " |")
    print("|---" * (len(results) + 1) + "|")
    for method in methods:
        cells = []
        for entries in results.values():
            (entry,) = (entry for entry in entries if entry["method"] == method)
            of_shape = (f"{100 * entry[name]['mean']:.1f} ± {100 * (entry[name]['std'] or 0):.1f}" for name in SHOWN)
            cells.append(" \\| ".join(of_shape))
        print(f"| `{method}` | " + " | ".join(cells) + " |")


def main() -> int:
    parser = argparse.ArgumentParser(description="From photographs to an ONNX file, with builtin:lite0.")
    parser.add_argument("--quick", action="store_true", help="2 seeds, four methods")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ULFINE_SHARED_DATA", "../shared/data")))
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    photos = arguments.data / "images" / "whurs19"
    if not photos.is_dir():
        print(f"skipped: no images/whurs19 in {arguments.data}; pass --data DIR")
        return 0
    methods = ["lp", "lp-la", "sklearn-lr", "ulfine"] if arguments.quick else list(WITHOUT_TEXT)
    steps = Steps()
    with tempfile.TemporaryDirectory() as folder:
        cache = make_cache(photos, Path(folder), steps)
        deployed = deploy(cache, photos, Path(folder), steps)
        results = judge(cache, methods, 2 if arguments.quick else arguments.seeds, steps)
    show(results, methods)
    bars = bars_of(results)
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {100 * bar['value']:+.1f} points")
    if arguments.json:
        figures = {"seconds": steps.seconds, "deployed": deployed, "results": results, "bars": bars}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
