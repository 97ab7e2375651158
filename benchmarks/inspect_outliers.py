"""Foreign images found: AUROC of the outlier score, and what `fit --reject-outliers` does to the accuracy.

    python benchmarks/inspect_outliers.py [--quick] [--json FILE] [--data DIR] [--draws K]

Real CLIP features (`--data`, or the environment variable ULFINE_SHARED_DATA, else ../shared/data). Some classes are
unknown; the others have long-tailed labels, and all other rows of the pool are unlabelled. Beside the product's score
stand plain confidence and the energy of the same fit alone, and what a classifier reaches that is told which rows are
foreign (five-fold cross-validated logistic regression on the truth), which no score without it can be asked for.
In the second part 30 % of the unlabelled rows are of unknown classes; `ulfine` is fitted with all of them, without the
rejected ones, and with none that is foreign. Nothing is chosen here: the score was settled on WHU-RS19 in RN50 and
L/14 and on the eval rows of the other files.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from ulfine_cache.progress import Silent
from ulfine_cache.splitting.split_protocol import long_tailed_counts
from ulfine_fast.inspecting.outliers import find_outliers
from ulfine_fast.registry import get_method
from ulfine_fast.rows.training_data import TrainingData

TASKS = {
    # name: file, known classes, labels of the largest class, imbalance, bar
    "WHU-RS19, 4 of 19 unknown": ("whurs19_vit-b-32", 15, 16, 8, 0.95),
    "DTD, 4 of 47 unknown": ("dtd_vit-b-32", 43, 16, 8, 0.85),
    "UCF-101, 4 of 101 unknown": ("ucf101_vit-b-32", 97, 12, 6, 0.85),
    "Caltech-54, 42 of 54 unknown": ("caltech54_vit-b-32", 12, 8, 4, 0.99),
    "Caltech-54, 42 of 54 unknown, all labels": ("caltech54_vit-b-32", 12, 1000, 1, 0.99),
}
REJECTING = {
    "WHU-RS19": ("whurs19_vit-b-32", 16, 8),
    "Caltech-54": ("caltech54_vit-b-32", 8, 4),
    "DTD": ("dtd_vit-b-32", 16, 8),
    "UCF-101": ("ucf101_vit-b-32", 12, 6),
}
WORSE = 0.005


def unit(rows):
    rows = rows.astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def read(data, name):
    """Pool features and labels, test features and labels (None where the file has none), text or None."""
    with np.load(data / "clip-features" / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    text = unit(arrays["text_features"]) if "text_features" in arrays else None
    if "pool_features" not in arrays:
        return unit(arrays["image_features"]), arrays["labels"].astype(np.int64), None, None, text
    pool, test = unit(arrays["pool_features"]), unit(arrays["eval_features"])
    return pool, arrays["pool_labels"].astype(np.int64), test, arrays["eval_labels"].astype(np.int64), text


def training(features, labels, unlabelled, text, n_classes):
    return TrainingData(
        features=torch.as_tensor(features),
        labels=torch.as_tensor(labels),
        unlabelled=torch.as_tensor(unlabelled),
        text=None if text is None else torch.as_tensor(text),
        class_names=tuple(map(str, range(n_classes))),
    )


def draw(data, name, known, most, imbalance, seed):
    """Training data, and which unlabelled rows are foreign."""
    features, labels, _, _, text = read(data, name)
    rng = np.random.default_rng([seed, 16])
    order = rng.permutation(int(labels.max()) + 1)
    # At least a third of a class stays unlabelled.
    largest = min(most, int(np.bincount(labels).min() * 2 / 3)) if most > 100 else most
    labelled, unlabelled, foreign = [], [], []
    for k, count in zip(order[:known], long_tailed_counts(largest, imbalance, known), strict=True):
        rows = rng.permutation(np.flatnonzero(labels == k))
        labelled += rows[:count].tolist()
        unlabelled += rows[count:].tolist()
    foreign = np.flatnonzero(np.isin(labels, order[known:])).tolist()
    place = np.full(len(order), -1)
    place[order[:known]] = np.arange(known)
    text = None if text is None else text[order[:known]]
    rows = unlabelled + foreign
    made = training(features[labelled], place[labels[labelled]], features[rows], text, known)
    return made, np.repeat([False, True], [len(unlabelled), len(foreign)])


def separations(data, task, seed):
    made, foreign = draw(data, *task[:4], seed)
    found = find_outliers(made, seed, Silent())
    method = get_method("ulfine")
    model = method.fit(made, method.settings(unlabelled=False), seed, Silent()).model
    with torch.no_grad():
        logits = model(made.unlabelled)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    told = LogisticRegression(C=10, class_weight="balanced", max_iter=500)
    best = cross_val_predict(told, made.unlabelled.numpy() * 10, foreign, cv=folds, method="decision_function")
    return {
        "score": roc_auc_score(foreign, found.scores),
        "confidence": roc_auc_score(foreign, -torch.log_softmax(logits, -1).amax(-1).numpy()),
        "energy": roc_auc_score(foreign, -torch.logsumexp(logits, -1).numpy()),
        "told": roc_auc_score(foreign, best),
        "suspected": float(found.suspected()[foreign].mean()),
        "false alarms": float(found.suspected()[~foreign].mean()),
    }


def rejecting(data, name, most, imbalance, seed):
    """Macro accuracies with all unlabelled rows, without the rejected ones, and without the foreign ones."""
    features, labels, test, test_labels, text = read(data, name)
    rng = np.random.default_rng([seed, 17])
    order = rng.permutation(int(labels.max()) + 1)
    known = len(order) - len(order) // 4
    labelled, unlabelled, tested = [], [], []
    for k, count in zip(order[:known], long_tailed_counts(most, imbalance, known), strict=True):
        rows = rng.permutation(np.flatnonzero(labels == k)).tolist()
        if test is None:
            tested, rows = tested + rows[:14], rows[14:]
        labelled += rows[:count]
        unlabelled += rows[count : 2 * count + 8]
    strangers = rng.permutation(np.flatnonzero(np.isin(labels, order[known:])))[: round(len(unlabelled) * 3 / 7)]
    place = np.full(len(order), -1)
    place[order[:known]] = np.arange(known)
    if test is None:
        rows, truth = features[tested], place[labels[tested]]
    else:
        there = place[test_labels] >= 0
        rows, truth = test[there], place[test_labels[there]]
    text = None if text is None else text[order[:known]]
    clean = training(features[labelled], place[labels[labelled]], features[unlabelled], text, known)
    mixed = replace(clean, unlabelled=torch.as_tensor(features[[*unlabelled, *strangers]]))
    kept = replace(
        mixed, unlabelled=mixed.unlabelled[torch.as_tensor(~find_outliers(mixed, seed, Silent()).suspected())]
    )
    method = get_method("ulfine")
    figures = {}
    for what, made in (("with foreign rows", mixed), ("rejected", kept), ("without foreign rows", clean)):
        with torch.no_grad():
            said = method.fit(made, method.settings(), seed, Silent()).model(torch.as_tensor(rows)).argmax(-1).numpy()
        figures[what] = float(np.mean([(said[truth == k] == k).mean() for k in range(known)]))
    return figures


def means(draws):
    return {name: float(np.mean([of[name] for of in draws])) for name in draws[0]}


def main():
    parser = argparse.ArgumentParser(description="Foreign images found.")
    parser.add_argument("--quick", action="store_true", help="WHU-RS19 and Caltech-54, one draw")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ULFINE_SHARED_DATA", "../shared/data")))
    parser.add_argument("--draws", type=int, default=5)
    arguments = parser.parse_args()
    if not (arguments.data / "clip-features").is_dir():
        print(f"skipped: no clip-features in {arguments.data}; pass --data DIR")
        return 0
    names = [name for name in TASKS if not arguments.quick or name.startswith(("WHU", "Caltech"))]
    draws = 1 if arguments.quick else arguments.draws
    results, bars = {}, []
    for name in names:
        found = [separations(arguments.data, TASKS[name], seed) for seed in range(draws)]
        results[name] = found
        mean = means(found)
        print(f"{name}: " + ", ".join(f"{what} {value:.3f}" for what, value in mean.items()), flush=True)
        bar = TASKS[name][4]
        bars.append({"name": name, "value": mean["score"], "bar": bar, "holds": mean["score"] >= bar})
        worst = min(of["score"] - of["confidence"] for of in found)
        bars.append({"name": f"{name}, over confidence, worst draw", "value": worst, "bar": 0, "holds": worst >= 0})
    for name in [name for name in REJECTING if not arguments.quick or name in ("WHU-RS19",)]:
        found = [rejecting(arguments.data, *REJECTING[name], seed) for seed in range(draws)]
        results[f"rejecting, {name}"] = found
        mean = means(found)
        print(f"rejecting, {name}: " + ", ".join(f"{what} {100 * of:.1f}" for what, of in mean.items()), flush=True)
        value = mean["rejected"] - mean["without foreign rows"]
        bars.append({"name": f"rejecting, {name}", "value": value, "bar": -WORSE, "holds": value >= -WORSE})
    differences = [
        np.mean([of["rejected"] - of["without foreign rows"] for of in found])
        for name, found in results.items()
        if name.startswith("rejecting")
    ]
    value = float(np.mean(differences))
    bars.append({"name": "rejecting, mean of the sets", "value": value, "bar": -WORSE, "holds": value >= -WORSE})
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']:.3f} (bar {bar['bar']:g})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"results": results, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
