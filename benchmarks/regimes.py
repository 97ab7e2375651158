"""Best in every regime? `ulfine` and its peers from one label a class to forty, with and without text.

    python benchmarks/regimes.py [--quick] [--json FILE] [--data DIR] [--methods a,b,c] [--draws K] [--keep DIR]
        [--judge test|pool] [--only WORD] [--picture FILE.svg]

Real CLIP features (`--data`, or the environment variable ULFINE_SHARED_DATA, else ../shared/data). A cell is a file and
a regime: labels of the largest class, imbalance, unlabelled rows (none; as many as labelled ones and as imbalanced;
many: whatever the pool still has), what is wrong (nothing; a third of the unlabelled rows is of foreign classes; 10 %
of the labels are wrong), text or none, and whether the rarest third of the classes has a label. Every method is fitted
with its defaults on the same draws. `--judge pool` looks at rows of the pool that no draw uses instead of test rows:
choices are made on those. A method may carry settings, such as `ulfine:anchor_ridge=1`.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ulfine_cache.progress import Silent
from ulfine_cache.splitting.split_protocol import long_tailed_counts
from ulfine_fast.judging.metrics import evaluate_predictions
from ulfine_fast.registry import METHODS, get_method
from ulfine_fast.rows.training_data import TrainingData
from ulfine_fast.settings import resolve_settings

TEST_PER_CLASS = 14
"""Of files without test rows of their own."""
RESERVED = 8
"""Rows of a class that `--judge pool` looks at."""
FIGURES = ("macro_accuracy", "tail_accuracy", "ece")
NEED_TEXT = ("zero-shot",)
Figures = dict[str, list[float]]
"""Of one method: each of `FIGURES` and the seconds of the processor that a fit took, one for each draw."""


@dataclass(frozen=True)
class Regime:
    """What there is to learn from."""

    labels: int
    imbalance: int
    unlabelled: Literal["none", "as labelled", "many"] = "none"
    trouble: Literal["", "foreign", "wrong labels"] = ""
    absent: bool = False

    def __str__(self) -> str:
        parts = [f"{self.labels} / {self.imbalance}", f"unlabelled {self.unlabelled}"]
        parts += [self.trouble] * bool(self.trouble) + ["a third without labels"] * self.absent
        return ", ".join(parts)


@dataclass(frozen=True)
class Cell:
    """A regime on a file, with its text or without."""

    file: str
    regime: Regime
    text: bool

    def __str__(self) -> str:
        return f"{self.file}{'' if self.text else ', no text'}: {self.regime}"


REGIMES = (
    Regime(1, 1),
    Regime(1, 1, "many"),
    Regime(2, 1, "as labelled"),
    Regime(2, 1, "many"),
    Regime(4, 4, "as labelled"),
    Regime(4, 4, "many"),
    Regime(4, 1, "many", "foreign"),
    Regime(16, 16),
    Regime(16, 16, "as labelled"),
    Regime(16, 4, "many"),
    Regime(16, 16, "as labelled", "foreign"),
    Regime(16, 4, "as labelled", "wrong labels"),
    Regime(40, 4),
    Regime(40, 16, "as labelled"),
    Regime(40, 40),
)
"""Files hold at most 36 to 53 rows a class for this: 40 means all of them, and no file allows an imbalance of 60."""
ABSENT = (
    Regime(2, 1, "many", absent=True),
    Regime(4, 4, "many", absent=True),
    Regime(16, 4, "as labelled", absent=True),
    Regime(16, 16, absent=True),
)
CELLS = (
    *(Cell("whurs19_vit-b-32", regime, text=True) for regime in REGIMES),
    *(Cell("whurs19_rn50" if number % 2 else "caltech54_vit-b-32", regime, text=True)
      for number, regime in enumerate(REGIMES)),
    *(Cell("dtd_vit-b-32", regime, text=False) for regime in REGIMES),
    *(Cell("ucf101_vit-b-32", regime, text=False) for regime in REGIMES),
    *(Cell(file, regime, text=True) for regime in ABSENT for file in ("whurs19_vit-b-32", "whurs19_rn50")),
)  # fmt: skip


class File(NamedTuple):
    """Rows of a file: unit features, labels, text."""

    pool: NDArray[np.float32]
    pool_labels: NDArray[np.int64]
    test: NDArray[np.float32] | None
    test_labels: NDArray[np.int64] | None
    text: NDArray[np.float32] | None


class Draw(NamedTuple):
    """What a method sees, and the rows it is judged on."""

    data: TrainingData
    rows: torch.Tensor
    labels: NDArray[np.int64]


def read(data: Path, name: str) -> File:
    with np.load(data / "clip-features" / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    kind = "pool_" if "pool_features" in arrays else ""
    features = "pool_features" if kind else "image_features"
    test = _unit(arrays["eval_features"]) if kind else None
    text = _unit(arrays["text_features"]) if "text_features" in arrays else None
    labels = arrays[f"{kind}labels"].astype(np.int64)
    return File(_unit(arrays[features]), labels, test, arrays["eval_labels"].astype(np.int64) if kind else None, text)


def _unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    rows = rows.astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def draw(file: File, cell: Cell, seed: int, judge: str) -> Draw:
    """Draw labelled, unlabelled and judging rows; everything random comes from the seed."""
    rng = np.random.default_rng([seed, judge == "pool"])
    regime = cell.regime
    classes = rng.permutation(file.pool_labels.max() + 1)
    foreign = classes[:0]
    if regime.trouble == "foreign":
        foreign, classes = np.split(classes, [len(classes) // 3])
    queues = {k: list(rng.permutation(np.flatnonzero(file.pool_labels == k))) for k in (*classes, *foreign)}
    test, test_labels = file.test, file.test_labels
    if test is None or test_labels is None:
        test, test_labels = file.pool, file.pool_labels
        judged = [queues[k].pop() for k in classes for _ in range(TEST_PER_CLASS)]
    else:
        judged = list(np.flatnonzero(np.isin(test_labels, classes)))
    if judge == "pool":
        test, test_labels = file.pool, file.pool_labels
        judged = [queues[k].pop() for k in classes for _ in range(min(RESERVED, len(queues[k]) // 4))]
    counts = long_tailed_counts(regime.labels, regime.imbalance, len(classes))
    absent = set(classes[-(len(classes) // 3) :]) if regime.absent else set()
    labelled: list[int] = []
    unlabelled: list[int] = []
    for k, count in zip(classes, counts, strict=True):
        labelled += [queues[k].pop() for _ in range(min(count, len(queues[k]))) if k not in absent]
    for k, count in zip(classes, counts, strict=True):
        wanted = {"none": 0, "as labelled": count, "many": 1000}[regime.unlabelled]
        unlabelled += [queues[k].pop() for _ in range(min(wanted, len(queues[k])))]
    strangers = [row for k in foreign for row in queues[k]]
    unlabelled += list(rng.permutation(strangers)[: len(unlabelled) // 2])
    place = np.full(file.pool_labels.max() + 1, -1)
    place[classes] = np.arange(len(classes))
    labels = place[file.pool_labels[labelled]]
    if regime.trouble == "wrong labels":
        wrong = rng.random(len(labels)) < 0.1
        labels = np.where(wrong, (labels + rng.integers(1, len(classes), len(labels))) % len(classes), labels)
    text = None if file.text is None or not cell.text else torch.as_tensor(file.text[classes])
    data = TrainingData(
        features=torch.as_tensor(file.pool[labelled]),
        labels=torch.as_tensor(labels),
        unlabelled=torch.as_tensor(file.pool[rng.permutation(unlabelled).astype(np.int64)]),
        text=text,
        class_names=tuple(map(str, classes)),
    )
    return Draw(data, torch.as_tensor(test[judged]), place[test_labels[judged]])


def judged(method: str, drawn: Draw, seed: int) -> dict[str, float]:
    """Fit a method and judge it."""
    name, _, settings = method.partition(":")
    chosen = get_method(name)
    values = resolve_settings(chosen, file=None, assignments=settings.split(";") if settings else [])
    started = time.process_time()
    model = chosen.fit(drawn.data, values, seed, Silent()).model
    seconds = time.process_time() - started
    with torch.no_grad():
        probabilities = torch.softmax(model(drawn.rows), -1).numpy()
    counts = drawn.data.labelled_counts.numpy()
    found = evaluate_predictions(probabilities, drawn.labels, counts, drawn.data.class_names)
    return {name: found[name] for name in FIGURES} | {"seconds": seconds}


def results_of(cell: Cell, methods: Sequence[str], arguments: argparse.Namespace) -> dict[str, Figures]:
    """Figures of each method on a cell, one for each draw; those of draws that ran before are taken from `--keep`."""
    file = read(arguments.data, cell.file)
    stem = f"{cell}, {arguments.judge}".replace("/", "to").replace(":", ",")
    results: dict[str, Figures] = {method: {} for method in methods}
    for seed in range(arguments.draws):
        kept = arguments.keep / f"{stem}, draw {seed}.json" if arguments.keep else None
        known = json.loads(kept.read_text(encoding="utf-8")) if kept and kept.exists() else {}
        if missing := [method for method in methods if method not in known]:
            drawn = draw(file, cell, seed, arguments.judge)
            known |= {method: judged(method, drawn, seed) for method in missing}
            if kept:
                kept.parent.mkdir(parents=True, exist_ok=True)
                unfinished = kept.with_suffix(".part")
                unfinished.write_text(json.dumps(known), encoding="utf-8")
                unfinished.rename(kept)
        for method in methods:
            for name, value in known[method].items():
                results[method].setdefault(name, []).append(value)
    return results


def bars_of(cells: dict[Cell, dict[str, Figures]]) -> list[dict[str, Any]]:
    """Where `ulfine` is behind by more than a paired standard error; its calibration, its mean lead."""
    behind, below, ahead = [], [], {}
    for cell, results in cells.items():
        own = {name: np.array(results["ulfine"][name]) for name in FIGURES}
        for peer, figures in results.items():
            if peer.startswith("ulfine"):
                continue
            for name in FIGURES[:2]:
                difference = own[name] - np.array(figures[name])
                error = difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else 0.0
                ahead.setdefault((peer, name), []).append(float(difference.mean()))
                if difference.mean() < -error:
                    behind.append(f"{cell}, {name}, {peer} {-100 * difference.mean():.1f} ± {100 * error:.1f}")
                if peer == "zero-shot" and difference.mean() < -0.005:
                    below.append(f"{cell}, {name} {-100 * difference.mean():.1f}")
    eces = [float(np.mean(results["ulfine"]["ece"])) for results in cells.values()]
    bars = [
        _bar("figures of cells where a peer is ahead by more than a standard error", len(behind), 0),
        _bar("figures of cells more than half a point below zero-shot", len(below), 0),
        _bar("mean ECE", float(np.mean(eces)), 0.05),
        _bar("largest ECE of a cell", max(eces), 0.1),
    ]
    for name, lead in zip(FIGURES[:2], (0.02, 0.03), strict=True):
        # Zero-shot is there in the cells with text alone.
        leads = {
            peer: float(np.mean(of)) for (peer, figure), of in ahead.items() if figure == name and peer != "zero-shot"
        }
        if leads:
            best = min(leads, key=lambda peer: leads[peer])
            value = leads[best]
            bars.append(
                {"name": f"mean lead, {name}, over {best}", "value": value, "bar": lead, "holds": value >= lead}
            )
    for line in behind:
        print("behind:", line)
    return bars


def _bar(name: str, value: float, most: float) -> dict[str, Any]:
    return {"name": name, "value": value, "bar": most, "holds": value <= most}


def draw_picture(cells: dict[Cell, dict[str, Figures]], file: Path) -> None:
    """One line a cell: how far each peer is from `ulfine`, the best of them marked; right of zero it is ahead."""
    from matplotlib.figure import Figure

    # Lines that go far to the left say no more than that: those of a peer that fails in a cell.
    least = -15
    figure = Figure((10, 0.19 * len(cells) + 1), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, name in zip(panels, FIGURES[:2], strict=True):
        for place, results in enumerate(cells.values()):
            own = np.mean(results["ulfine"][name])
            leads = [100 * (np.mean(of[name]) - own) for peer, of in results.items() if peer != "ulfine"]
            panel.plot(np.maximum(leads, least), [place] * len(leads), "|", color="0.7")
            panel.plot([max(*leads, least)], [place], "o", color="C1" if max(leads) > 0 else "C0", markersize=4)
        panel.axvline(0, color="black", linewidth=0.8)
        panel.set_xlabel(f"{name.removesuffix('_accuracy')} accuracy: points ahead of ulfine")
        panel.set_ylim(len(cells) - 0.5, -0.5)
    panels[0].set_yticks(range(len(cells)), [str(cell) for cell in cells], fontsize=6)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def percent(figures: Figures) -> str:
    return " | ".join(f"{100 * np.mean(figures[name]):.1f}" for name in FIGURES)


def main() -> int:
    parser = argparse.ArgumentParser(description="Is ulfine the best in every regime?")
    parser.add_argument("--quick", action="store_true", help="six cells of WHU-RS19, 2 draws, four methods")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ULFINE_SHARED_DATA", "../shared/data")))
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(METHODS))
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--judge", choices=("test", "pool"), default="test", help="rows to judge on")
    parser.add_argument("--only", default="", help="only the cells whose name contains this")
    parser.add_argument("--keep", type=Path, help="store finished fits in this folder and take them from there")
    parser.add_argument("--picture", type=Path, help="draw how far each peer is from ulfine into this file")
    arguments = parser.parse_args()
    if not (arguments.data / "clip-features").is_dir():
        print(f"skipped: no clip-features in {arguments.data}; pass --data DIR")
        return 0
    cells = [cell for cell in CELLS if arguments.only in str(cell)]
    if arguments.quick:
        cells = cells[:: max(1, len(cells) // 6)]
        arguments.methods, arguments.draws = ["zero-shot", "lp-la", "gda", "ulfine"], 2
    results: dict[Cell, dict[str, Figures]] = {}
    for cell in cells:
        methods = [name for name in arguments.methods if cell.text or name not in NEED_TEXT]
        results[cell] = results_of(cell, methods, arguments)
        print(f"\n{cell}: macro | tail | ECE")
        for method, figures in results[cell].items():
            print(f"    {method:<24}{percent(figures)}   {np.mean(figures['seconds']):.2f} s", flush=True)
    bars = bars_of(results) if "ulfine" in arguments.methods else []
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']:.4g} (bar {bar['bar']:g})")
    if arguments.picture and "ulfine" in arguments.methods:
        draw_picture(results, arguments.picture)
    if arguments.json:
        figures = {str(cell): methods for cell, methods in results.items()}
        arguments.json.write_text(json.dumps({"cells": figures, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
