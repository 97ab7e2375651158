"""Accuracy on real CLIP features: every method on the same long-tailed draws, ahead of its peers or not.

    python benchmarks/accuracy.py [--quick] [--json FILE] [--data DIR] [--methods a,b,c] [--seeds K] [--keep DIR]

The features lie outside the repository: `--data` (or the environment variable ULFINE_SHARED_DATA, else ../shared/data)
names the folder that holds `clip-features/*.npz`. A task is a file, an imbalance ratio and a shape of the unlabelled
rows. Test rows are the files' own, or 14 held out of every class. Nothing is chosen here: every method runs with its
defaults, or chooses by cross-validation on labelled rows. All of it takes hours on two cores; `--keep DIR` stores every
finished task there, and a later run goes on. Beside the JSON file stands a report (FILE.html): paired differences of
every method to the first, with error bars.
"""

import argparse
import json
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_cache.splitting.split_protocol import Shape
from ulfine_exports.pages.extra import missing_packages
from ulfine_exports.reporting.written import write_comparison_report
from ulfine_fast.compare import compare
from ulfine_fast.registry import METHODS, get_method

SHOWN = ("macro_accuracy", "head_accuracy", "medium_accuracy", "tail_accuracy", "ece")


@dataclass(frozen=True)
class Source:
    """One file with the labelled profile its pool allows."""

    file: str
    labelled_max: int
    imbalances: tuple[int, ...]
    unlabelled_max: int
    text: str | None = "text_features"
    test_per_class: int | None = None

    @property
    def name(self) -> str:
        suffix = " (single prompt)" if self.text == "text_features_single_prompt" else ""
        return self.file.removesuffix(".npz") + suffix

    def cache(self, folder: Path, data: Path) -> Path:
        """The cache of this file in `folder`, imported from `data` when it is first asked for."""
        cache = folder / self.name.replace(" ", "_")
        if not cache.exists():
            options = {} if self.text in (None, "text_features") else {"text_features": self.text}
            import_features(file=data / "clip-features" / self.file, out=cache, index="none", **options)
        return cache


SOURCES = (
    Source("whurs19_vit-b-32.npz", 16, (4, 8), 20, test_per_class=14),
    Source("whurs19_rn50.npz", 16, (4, 8), 20, test_per_class=14),
    Source("whurs19_vit-l-14.npz", 16, (4, 8), 20, test_per_class=14),
    Source("caltech54_vit-b-32.npz", 8, (4, 8), 16),
    Source("dtd_vit-b-32.npz", 16, (8, 16), 24, None),
    Source("ucf101_vit-b-32.npz", 12, (6, 12), 24, None),
)
UNLABELLED = tuple(name for name in METHODS if get_method(name).unlabelled)
"""Methods that look at unlabelled rows. The others give the same for every shape, whose labelled and test rows are the
same, and are fitted for the first shape alone."""
SHAPES: tuple[Shape, ...] = ("consistent", "uniform", "reversed", "middle", "head-tail")


@dataclass(frozen=True)
class Task:
    """One row of the table."""

    source: Source
    imbalance: int
    shape: Shape

    @property
    def name(self) -> str:
        return f"{self.source.name}, head {self.source.labelled_max}, imbalance {self.imbalance}, {self.shape}"

    def run(self, folder: Path, data: Path, methods: str, seeds: int) -> dict[str, Any]:
        """What `compare` finds."""
        cache = self.source.cache(folder, data)
        make_split(
            cache=cache,
            name=f"{self.shape}-{self.imbalance}",
            labelled_max=self.source.labelled_max,
            imbalance=self.imbalance,
            unlabelled_max=self.source.unlabelled_max,
            unlabelled=self.shape,
            test_per_class=self.source.test_per_class,
        )
        return compare(cache=cache, split=f"{self.shape}-{self.imbalance}", methods=methods, seeds=seeds)


TASKS = [Task(source, imbalance, shape) for source in SOURCES for imbalance in source.imbalances for shape in SHAPES]


def kept(keep: Path | None, task: Task, folder: Path, data: Path, methods: list[str], seeds: int) -> dict[str, Any]:
    """The figures of a task that ran before with the same methods and seeds, else of a run now."""
    if keep is None:
        return task.run(folder, data, ",".join(methods), seeds)
    file = keep / f"{task.name}, {seeds} seeds, {','.join(methods)}.json"
    if not file.exists():
        figures = task.run(folder, data, ",".join(methods), seeds)
        keep.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".part")
        unfinished.write_text(json.dumps(figures), encoding="utf-8")
        unfinished.rename(file)
    return json.loads(file.read_text(encoding="utf-8"))


def per_seed(figures: dict[str, Any], method: str, name: str) -> np.ndarray:
    (found,) = (entry for entry in figures["methods"] if entry["method"] == method)
    return np.array(found[name]["per_seed"])


def bars_of(tasks: dict[str, dict[str, Any]], methods: list[str]) -> list[dict[str, Any]]:
    """How far `ulfine` is ahead of the best peer in the mean of all tasks, and where it is behind."""
    peers = [name for name in methods if not name.startswith("ulfine")]
    if "ulfine" not in methods or not peers:
        return []
    bars = []
    for name, lead in (("macro_accuracy", 0.025), ("tail_accuracy", 0.03)):
        means = {
            method: np.mean([per_seed(task, method, name).mean() for task in tasks.values()]) for method in methods
        }
        best = max(peers, key=lambda peer: means[peer])
        value = float(means["ulfine"] - means[best])
        bars.append(_bar(f"mean {name.removesuffix('_accuracy')} accuracy, over {best}", value, lead))
    behind = []
    for task, figures in tasks.items():
        ulfine = per_seed(figures, "ulfine", "macro_accuracy")
        best = max(peers, key=lambda peer: per_seed(figures, peer, "macro_accuracy").mean())
        for peer in {best, "zero-shot"} & set(peers):
            difference = ulfine - per_seed(figures, peer, "macro_accuracy")
            error = difference.std(ddof=1) / len(difference) ** 0.5
            behind.append((difference.mean() + 2 * error, difference.mean(), f"{task}, over {peer}"))
    upper, mean, task = min(behind)
    bars.append(_bar(f"worst task ({task}: {100 * mean:+.1f}), upper end of two standard errors", float(upper), -0.005))
    ece = float(np.mean([per_seed(task, "ulfine", "ece").mean() for task in tasks.values()]))
    return [*bars, {"name": "mean ECE", "value": ece, "bar": 0.05, "holds": ece <= 0.05}]


def _bar(name: str, value: float, bar: float) -> dict[str, Any]:
    return {"name": name, "value": value, "bar": bar, "holds": value >= bar}


def show(task: str, figures: dict[str, Any]) -> None:
    print(f"\n{task}")
    print(f"{'method':<15}" + "".join(f"{name.removesuffix('_accuracy'):>13}" for name in SHOWN) + f"{'s/fit':>8}")
    for entry in figures["methods"]:
        cells = (f"{100 * entry[name]['mean']:.1f} ± {100 * (entry[name]['std'] or 0):.1f}" for name in SHOWN)
        seconds = entry["seconds"]["mean"]
        print(f"{entry['method']:<15}" + "".join(f"{cell:>13}" for cell in cells) + f"{seconds:>8.2f}", flush=True)


def show_table(tasks: dict[str, dict[str, Any]], methods: list[str]) -> None:
    """Macro and tail accuracy of every method, one column for each file and ratio: the mean of its shapes."""
    columns = dict.fromkeys(task.rsplit(", ", 1)[0] for task in tasks)
    print("\nmacro | tail | ECE, mean of the shapes")
    print("| method | " + " | ".join((*columns, "mean")) + " |")
    print("|---" * (len(columns) + 2) + "|")
    for method in methods:
        cells = []
        for column in (*columns, ""):
            of_column = [figures for task, figures in tasks.items() if task.startswith(column)]
            means = [
                100 * np.mean([per_seed(figures, method, name).mean() for figures in of_column])
                for name in ("macro_accuracy", "tail_accuracy", "ece")
            ]
            cells.append(" \\| ".join(f"{mean:.1f}" for mean in means))
        print(f"| `{method}` | " + " | ".join(cells) + " |")


def main() -> int:
    parser = argparse.ArgumentParser(description="Accuracy on real CLIP features.")
    parser.add_argument("--quick", action="store_true", help="WHU-RS19 and Caltech-54, one shape, 2 seeds, six methods")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ULFINE_SHARED_DATA", "../shared/data")))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tasks", default="", help="only the tasks whose name contains this")
    parser.add_argument("--keep", type=Path, help="store finished tasks in this folder and take them from there")
    arguments = parser.parse_args()
    if not (arguments.data / "clip-features").is_dir():
        print(f"skipped: no clip-features in {arguments.data}; pass --data DIR")
        return 0
    tasks, seeds, methods = TASKS, arguments.seeds, str(arguments.methods)
    if arguments.quick:
        tasks = [Task(SOURCES[0], 8, "reversed"), Task(SOURCES[3], 8, "reversed")]
        seeds, methods = 2, "zero-shot,lp,lp-la,lft,lift,ulfine"
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for task in tasks:
            if arguments.tasks not in task.name:
                continue

            first = results.get(replace(task, shape=SHAPES[0]).name)
            fitted: list[str] = [name for name in methods.split(",") if first is None or name in UNLABELLED]
            results[task.name] = kept(arguments.keep, task, Path(folder), arguments.data, fitted, seeds)
            if first is not None:
                known = [entry for entry in first["methods"] if entry["method"] not in UNLABELLED]
                results[task.name]["methods"] = [*known, *results[task.name]["methods"]]
            show(task.name, results[task.name])
    names: list[str] = methods.split(",")
    show_table(results, names)
    bars = bars_of(results, names) if seeds > 1 else []
    print()
    for bar in bars:
        verdict = "holds" if bar["holds"] else "FAILS"
        print(f"{verdict}  {bar['name']}: {100 * bar['value']:+.1f} (bar {100 * bar['bar']:+.1f})")
    if arguments.json:
        figures = {"tasks": results, "bars": bars}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        out = arguments.json.with_suffix(".html")
        if not (missing := missing_packages()):
            write_comparison_report(arguments.json, figures, out)
        print(f"no report, which needs {' and '.join(missing)}" if missing else f"report {out}")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
