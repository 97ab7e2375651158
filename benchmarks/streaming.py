"""Fits on unlabelled rows that memory does not hold: memory, time a row, and accuracy against rows in memory.

    python benchmarks/streaming.py [--quick] [--json FILE] [--folder DIR] [--memory 2GB] [--rows 500000,5000000]

Two caches of synthetic features, 500,000 x 512 and 5,000,000 x 512 in float16 (0.5 and 5.2 GB of shards), 100 classes
in a long tail (imbalance 100), 5,000 rows labelled, 10,000 test rows, all others unlabelled. The features have a common
mean and a falling spectrum within classes and between them, as CLIP's have; five of six test rows can be told right.
`ulfine fit --memory` runs in a process of its own on each; its peak of resident memory is what the system says of that
process. Before each fit the system is asked to forget the shards, so that they come from the disk. Time a
row is the time of the fit (the run's own `seconds`, without start and judgement) over the unlabelled rows.

The smaller set also fits in memory: there the runs with and without streaming have to agree. `--quick`: 200,000 and
500,000 rows. `--rows` takes two other sizes; runs in memory are left out where the smaller one is above a million. What
50 million rows would take is drawn through the two sizes as a line.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

WIDTH, CLASSES, BLOCK = 512, 100, 8192
LABELLED, TEST = 5_000, 10_000
MOST_IN_MEMORY, PROJECTED = 1_000_000, 50_000_000
# The command line as the package installs it, of the interpreter that runs this file.
ULFINE = [sys.executable, "-c", "from ulfine_cli.main import main; raise SystemExit(main())"]


def write_cache(folder: Path, rows: int) -> None:
    """Shards and the view over them, by the cache's own functions. In a process of its own: its memory is not ours."""
    import numpy as np

    from ulfine_cache.progress import Silent
    from ulfine_cache.store.cache_file import CacheContent, TextPrototypes, write_cache_file
    from ulfine_cache.store.shards import Shard, shard_path, write_shard

    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0]

    def factor(rank: int, variance: float) -> np.ndarray:
        spectrum = 1 / np.arange(1, rank + 1)
        return np.sqrt(variance * spectrum / spectrum.sum())[:, None] * axes[:rank]

    within, between = factor(WIDTH, 0.22).astype(np.float32), factor(14, 0.2)
    mean = rng.normal(size=WIDTH)
    centres = 0.76 * mean / np.linalg.norm(mean) + rng.normal(size=(CLASSES, 14)) @ between
    text = centres + 0.5 * rng.normal(size=(CLASSES, 14)) @ between
    share = 100.0 ** -(np.arange(CLASSES) / (CLASSES - 1))
    number = rng.permutation(rows)  # the first are labelled, the next test rows
    (folder / "shards").mkdir(parents=True)
    paths = []
    for start in range(0, rows, BLOCK):
        own = number[start : start + BLOCK]
        block = np.random.default_rng([1, start])
        truth = block.choice(CLASSES, len(own), p=share / share.sum())
        # Test rows are balanced.
        truth = np.where((own >= LABELLED) & (own < LABELLED + TEST), own % CLASSES, truth)
        truth = np.where(own < CLASSES, own, truth)  # every class has a labelled row
        noise = block.standard_normal((len(own), WIDTH), np.float32) @ within
        features = centres[truth].astype(np.float32) + noise
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        labels = np.where(own < LABELLED + TEST, truth, -1)
        sets = ["test" if LABELLED <= row < LABELLED + TEST else "train" for row in own]
        names = [f"{row:07d}.jpg" for row in range(start, start + len(own))]
        paths.append(shard_path(folder, len(paths)))
        write_shard(paths[-1], Shard(features.astype(np.float16)[:, None], labels, names, sets, names))
    text = (text / np.linalg.norm(text, axis=1, keepdims=True)).astype(np.float32)
    content = CacheContent([f"class {k}" for k in range(CLASSES)], {"model": "synthetic"}, TextPrototypes(text))
    write_cache_file(folder, paths, content, progress=Silent())


def forget(cache: Path) -> None:
    """Ask the system to drop the shards from its own memory."""
    if hasattr(os, "posix_fadvise"):
        for path in (cache / "shards").iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def fit(cache: Path, out: Path, memory: str) -> dict:
    """`ulfine fit` in a process of its own."""
    forget(cache)
    command = [*ULFINE, "fit", str(cache), "--out", str(out), "--memory", memory, "--overwrite"]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([str(part) for part in command], stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - started
        said.seek(0)
        words = said.read()
    if process.returncode:
        raise SystemExit(words)
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return {
        "memory": memory,
        "streamed": "stay on the disk" in words,
        "peak_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "seconds": metrics["seconds"],
        "seconds_of_the_command": round(wall, 2),
        "macro_accuracy": metrics["macro_accuracy"],
        "tail_accuracy": metrics["tail_accuracy"],
    }


def measure(folder: Path, sizes: tuple[int, int], memory: str) -> dict:
    figures: dict = {"cores": os.cpu_count(), "memory": memory}
    spawn = multiprocessing.get_context("spawn")
    for name, rows in zip(("small", "large"), sizes, strict=True):
        cache = folder / name
        started = time.perf_counter()
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            process.submit(write_cache, cache, rows).result()
        written = time.perf_counter() - started
        figures[name] = {"rows": rows, "unlabelled": rows - LABELLED - TEST, "seconds_to_write": round(written, 1)}
        figures[name] |= fit(cache, folder / f"{name}-run", memory)
        figures[name]["microseconds_a_row"] = 1e6 * figures[name]["seconds"] / figures[name]["unlabelled"]
        show(figures[name])
        if name == "large":
            # Nobody else may have the room on the disk.
            shutil.rmtree(cache)
        elif sizes[0] <= MOST_IN_MEMORY:
            figures["in memory"] = fit(cache, folder / "loaded-run", "1TB")
            models = [folder / run / "model.safetensors" for run in ("small-run", "loaded-run")]
            figures["in memory"]["same_model"] = models[0].read_bytes() == models[1].read_bytes()
            show(figures["in memory"])
    figures["projected"] = projected(figures["small"], figures["large"])
    print(f"{PROJECTED:,} rows by the line through both: fit {figures['projected']['seconds'] / 60:.0f} minutes")
    return figures


def projected(small: dict, large: dict) -> dict:
    """Seconds of a fit on 50 million rows, by the line through two sizes."""
    slope = (large["seconds"] - small["seconds"]) / (large["rows"] - small["rows"])
    start = small["seconds"] - slope * small["rows"]
    return {"rows": PROJECTED, "seconds": round(start + slope * PROJECTED, 1), "microseconds_a_row": 1e6 * slope}


def show(entry: dict) -> None:
    size = f"{entry['rows']:,} rows, " if "rows" in entry else ""
    way = "streamed" if entry["streamed"] else "in memory"
    print(
        f"{size}{way}, --memory {entry['memory']}: fit {entry['seconds']:.1f} s, command "
        f"{entry['seconds_of_the_command']:.1f} s, peak {entry['peak_bytes'] / 1e9:.2f} GB, macro accuracy "
        f"{100 * entry['macro_accuracy']:.2f} %, tail {100 * entry['tail_accuracy']:.2f} %",
        flush=True,
    )


def bars_of(figures: dict) -> list[dict]:
    from ulfine_fast.rows.memory_bound import memory_bound

    small, large, loaded = figures["small"], figures["large"], figures.get("in memory")
    bound = memory_bound(figures["memory"])
    both = small["streamed"] and large["streamed"] and not (loaded and loaded["streamed"])
    wanted = [
        ("peak memory of the large fit / bound", large["peak_bytes"] / bound.bytes, 1.0),
        ("peak memory of the small fit / bound", small["peak_bytes"] / bound.bytes, 1.0),
        ("time a row, large / small", large["microseconds_a_row"] / small["microseconds_a_row"], 1.3),
    ]
    for name in ("macro", "tail") if loaded else ():
        apart = abs(loaded[f"{name}_accuracy"] - small[f"{name}_accuracy"])
        wanted.append((f"{name} accuracy, in memory - streamed", apart, 1e-4))
    return [
        {"name": name, "value": round(value, 4), "bar": bar, "holds": bool(both and value <= bar)}
        for name, value, bar in wanted
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Fits on unlabelled rows that memory does not hold.")
    parser.add_argument(
        "--quick", action="store_true", help="100,000 and 500,000 rows instead of 500,000 and 5,000,000"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--folder", type=Path, help="where the caches are written and removed again")
    parser.add_argument("--memory", help="the bound, else 2GB (quick: 1.3GB)")
    parser.add_argument("--rows", help="two sizes instead, such as 2000000,5000000")
    arguments = parser.parse_args()
    sizes, memory = ((200_000, 500_000), "1.3GB") if arguments.quick else ((500_000, 5_000_000), "2GB")
    if arguments.rows:
        few, many = (int(rows) for rows in arguments.rows.split(","))
        sizes = (few, many)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        figures = measure(Path(folder), sizes, arguments.memory or memory)
    bars = bars_of(figures)
    print()
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']:.4f} (bar {bar['bar']:g})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
