"""Do several encoders side by side do better than the best one, and never worse?

    python benchmarks/encoders.py [--quick] [--json FILE] [--data DIR] [--seeds K]

Real CLIP features of WHU-RS19 by three encoders (`--data`, or the environment variable ULFINE_SHARED_DATA, else
../shared/data). All pairs are joined by `ulfine join`, and `ulfine` is fitted with its defaults on the same draws of
every encoder and every pair: 4, 8 and 16 labels of the most frequent class, imbalance 4, the rest unlabelled, 14 test
rows held out of each class. Nothing is chosen on test rows. Bars: no pair is more than 0.3 points below its better
encoder, and where the two are level, within 3 points of one another, it is at least 1 point above, if the better one
is no higher than 99 %: beyond that there is no point to be gained.
"""

import argparse
import itertools
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_fast.compare import compare
from ulfine_fast.join import join

ENCODERS = ("rn50", "vit-b-32", "vit-l-14")
LEVEL = 3.0
"""Points between encoders that count as level."""
CEILING = 99.0
"""Percent of the better one above which no point is left to be gained."""


def cache_of(data: Path, encoder: str, folder: Path) -> Path:
    with np.load(data / "clip-features" / f"whurs19_{encoder}.npz") as found:
        arrays = {"features": found["image_features"]}
        arrays |= {name: found[name] for name in ("labels", "text_features", "class_names")}
    np.savez(folder / f"{encoder}.npz", **arrays)
    import_features(file=folder / f"{encoder}.npz", out=folder / encoder, index="none")
    return folder / encoder


def macro(cache: Path, labels: int, seeds: int) -> float:
    """Mean macro accuracy of `ulfine` over the draws, in percent."""
    make_split(cache=cache, name=f"lt-{labels}", labelled_max=labels, imbalance=4.0, test_per_class=14)
    figures = compare(cache=cache, split=f"lt-{labels}", methods="ulfine", seeds=seeds)
    return 100 * figures["methods"][0]["macro_accuracy"]["mean"]


def measure(data: Path, seeds: int, sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        caches = {encoder: cache_of(data, encoder, folder) for encoder in ENCODERS}
        for labels in sizes:
            single = {encoder: macro(cache, labels, seeds) for encoder, cache in caches.items()}
            for one, other in itertools.combinations(ENCODERS, 2):
                both = folder / f"{one}+{other}"
                join(caches=[caches[one], caches[other]], out=both)
                joined = macro(both, labels, seeds)
                best = max(single[one], single[other])
                row = {
                    "labels": labels,
                    "encoders": [one, other],
                    "single": [single[one], single[other]],
                    "joined": joined,
                    "gain": joined - best,
                    "level": abs(single[one] - single[other]) <= LEVEL and best <= CEILING,
                }
                rows.append(row)
                level = ", level" if row["level"] else ""
                print(
                    f"{labels:3} labels  {one:>8} {single[one]:.1f}  {other:>8} {single[other]:.1f}  "
                    f"joined {joined:.1f} ({row['gain']:+.1f}{level})",
                    flush=True,
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ULFINE_SHARED_DATA", "../shared/data")))
    parser.add_argument("--seeds", type=int, default=10)
    asked = parser.parse_args()
    rows = measure(asked.data, 2 if asked.quick else asked.seeds, (8,) if asked.quick else (4, 8, 16))
    level = [row["gain"] for row in rows if row["level"]]
    worst = min(row["gain"] for row in rows)
    bars: list[dict[str, Any]] = [{"name": "worst gain over the better encoder, points", "value": worst, "bar": -0.3}]
    if level:
        bars.append({"name": "least gain where encoders are level, points", "value": min(level), "bar": 1.0})
    bars = [{**bar, "holds": bar["value"] >= bar["bar"]} for bar in bars]
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'MISSED'}: {bar['name']} {bar['value']:+.2f} (bar {bar['bar']:+.1f})")
    if asked.json is not None:
        asked.json.write_text(json.dumps({"rows": rows, "bars": bars}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
