"""How far can a fit's word about itself be trusted? Cross-validated figures against the truth of rows not seen.

    python benchmarks/trust.py [--quick] [--json FILE] [--data DIR] [--draws K] [--first-seed N]

Real CLIP features (`--data`, or the environment variable ULFINE_SHARED_DATA, else ../shared/data). A cell is a file,
with its text or without, labels of the largest class and imbalance, and the shape of the unlabelled rows. `ulfine` is
fitted with its defaults on each draw; nothing is chosen here. The truth is that of all rows of the same collection that
were drawn neither as labelled nor as unlabelled ones, at least eight a class. Rows elsewhere, which some files bring
along as their own test rows, are shown beside it: no cross-validation can know of them. An interval counts as holding
the truth where both differ by no more than its half width and 1.96 standard errors of the truth, added in squares.
"""

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from regimes import File, read

from ulfine_cache.progress import Silent
from ulfine_cache.splitting.split_draw import draw_split
from ulfine_cache.splitting.split_protocol import Shape
from ulfine_fast.judging.intervals import Z, mean_recall_error
from ulfine_fast.judging.left_out_figures import left_out_figures
from ulfine_fast.registry import get_method
from ulfine_fast.rows.training_data import make_training_data

HELD_OUT = 8
"""Rows of each class that are never drawn."""


@dataclass(frozen=True)
class Cell:
    """What is drawn."""

    file: str
    text: bool
    labels: int
    imbalance: int
    shape: Shape

    def __str__(self) -> str:
        text = "" if self.text else ", no text"
        return f"{self.file}{text}: {self.labels} / {self.imbalance}, unlabelled {self.shape}"


FILES = (
    ("whurs19_vit-b-32", True),
    ("whurs19_vit-b-32", False),
    ("whurs19_rn50", True),
    ("caltech54_vit-b-32", True),
    ("dtd_vit-b-32", False),
    ("ucf101_vit-b-32", False),
)
SHAPES: tuple[tuple[int, int, Shape], ...] = (
    (2, 1, "uniform"),
    (4, 1, "uniform"),
    (4, 4, "reversed"),
    (16, 8, "consistent"),
    (16, 16, "reversed"),
)
CELLS = [Cell(file, text, *shape) for file, text in FILES for shape in SHAPES]
Rows = dict[str, float]


def holds(interval: dict[str, float], truth: float, error: float) -> bool:
    middle, half = (interval["low"] + interval["high"]) / 2, (interval["high"] - interval["low"]) / 2
    return bool(abs(truth - middle) <= np.hypot(half, Z * error))


def of_draw(file: File, cell: Cell, seed: int) -> Rows:
    """Cross-validated figures of one draw, and the truth."""
    labels, n_classes = file.pool_labels, int(file.pool_labels.max()) + 1
    protocol = {
        "labelled_max": cell.labels,
        "imbalance": float(cell.imbalance),
        "unlabelled": cell.shape,
        "unlabelled_max": 12,
        "test_per_class": HELD_OUT,
        "seed": seed,
    }
    split = draw_split(labels, np.full(len(labels), ""), protocol)
    names = tuple(map(str, range(n_classes)))
    data = make_training_data(
        features=file.pool[split.labelled],
        labels=labels[split.labelled],
        unlabelled=file.pool[split.unlabelled],
        text=file.text if cell.text else None,
        class_names=names,
    )
    method = get_method("ulfine")
    result = method.fit(data, method.settings(), seed, Silent())
    found = left_out_figures(result, data)[0]
    assert found is not None

    def answers(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return torch.softmax(result.model(torch.as_tensor(rows)), -1).numpy()

    def recalls_of(predicted: NDArray[np.int64], truth: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        totals = np.bincount(truth, minlength=n_classes)
        return np.bincount(truth[predicted == truth], minlength=n_classes), totals

    rest = np.setdiff1d(np.arange(len(labels)), np.concatenate([split.labelled, split.unlabelled]))
    table = answers(file.pool[rest])
    hits, totals = recalls_of(table.argmax(1), labels[rest])
    recalls = hits / totals
    judged = np.array([entry["rows"] > 0 for entry in found["per_class"]])
    # Labelled rows are not distributed as the others are: the truth has their classes' shares.
    shares = np.array([entry["rows"] for entry in found["per_class"]]) / found["rows"]
    even = judged / judged.sum()
    accuracy, macro = float(shares @ recalls), float(even @ recalls)
    errors = {name: mean_recall_error(hits, totals, weights) for name, weights in (("a", shares), ("m", even))}
    unlabelled = found["unlabelled"]
    own = answers(file.pool[split.unlabelled])
    right = own.argmax(1) == labels[split.unlabelled]
    threshold = found["confident"]["threshold"]
    sure, sure_unlabelled = table.max(1) >= threshold, own.max(1) >= threshold
    class_holds = [
        holds(entry, recalls[k], float(np.sqrt((hits[k] + 1) * (totals[k] - hits[k] + 1) / (totals[k] + 2) ** 3)))
        for k, entry in enumerate(found["per_class"])
        if entry["rows"]
    ]
    figures = {
        "accuracy": found["accuracy"]["value"],
        "true accuracy": accuracy,
        "accuracy holds": holds(found["accuracy"], accuracy, errors["a"]),
        "macro": found["macro_accuracy"]["value"],
        "true macro": macro,
        "macro holds": holds(found["macro_accuracy"], macro, errors["m"]),
        "not below the low end": macro >= found["macro_accuracy"]["low"] - Z * errors["m"],
        "true macro of all classes": float(recalls.mean()),
        "macro width": found["macro_accuracy"]["high"] - found["macro_accuracy"]["low"],
        "classes hold": float(np.mean(class_holds)),
        "confidence": found["mean_confidence"],
        "sure and right": found["confident"]["value"],
        "true sure and right": float((table.argmax(1) == labels[rest])[sure].mean()) if sure.any() else np.nan,
        "unlabelled": unlabelled["expected_accuracy"]["value"],
        "true unlabelled": float(right.mean()),
        "unlabelled holds": holds(unlabelled["expected_accuracy"], float(right.mean()), 0.0),
        "unlabelled confidence": unlabelled["mean_confidence"],
        "unlabelled sure and right": float(right[sure_unlabelled].mean()) if sure_unlabelled.any() else np.nan,
    }
    if file.test is not None and file.test_labels is not None:
        hits, totals = recalls_of(answers(file.test).argmax(1), file.test_labels)
        figures["macro elsewhere"] = float(even @ (hits / np.maximum(totals, 1)))
    return {name: np.nan if value is None else float(value) for name, value in figures.items()}


def means(rows: list[Rows]) -> Rows:
    """Over draws or cells, figures that one of them lacks left out."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.nanmean([row[name] for row in rows if name in row])) for name in names}


def bars_of(cells: dict[str, Rows]) -> list[dict[str, Any]]:
    every = means(list(cells.values()))
    frequent = means([of for name, of in cells.items() if ": 2 /" not in name])
    least = [
        ("accuracy: intervals that hold the truth", every["accuracy holds"], 0.9),
        ("macro accuracy: intervals that hold the truth", every["macro holds"], 0.9),
        ("the same with more than two labels a class at the most", frequent["macro holds"], 0.9),
        ("macro accuracy: truth not below the low end", every["not below the low end"], 0.95),
        ("recall of a class: intervals that hold the truth", every["classes hold"], 0.95),
        ("unlabelled rows: intervals that hold the truth", every["unlabelled holds"], 0.9),
    ]
    most = [
        ("accuracy: cross-validated less true, mean over cells", abs(every["accuracy"] - every["true accuracy"]), 0.02),
        ("macro accuracy: the same", abs(every["macro"] - every["true macro"]), 0.02),
        ("right among the sure: the same", abs(every["sure and right"] - every["true sure and right"]), 0.01),
        ("mean confidence less true accuracy: the same", abs(every["confidence"] - every["true accuracy"]), 0.03),
    ]
    bars = [{"name": name, "value": value, "bar": bar, "holds": value >= bar} for name, value, bar in least]
    return bars + [{"name": name, "value": value, "bar": bar, "holds": value <= bar} for name, value, bar in most]


def main() -> int:
    parser = argparse.ArgumentParser(description="How far can a fit's word about itself be trusted?")
    parser.add_argument("--quick", action="store_true", help="two files, 2 draws")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ULFINE_SHARED_DATA", "../shared/data")))
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0, help="of the draws")
    arguments = parser.parse_args()
    if not (arguments.data / "clip-features").is_dir():
        print(f"skipped: no clip-features in {arguments.data}; pass --data DIR")
        return 0
    cells = CELLS
    if arguments.quick:
        cells, arguments.draws = CELLS[:10], 2
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.draws)
    found: dict[str, Rows] = {}
    print("percent: cross-validated / true (intervals that hold it); elsewhere: the file's own test rows")
    for cell in cells:
        file = read(arguments.data, cell.file)
        figures = found[str(cell)] = means([of_draw(file, cell, seed) for seed in seeds])
        shown = {name: f"{100 * value:.1f}" for name, value in figures.items()}
        print(
            f"{cell}\n    accuracy {shown['accuracy']} / {shown['true accuracy']} ({shown['accuracy holds']}), macro "
            f"{shown['macro']} / {shown['true macro']} ({shown['macro holds']}), classes ({shown['classes hold']}), "
            f"confidence {shown['confidence']}, sure {shown['sure and right']} / {shown['true sure and right']}\n"
            f"    unlabelled {shown['unlabelled']} / {shown['true unlabelled']} ({shown['unlabelled holds']}), "
            f"confidence {shown['unlabelled confidence']}; macro of all classes {shown['true macro of all classes']}, "
            f"elsewhere {shown.get('macro elsewhere', '-')}",
            flush=True,
        )
    bars = bars_of(found)
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']:.4g} (bar {bar['bar']:g})")
    if arguments.json:
        finite = {
            cell: {name: value if np.isfinite(value) else None for name, value in figures.items()}
            for cell, figures in found.items()
        }
        arguments.json.write_text(json.dumps({"cells": finite, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
