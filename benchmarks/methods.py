"""How long does each method take? Seconds of the processor for a whole fit, its own search included, at four sizes.

    python benchmarks/methods.py [--quick] [--json FILE] [--data DIR] [--methods a,b,c] [--repeats K]

Real CLIP features (`--data`, or the environment variable ULFINE_SHARED_DATA, else ../shared/data), from 38 to 4,000
rows. Every method is fitted with its defaults on the same rows, after one fit that is not counted; the fastest of
`--repeats` counts. Figures are ratios to `lp-la` in the same run, in seconds of the processor, so that other work on
the machine does not count; set OMP_NUM_THREADS=1, or threads that wait for one another count as well.
"""

import argparse
import json
import os
from pathlib import Path

from regimes import NEED_TEXT, Cell, Regime, draw, judged, read

from ulfine_fast.registry import METHODS

SIZES = (
    Cell("whurs19_vit-b-32", Regime(2, 1, "as labelled"), text=True),
    Cell("dtd_vit-b-32", Regime(16, 16, "as labelled"), text=False),
    Cell("whurs19_rn50", Regime(16, 4, "many"), text=True),
    Cell("ucf101_vit-b-32", Regime(16, 4, "many"), text=False),
)
MOST = 5.0
"""Times `lp-la`."""


def main() -> int:
    parser = argparse.ArgumentParser(description="How long does each method take?")
    parser.add_argument("--quick", action="store_true", help="the two smaller sizes, once")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ULFINE_SHARED_DATA", "../shared/data")))
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(METHODS))
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if not (arguments.data / "clip-features").is_dir():
        print(f"skipped: no clip-features in {arguments.data}; pass --data DIR")
        return 0
    sizes = SIZES[:2] if arguments.quick else SIZES
    repeats = 1 if arguments.quick else arguments.repeats
    methods = list(dict.fromkeys(["lp-la", *arguments.methods]))
    seconds: dict[str, dict[str, float]] = {}
    for cell in sizes:
        drawn = draw(read(arguments.data, cell.file), cell, 0, "test")
        data = drawn.data
        rows = f"{len(data.labels)} labelled and {len(data.unlabelled)} unlabelled rows"
        print(f"\n{cell}: {rows}, {data.n_classes} classes")
        for method in methods:
            if not cell.text and method in NEED_TEXT:
                continue
            judged(method, drawn, 0)
            fastest = min(judged(method, drawn, seed)["seconds"] for seed in range(repeats))
            seconds.setdefault(method, {})[str(cell)] = fastest
            print(
                f"    {method:<16}{fastest:8.2f} s{fastest / seconds['lp-la'][str(cell)]:8.1f} times lp-la", flush=True
            )
    bars = []
    for method in methods[1:]:
        ratios = {size: value / seconds["lp-la"][size] for size, value in seconds[method].items()}
        slowest = max(ratios.values())
        bars.append(
            {"name": f"{method} at most so many times lp-la", "value": slowest, "bar": MOST, "holds": slowest <= MOST}
        )
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']:.1f} (bar {bar['bar']:g})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"seconds": seconds, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
