"""The report of a small run and of a large one: how large it is, what it takes, and whether it is the same twice.

    python benchmarks/report.py [--quick] [--json FILE]

A small run is the quickstart's: 833 rows of handwritten digits in 10 classes. A large one has 100 classes and 20,000
pictures of 160 x 120 (2,000 with --quick), made of coloured blocks and noise, which no thumbnail compresses well, and
features of `builtin:tiny`. What is timed runs in a process that has loaded torch already, as that of `ulfine fit` has.
Seconds are those of the processor, which other work on the machine leaves alone; those by the clock stand beside them.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch  # noqa: F401
from PIL import Image

from ulfine_cache.progress import Silent
from ulfine_cache.splits import make_split
from ulfine_cache.stage_one import cache_features
from ulfine_exports.quickstart import SPLIT, draw, prepare
from ulfine_exports.reporting.written import write_run_report
from ulfine_fast.fitting import fit

MEGABYTES, SECONDS = 5.0, 3.0


def small_run(folder: Path) -> Path:
    prepare(folder, Silent())
    draw(folder, Silent())
    return fit(cache=folder / "cache", out=folder / "run", split=SPLIT).path


def large_run(folder: Path, rows: int, classes: int = 100) -> Path:
    """A cache of `builtin:tiny` on made pictures."""
    generator = np.random.default_rng(0)
    means = generator.integers(0, 256, (classes, 6, 8, 3))
    for row in range(rows):
        label = row % classes
        place = folder / "photos" / f"class {label:03d}"
        place.mkdir(parents=True, exist_ok=True)
        blocks = np.clip(means[label] + generator.normal(0, 60, (6, 8, 3)), 0, 255).astype(np.uint8)
        picture = np.kron(blocks, np.ones((20, 20, 1), np.uint8))
        noise = generator.integers(-25, 26, picture.shape)
        Image.fromarray(np.clip(picture + noise, 0, 255).astype(np.uint8)).save(place / f"{row:05d}.jpg", quality=90)
    cache_features(source=folder / "photos", out=folder / "cache", model="builtin:tiny", index="none")
    per_class = rows // classes
    make_split(
        cache=folder / "cache",
        name="lt",
        labelled_max=per_class // 4,
        imbalance=5,
        unlabelled_max=per_class // 2,
        test_per_class=per_class // 5,
    )
    return fit(cache=folder / "cache", out=folder / "run", split="lt").path


def measure(run: Path) -> dict[str, float | bool]:
    """Twice; the second time, when everything is loaded, is that of a program which writes several."""
    busy, clock, pages = [], [], []
    for number in range(2):
        started = time.process_time(), time.perf_counter()
        out = run.parent / f"{number}.html"
        write_run_report(run, out, map="pca")
        busy.append(time.process_time() - started[0])
        clock.append(time.perf_counter() - started[1])
        pages.append(out.read_bytes())
    return {
        "megabytes": len(pages[0]) / 1e6,
        "cpu_seconds": busy[0],
        "cpu_seconds_again": busy[1],
        "seconds": clock[0],
        "same_bytes": pages[0] == pages[1],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Size, time and bytes of the report.")
    parser.add_argument("--quick", action="store_true", help="2,000 pictures instead of 20,000")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    rows = 2_000 if arguments.quick else 20_000
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "small").mkdir()
        (Path(folder) / "large").mkdir()
        figures = {
            "quickstart": measure(small_run(Path(folder) / "small")),
            f"100 classes, {rows} rows": measure(large_run(Path(folder) / "large", rows)),
        }
    small, large = figures.values()
    bars = [
        {
            "name": "large report, MB",
            "value": large["megabytes"],
            "bar": MEGABYTES,
            "holds": large["megabytes"] < MEGABYTES,
        },
        {
            "name": "quickstart's report, s",
            "value": small["cpu_seconds"],
            "bar": SECONDS,
            "holds": small["cpu_seconds"] < SECONDS,
        },
        *(
            {"name": f"{name}: same bytes", "value": found["same_bytes"], "bar": True, "holds": found["same_bytes"]}
            for name, found in figures.items()
        ),
    ]
    for name, found in figures.items():
        print(
            f"{name}: {found['megabytes']:.2f} MB, {found['cpu_seconds']:.1f} s of the processor, "
            f"{found['cpu_seconds_again']:.1f} s again ({found['seconds']:.1f} s by the clock), "
            f"same bytes: {found['same_bytes']}"
        )
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']:.3g} (bar {bar['bar']:.3g})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
