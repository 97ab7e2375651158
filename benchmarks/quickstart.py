"""The claim of `ulfine quickstart` over several seeds: is `ulfine` ahead of `lp` and of `zero-shot`?

The quickstart shows one draw of its long-tailed split; here the same protocol is drawn with 5 seeds (2 with --quick),
every method is fitted on the same draws, and the mean decides. Nothing here is timed.

    python benchmarks/quickstart.py [--quick] [--json FILE]
"""

import argparse
import json
import tempfile
from pathlib import Path

from ulfine_cache.progress import Silent
from ulfine_exports.quickstart import SPLIT, draw, prepare
from ulfine_fast.compare import compare
from ulfine_fast.registry import METHODS

RIVALS = tuple(name for name in ("zero-shot", "lp", "lp-la") if name in METHODS)
SHOWN = ("macro_accuracy", "head_accuracy", "medium_accuracy", "tail_accuracy")


def measure(folder: Path, seeds: int) -> dict:
    prepare(folder, Silent())
    draw(folder, Silent())
    return compare(cache=folder / "cache", split=SPLIT, methods=",".join((*RIVALS, "ulfine")), seeds=seeds)


def bars_of(figures: dict) -> list[dict]:
    """`ulfine` must be ahead of each rival on macro and on tail accuracy, in the mean over the seeds."""
    methods = {entry["method"]: entry for entry in figures["methods"]}
    bars = []
    for rival in RIVALS:
        for name in ("macro_accuracy", "tail_accuracy"):
            lead = methods["ulfine"][name]["mean"] - methods[rival][name]["mean"]
            bars.append({"name": f"ulfine ahead of {rival}, {name}", "value": lead, "bar": "> 0", "holds": lead > 0})
    return bars


def main() -> int:
    parser = argparse.ArgumentParser(description="Is ulfine ahead of lp and of zero-shot?")
    parser.add_argument("--quick", action="store_true", help="2 seeds instead of 5")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), 2 if arguments.quick else 5)
    bars = bars_of(figures)
    print(f"scikit-learn's digits, builtin:tiny, {figures['protocol']}, seeds {figures['seeds']}, %")
    print(f"{'method':<10}" + "".join(f"{name.removesuffix('_accuracy'):>14}" for name in SHOWN))
    for entry in figures["methods"]:
        cells = (f"{100 * entry[name]['mean']:.1f} ± {100 * entry[name]['std']:.1f}" for name in SHOWN)
        print(f"{entry['method']:<10}" + "".join(f"{cell:>14}" for cell in cells))
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {100 * bar['value']:+.1f} points")
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
