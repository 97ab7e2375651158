"""What each part of `ulfine` is worth, judged on pool rows that no draw uses, so that test rows choose nothing.

    python benchmarks/ablation.py [--quick] [--json FILE] [--data DIR] [--seeds K]

Draws are those of `accuracy.py` with seeds from 100 on. Every labelled or unlabelled row comes from the pool; the pool
rows that are left over judge. Each line changes one setting of the default.
"""

import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from accuracy import SOURCES, Source

from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.progress import Silent
from ulfine_cache.splits import Split, draw_split
from ulfine_fast.judging.judge import judge
from ulfine_fast.registry import get_method
from ulfine_fast.rows.training_data import load_training_data
from ulfine_fast.training import train

METHOD = get_method("ulfine")
PARTS: dict[str, dict] = {
    "default" if part is None else f"no {part.replace('_', ' ')}": settings
    for part, settings in METHOD.ablations().items()
}
VARIANTS: dict[str, dict] = {
    **PARTS,
    "shrinkage 0.3": {"shrinkage": 0.3},
    "shrinkage 0.5": {"shrinkage": 0.5},
    "shrinkage 0.7": {"shrinkage": 0.7},
    "pseudo_count 1": {"pseudo_count": 1.0},
    "pseudo_count 8": {"pseudo_count": 8.0},
    "anchor_ridge 0.1": {"anchor_ridge": 0.1},
    "anchor_ridge 10": {"anchor_ridge": 10.0},
    "tau 1": {"tau": 1.0},
    "tau 1.5": {"tau": 1.5},
    "tau 3": {"tau": 3.0},
    "unlabelled_weight 0.1": {"unlabelled_weight": 0.1},
    "unlabelled_weight 1": {"unlabelled_weight": 1.0},
    "pseudo_label_temperature 1": {"pseudo_label_temperature": 1.0},
    "pseudo_label_temperature 0.2": {"pseudo_label_temperature": 0.2},
    "probe_penalty 3": {"probe_penalty": 3.0},
    "probe_penalty 50": {"probe_penalty": 50.0},
}
SINGLE_PROMPT = replace(SOURCES[0], text="text_features_single_prompt")
METRICS = ("macro_accuracy", "tail_accuracy", "ece")


def left_over(cache: FeatureCache, split: Split) -> Split:
    """The split with the unused rows of its pool in place of its test rows."""
    pool = np.flatnonzero(np.isin(cache.set_names, ["", "train"]))
    used = np.concatenate([split.labelled, split.unlabelled, split.test])
    return replace(split, test=np.setdiff1d(pool, used))


def draws(folder: Path, data: Path, source: Source, shape: str, seeds: range) -> tuple[FeatureCache, list[Split]]:
    cache = FeatureCache.open(source.cache(folder, data))
    protocol = {
        "labelled_max": source.labelled_max,
        "imbalance": float(source.imbalances[-1]),
        "unlabelled_max": source.unlabelled_max,
        "unlabelled": shape,
        "test_per_class": source.test_per_class,
    }
    drawn = (
        draw_split(cache.labels, cache.set_names, {**protocol, "seed": seed}, name=shape, class_names=cache.class_names)
        for seed in seeds
    )
    return cache, [left_over(cache, split) for split in drawn]


def main() -> int:
    parser = argparse.ArgumentParser(description="What each part of ulfine is worth.")
    parser.add_argument("--quick", action="store_true", help="WHU-RS19 (single prompt), 2 seeds, the five parts only")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ULFINE_SHARED_DATA", "../shared/data")))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    if not (arguments.data / "clip-features").is_dir():
        print(f"skipped: no clip-features in {arguments.data}; pass --data DIR")
        return 0
    sources = [
        SINGLE_PROMPT,
        *(source for source in SOURCES if "rn50" not in source.name and "vit-l" not in source.name),
    ]
    seeds, variants = range(100, 100 + arguments.seeds), VARIANTS
    if arguments.quick:
        sources, seeds, variants = sources[:1], range(100, 102), PARTS
    results: dict[str, dict[str, list[list[float]]]] = {name: {} for name in variants}
    with tempfile.TemporaryDirectory() as folder:
        for source in sources:
            for shape in ("consistent", "reversed"):
                cache, splits = draws(Path(folder), arguments.data, source, shape, seeds)
                for seed, split in zip(seeds, splits, strict=True):
                    data = load_training_data(cache, split)
                    for name, settings in variants.items():
                        result = train(METHOD, METHOD.settings(**settings), data, seed, Silent())
                        metrics = judge(result.model, cache, split, data.labelled_counts.numpy()).metrics
                        row = [metrics[metric] for metric in METRICS]
                        results[name].setdefault(source.name, []).append(row)
    print(f"{'macro | tail | ece, %':<30}" + "".join(f"{source.name[:24]:>26}" for source in sources) + f"{'mean':>22}")
    for name, tasks in results.items():
        means = [100 * np.mean(rows, axis=0) for rows in tasks.values()]
        cells = [" | ".join(f"{value:.1f}" for value in mean) for mean in (*means, np.mean(means, axis=0))]
        print(f"{name:<30}" + "".join(f"{cell:>26}" for cell in cells[:-1]) + f"{cells[-1]:>22}")
    if arguments.json:
        document = {"metrics": METRICS, "seeds": list(seeds), "results": results, "bars": []}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
