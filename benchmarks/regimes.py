"""Best in every regime? `ulfine` and its peers from one label a class to forty, with and without text.

    python benchmarks/regimes.py [--quick] [--json FILE] [--data DIR] [--methods a,b,c] [--draws K] [--keep DIR]
        [--judge test|pool] [--only WORD] [--picture FILE]

Real CLIP features (`--data`, or the environment variable ULFINE_SHARED_DATA, else ../shared/data). A cell is a file and
a regime: labels of the largest class, imbalance, unlabelled rows (none; as many as labelled ones and as imbalanced;
many: whatever the pool still has), what is wrong with them (nothing; a third of them of foreign classes; 10 % of the labels
wrong), text or none, and whether the rarest third of the classes has a label. Every method is fitted with its defaults
on the same draws. `--judge pool` looks at rows of the pool that no draw uses instead of test rows: choices are made on
those. A method may carry settings, such as `ulfine:anchor_ridge=1`.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ulfine_cache.progress import Silent
from ulfine_cache.splitting.split_protocol import long_tailed_counts
from ulfine_fast.judging.metrics import evaluate_predictions
from ulfine_fast.registry import get_method
from ulfine_fast.rows.training_data import TrainingData
from ulfine_fast.settings import resolve_settings

TEST_PER_CLASS = 14
"""Of files without test rows of their own."""
RESERVED = 8
"""Rows of a class that `--judge pool` looks at."""
FIGURES = ("macro_accuracy", "tail_accuracy", "ece")


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
    judged: list[int] = []
    test, test_labels = file.test, file.test_labels
    if test is None or test_labels is None:
        test, test_labels = file.pool, file.pool_labels
        held = {k: [queues[k].pop() for _ in range(TEST_PER_CLASS)] for k in classes}
        judged = [row for k in classes for row in held[k]]
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
    started = time.perf_counter()
    model = chosen.fit(drawn.data, values, seed, Silent()).model
    seconds = time.perf_counter() - started
    with torch.no_grad():
        probabilities = torch.softmax(model(drawn.rows), -1).numpy()
    counts = drawn.data.labelled_counts.numpy()
    found = evaluate_predictions(probabilities, drawn.labels, counts, drawn.data.class_names)
    return {name: found[name] for name in FIGURES} | {"seconds": seconds}


def results_of(cell: Cell, methods: Sequence[str], draws: int, judge: str, data: Path) -> dict[str, dict[str, Any]]:
    """Figures of each method on a cell, a list over draws each."""
    file = read(data, cell.file)
    results: dict[str, dict[str, list[float]]] = {}
    for seed in range(draws):
        drawn = draw(file, cell, seed, judge)
        for method in methods:
            for name, value in judged(method, drawn, seed).items():
                results.setdefault(method, {}).setdefault(name, []).append(value)
    return results


def kept(cell: Cell, arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The figures of methods that ran before on the same draws, and those of the others of a run now."""
    if arguments.keep is None:
        return results_of(cell, arguments.methods, arguments.draws, arguments.judge, arguments.data)
    arguments.keep.mkdir(parents=True, exist_ok=True)
    stem = f"{cell}, {arguments.judge}, {arguments.draws} draws".replace("/", "to")
    files = {method: arguments.keep / f"{stem}, {method}.json" for method in arguments.methods}
    missing = [method for method, file in files.items() if not file.exists()]
    fitted = results_of(cell, missing, arguments.draws, arguments.judge, arguments.data) if missing else {}
    for method, figures in fitted.items():
        unfinished = files[method].with_suffix(".part")
        unfinished.write_text(json.dumps(figures), encoding="utf-8")
        unfinished.rename(files[method])
    return {method: json.loads(file.read_text(encoding="utf-8")) for method, file in files.items()}


def applicable(cell: Cell, methods: Sequence[str]) -> Iterator[str]:
    """The methods that a cell has something for."""
    for method in methods:
        if method != "zero-shot" or cell.text:
            yield method
