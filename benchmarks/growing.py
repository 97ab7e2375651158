"""A collection that grows: how many images are encoded again, and is the cache what a fresh one would be?

    python benchmarks/growing.py [--quick] [--json FILE] [--model MODEL]

5,000 pictures (with --quick 500) in 20 class folders are cached. Then, at random places, 100 are added, 50 changed and
50 removed, and all files are touched; the same command is given again, and beside it a fresh cache is made. Then one
label is corrected by moving a picture to another folder. The pictures are made; what counts is how many reach the
encoder, and how the time compares with the fresh cache's.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.stage_one import cache_features

CLASSES = 20
MOST_ENCODED = 160
"""Of 100 added and 50 changed pictures; what is more would be images that were there before."""


def write_picture(path: Path, rng: np.random.Generator) -> None:
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    coarse.resize((320, 240), Image.Resampling.BICUBIC).save(path, quality=90)


def grow(photos: Path, rng: np.random.Generator, scale: int) -> None:
    """Add, change, remove and touch."""
    there = sorted(photos.glob("*/*.jpg"))
    chosen = rng.permutation(len(there))[: 100 // scale]
    for place in chosen[: 50 // scale]:
        write_picture(there[place], rng)
    for place in chosen[50 // scale :]:
        there[place].unlink()
    for number in range(100 // scale):
        folder = photos / f"class {rng.integers(CLASSES):02d}"
        write_picture(folder / f"{rng.integers(10**6):06d} new {number}.jpg", rng)
    for path in photos.glob("*/*.jpg"):
        os.utime(path)


def cached(photos: Path, out: Path, model: str) -> dict[str, Any]:
    started = time.perf_counter()
    figures = cache_features(source=photos, out=out, model=model, shard_size=512)
    seconds = time.perf_counter() - started
    return {name: figures[name] for name in ("rows", "images_encoded", "images_kept")} | {"seconds": round(seconds, 2)}


def largest_difference(one: Path, other: Path) -> float:
    """Between the features of two caches that must agree in all else."""
    first, second = FeatureCache.open(one), FeatureCache.open(other)
    same = first.paths == second.paths and first.class_names == second.class_names
    if not (same and (first.labels == second.labels).all() and (first.set_names == second.set_names).all()):
        raise SystemExit("error: the grown cache does not hold what a fresh one holds")
    return float(np.abs(first.features() - second.features()).max())


def main() -> int:
    parser = argparse.ArgumentParser(description="How many images a collection that grew costs.")
    parser.add_argument("--quick", action="store_true", help="500 pictures, and a tenth of the changes")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--model", default="builtin:lite0", help="another encoder, such as builtin:tiny")
    arguments = parser.parse_args()
    scale = 10 if arguments.quick else 1
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        photos, cache, fresh = (Path(folder) / name for name in ("photos", "cache", "fresh"))
        for number in range(5000 // scale):
            path = photos / f"class {number % CLASSES:02d}" / f"{rng.integers(10**6):06d} {number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_picture(path, rng)
        steps = {"first": cached(photos, cache, arguments.model)}
        grow(photos, rng, scale)
        steps["grown"] = cached(photos, cache, arguments.model)
        steps["fresh"] = cached(photos, fresh, arguments.model)
        difference = largest_difference(cache, fresh)
        moved = sorted(photos.glob("*/*.jpg"))[997 // scale]
        moved.rename(photos / f"class {CLASSES - 1:02d}" / "0 moved.jpg")
        steps["corrected label"] = cached(photos, cache, arguments.model)
    print(f"{'':<18}{'rows':>8}{'encoded':>10}{'kept':>8}{'seconds':>10}")
    for name, step in steps.items():
        print(
            f"{name:<18}{step['rows']:>8,}{step['images_encoded']:>10,}{step['images_kept']:>8,}{step['seconds']:>10.2f}"
        )
    print(f"largest difference of a feature, grown and fresh: {difference:.1e}")
    bars = [
        {
            "name": "images encoded after 100 were added, 50 changed, 50 removed, all touched",
            "value": steps["grown"]["images_encoded"],
            "bar": f"<= {MOST_ENCODED // scale}",
            "holds": steps["grown"]["images_encoded"] <= MOST_ENCODED // scale,
        },
        {
            "name": "images encoded after one label was corrected",
            "value": steps["corrected label"]["images_encoded"],
            "bar": "0",
            "holds": steps["corrected label"]["images_encoded"] == 0,
        },
        {
            "name": "largest difference of a feature, grown and fresh",
            "value": difference,
            "bar": "<= 1e-3 (a bit of float16 below 1)",
            "holds": difference <= 1e-3,
        },
    ]
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']:.3g} (bar {bar['bar']})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"steps": steps, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
