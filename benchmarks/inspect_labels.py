"""Wrong labels found: 5 % planted in a long tail, and how many of them stand in the first 5 % of the list.

    python benchmarks/inspect_labels.py [--quick] [--json FILE] [--data DIR] [--draws K]

Real CLIP features (`--data`, or the environment variable ULFINE_SHARED_DATA, else ../shared/data), the files' pools in
a long tail: the most frequent class has all of its rows (40 at most), the rarest an eighth of them. A
planted label is that of any other class (uniform) or of the nearest class by the means of true classes (confusable).
Beside the product's list stands the plain order by cleanlab's self-confidence from the same left-out probabilities.
Nothing is chosen here: the score was settled on the eval rows of these files and on WHU-RS19 in RN50,
the share of mix-ups on other draws of the pools of DTD and UCF-101 as well.
"""

import argparse
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ulfine_cache.progress import Silent
from ulfine_cache.splitting.split_protocol import long_tailed_counts
from ulfine_fast.inspecting.label_errors import find_label_errors
from ulfine_fast.rows.training_data import TrainingData

FILES = ("whurs19_vit-b-32", "dtd_vit-b-32", "ucf101_vit-b-32", "caltech54_vit-b-32")
MOST, IMBALANCE, SHARE = 40, 8, 0.05
BARS = {"uniform": 0.7, "confusable": 0.5}
RARE = 0.8


@dataclass
class Found:
    """Planted and found labels of one file and kind, over its draws; groups are thirds of the classes."""

    found: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    groups: dict[str, list[int]] = field(default_factory=lambda: {"frequent": [0, 0], "rare": [0, 0]})


def read(data, name):
    with np.load(data / "clip-features" / f"{name}.npz") as file:
        kind = "pool_" if "pool_features" in file.files else ""
        features = file["pool_features" if kind else "image_features"].astype(np.float32)
        text = file["text_features"].astype(np.float32) if "text_features" in file.files else None
        labels = file[f"{kind}labels"].astype(np.int64)
    return unit(features), labels, None if text is None else unit(text)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def draw(data, name, kind, seed):
    """Training data with wrong labels, the true ones, and the labelled rows that each class truly has."""
    features, labels, text = read(data, name)
    rng = np.random.default_rng([seed, 15])
    n_classes = int(labels.max()) + 1
    rows = []
    for k, count in zip(rng.permutation(n_classes), long_tailed_counts(MOST, IMBALANCE, n_classes), strict=True):
        rows += rng.permutation(np.flatnonzero(labels == k))[:count].tolist()
    true = labels[rows]
    given = true.copy()
    wrong = rng.choice(len(rows), max(1, round(SHARE * len(rows))), replace=False)
    if kind == "uniform":
        given[wrong] = (true[wrong] + rng.integers(1, n_classes, len(wrong))) % n_classes
    else:
        means = np.stack([features[labels == k].mean(0) for k in range(n_classes)])
        means = unit(means - means.mean(0))
        alike = means @ means.T
        np.fill_diagonal(alike, -9)
        given[wrong] = alike.argmax(1)[true[wrong]]
    training = TrainingData(
        features=torch.as_tensor(features[rows]),
        labels=torch.as_tensor(given),
        unlabelled=torch.zeros(0, features.shape[1]),
        text=None if text is None else torch.as_tensor(text),
        class_names=tuple(map(str, range(n_classes))),
    )
    return training, true


def measure(data, name, kind, draws):
    result = Found()
    for seed in range(draws):
        training, true = draw(data, name, kind, seed)
        given = training.labels.numpy()
        wrong = given != true
        found = find_label_errors(training, seed, Silent())
        first = round(SHARE * len(true))
        listed = np.zeros(len(true), bool)
        listed[found.order()[:first]] = True
        result.found.append(float((listed & wrong).sum() / wrong.sum()))
        confidence = np.where(np.isnan(found.self_confidence), np.inf, found.self_confidence)
        plain = np.argsort(confidence, kind="stable")[:first]
        result.plain.append(float(wrong[plain].sum() / wrong.sum()))
        # A rare class here is one whose images are rare: the class of the image, whatever the label says.
        by_count = np.argsort(-np.bincount(true, minlength=training.n_classes), kind="stable")
        third = training.n_classes // 3
        for group, classes in (("frequent", by_count[:third]), ("rare", by_count[-third:])):
            there = wrong & np.isin(true, classes)
            result.groups[group][0] += int((there & listed).sum())
            result.groups[group][1] += int(there.sum())
    return result


def main():
    parser = argparse.ArgumentParser(description="Wrong labels found.")
    parser.add_argument("--quick", action="store_true", help="WHU-RS19 and Caltech-54, one draw")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ULFINE_SHARED_DATA", "../shared/data")))
    parser.add_argument("--draws", type=int, default=5)
    arguments = parser.parse_args()
    if not (arguments.data / "clip-features").is_dir():
        print(f"skipped: no clip-features in {arguments.data}; pass --data DIR")
        return 0
    files, draws = (FILES[::3], 1) if arguments.quick else (FILES, arguments.draws)
    results, bars = {}, []
    rates = {group: [0, 0] for group in ("frequent", "rare")}
    print(f"{'file':<20}{'kind':<12}{'found':>14}{'self-confidence':>17}{'frequent':>12}{'rare':>12}")
    for kind, bar in BARS.items():
        for name in files:
            found = measure(arguments.data, name, kind, draws)
            value = float(np.mean(found.found))
            shown = {group: f"{of[0]}/{of[1]}" for group, of in found.groups.items()}
            spread = f"{100 * value:.1f} ± {100 * np.std(found.found):.1f}"
            plain = f"{100 * np.mean(found.plain):.1f}"
            print(f"{name:<20}{kind:<12}{spread:>14}{plain:>17}{shown['frequent']:>12}{shown['rare']:>12}", flush=True)
            results[f"{name}, {kind}"] = {"found": found.found, "self_confidence": found.plain, "groups": found.groups}
            bars.append({"name": f"{name}, {kind}", "value": value, "bar": bar, "holds": value >= bar})
            for group, of in found.groups.items():
                rates[group] = [rates[group][place] + of[place] for place in (0, 1)]
    share = {group: of[0] / max(of[1], 1) for group, of in rates.items()}
    ratio = share["rare"] / max(share["frequent"], 1e-9)
    bars.append({"name": "rare over frequent classes, all draws", "value": ratio, "bar": RARE, "holds": ratio >= RARE})
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']:.3f} (bar {bar['bar']:g})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"results": results, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
