"""Accuracy on real CLIP features: every method on the same long-tailed draws, ahead of its peers or not.

    python benchmarks/accuracy.py [--quick] [--json FILE] [--data DIR] [--methods a,b,c] [--seeds K]

The features lie outside the repository: `--data` (or the environment variable ULFINE_SHARED_DATA, else ../shared/data)
names the folder that holds `clip-features/*.npz`. Each task is a file, a labelled profile and a shape of the unlabelled
rows. Test rows are the files' own, or 14 held out of every class. Nothing is chosen here: every method runs with its
defaults.
"""

import argparse
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_fast.compare import compare
from ulfine_fast.registry import METHODS

SHOWN = ("macro_accuracy", "head_accuracy", "medium_accuracy", "tail_accuracy", "ece")


@dataclass(frozen=True)
class Source:
    """One file with the labelled profile its pool allows."""

    file: str
    labelled_max: int
    imbalance: float
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
    Source("whurs19_vit-b-32.npz", 16, 8, 20, "text_features_single_prompt", 14),
    Source("whurs19_vit-b-32.npz", 16, 8, 20, test_per_class=14),
    Source("whurs19_rn50.npz", 16, 8, 20, test_per_class=14),
    Source("whurs19_vit-l-14.npz", 16, 8, 20, test_per_class=14),
    Source("caltech54_vit-b-32.npz", 8, 8, 16),
    Source("dtd_vit-b-32.npz", 16, 16, 24, None),
    Source("ucf101_vit-b-32.npz", 12, 12, 24, None),
)
SHAPES = ("consistent", "uniform", "reversed")


def run_task(folder: Path, data: Path, source: Source, shape: str, methods: str, seeds: int) -> dict:
    cache = source.cache(folder, data)
    make_split(
        cache=cache,
        name=shape,
        labelled_max=source.labelled_max,
        imbalance=source.imbalance,
        unlabelled_max=source.unlabelled_max,
        unlabelled=shape,
        test_per_class=source.test_per_class,
    )
    return compare(cache=cache, split=shape, methods=methods, seeds=seeds)


def bars_of(tasks: dict[str, dict]) -> list[dict]:
    """The best gradient-trained rows of the first figures on WHU-RS19, and zero-shot as a floor where there is text."""
    bars = []
    # Best of the gradient-trained rows, single prompt, in fractions of 1: (macro, tail) for each shape.
    first = {"consistent": (0.950, 0.936), "uniform": (0.953, 0.924), "reversed": (0.957, 0.945)}
    for task, figures in tasks.items():
        methods = {entry["method"]: entry for entry in figures["methods"]}
        if "ulfine" not in methods:
            continue
        shape = task.rsplit(", ", 1)[1]
        macro = methods["ulfine"]["macro_accuracy"]["mean"]
        if "single prompt" in task:
            for name, bar in zip(("macro_accuracy", "tail_accuracy"), first[shape], strict=True):
                value = methods["ulfine"][name]["mean"]
                bars.append({"name": f"{task}: ulfine {name}", "value": value, "bar": bar, "holds": value >= bar})
        if "zero-shot" in methods and not task.startswith(("dtd", "ucf101")):
            lead = macro - methods["zero-shot"]["macro_accuracy"]["mean"]
            bars.append(
                {"name": f"{task}: ulfine over zero-shot", "value": lead, "bar": -0.005, "holds": lead >= -0.005}
            )
    return bars


def show(task: str, figures: dict) -> None:
    print(f"\n{task}")
    print(f"{'method':<15}" + "".join(f"{name.removesuffix('_accuracy'):>13}" for name in SHOWN) + f"{'s/fit':>8}")
    for entry in figures["methods"]:
        cells = (f"{100 * entry[name]['mean']:.1f} ± {100 * (entry[name]['std'] or 0):.1f}" for name in SHOWN)
        seconds = entry["seconds"]["mean"]
        print(f"{entry['method']:<15}" + "".join(f"{cell:>13}" for cell in cells) + f"{seconds:>8.2f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Accuracy on real CLIP features.")
    parser.add_argument(
        "--quick", action="store_true", help="WHU-RS19 (single prompt) and Caltech-54, one shape, 2 seeds"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ULFINE_SHARED_DATA", "../shared/data")))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--files", default="", help="only the sources whose name contains this")
    arguments = parser.parse_args()
    if not (arguments.data / "clip-features").is_dir():
        print(f"skipped: no clip-features in {arguments.data}; pass --data DIR")
        return 0
    sources = [source for source in SOURCES if arguments.files in source.name]
    shapes, seeds, methods = SHAPES, arguments.seeds, arguments.methods
    if arguments.quick:
        sources, shapes, seeds = [SOURCES[0], SOURCES[4]], ("reversed",), 2
        methods = "zero-shot,lp,lp-la,lft,lift,ulfine"
    tasks: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        for source in sources:
            for shape in shapes:
                task = f"{source.name}, head {source.labelled_max}, imbalance {source.imbalance:g}, {shape}"
                tasks[task] = run_task(Path(folder), arguments.data, source, shape, methods, seeds)
                show(task, tasks[task])
    bars = bars_of(tasks)
    print()
    for bar in bars:
        verdict = "holds" if bar["holds"] else "FAILS"
        print(f"{verdict}  {bar['name']}: {100 * bar['value']:+.1f} (bar {100 * bar['bar']:+.1f})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"tasks": tasks, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
