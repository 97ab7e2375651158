"""The index that `--index auto` builds over 1,000,000 x 512 vectors, against exact search.

    python benchmarks/index.py [--quick] [--json FILE] [--folder DIR] [--data clustered,iid] [--millions 1,2,5]

The vectors are written as shards and indexed as `ulfine cache-features` does it. Two kinds:

- clustered: what CLIP features look like, but harder. A cone around one direction (mean cosine 0.56; OpenAI ViT-B/32
  on photographs: 0.53 to 0.68), the falling spectrum of such features, 10,000 clusters of unequal size and width. The
  local dimension (maximum likelihood over 20 neighbours) is above 20, that of the real features between 10 and 16.
- iid: independent Gaussian directions. All neighbours are about equally far, no index can do anything, and `auto` has
  to notice.

Recall and times are measured with 1,000 fresh queries that are not in the cache. Exact search is `faiss.knn` over
float32 in memory, which is what IndexFlatIP runs; both search with as many threads as FAISS takes. `--quick`: 250,000
vectors, and the bar is to be faster at all. About 5 GB of memory and 4 GB on the disk, under DIR (else the temporary
folder).

`--millions 1,2,5` builds the index that is merged from parts over so many million clustered vectors, one size after the
other, and says what a million takes of time, memory and disk. Its exact search is over the shards, block by block, and
its times leave the reading out. 1.2 GB on the disk a million; with `--quick` sizes are tenths of a million, and the bar
is recall alone.
"""

import argparse
import contextlib
import functools
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

WIDTH, BLOCK, QUERIES, SINGLE_QUERIES = 512, 8192, 1000, 100


class Clustered:
    """Unit vectors with the spectrum of CLIP features, in 10,000 clusters."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        place = np.arange(WIDTH)
        spectrum = 1 / (place + 2) / (1 + place / 130)
        self.scale = np.sqrt(spectrum / spectrum.sum()).astype(np.float32)
        self.turn = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0].astype(np.float32)
        self.centres = rng.standard_normal((10_000, WIDTH), np.float32) * self.scale
        self.width = rng.lognormal(-0.045, 0.3, len(self.centres)).astype(np.float32)
        share = rng.lognormal(0, 1, len(self.centres))
        self.share = share / share.sum()
        mean = rng.normal(size=WIDTH)
        self.mean = (0.75 * mean / np.linalg.norm(mean)).astype(np.float32)

    def block(self, number: int, rows: int) -> np.ndarray:
        rng = np.random.default_rng([1, number])
        cluster = rng.choice(len(self.share), rows, p=self.share)
        noise = rng.standard_normal((rows, WIDTH), np.float32) * self.scale * self.width[cluster, None]
        around = np.sqrt(0.65) * self.centres[cluster] + np.sqrt(0.35) * noise
        return unit(self.mean + np.float32(np.sqrt(1 - 0.75**2)) * (around @ self.turn))


class Iid:
    """Independent Gaussian directions."""

    def block(self, number: int, rows: int) -> np.ndarray:
        return unit(np.random.default_rng([2, number]).standard_normal((rows, WIDTH), np.float32))


VECTORS = {"clustered": Clustered, "iid": Iid}


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def write_shards(folder: Path, vectors, rows: int) -> list[Path]:
    from ulfine_cache.store.shards import Shard, shard_path, write_shard

    (folder / "shards").mkdir(parents=True)
    paths = []
    for number, start in enumerate(range(0, rows, BLOCK)):
        count = min(BLOCK, rows - start)
        names = [f"{row:07d}.jpg" for row in range(start, start + count)]
        features = vectors.block(number, count).astype(np.float16)[:, None]
        paths.append(shard_path(folder, number))
        write_shard(paths[-1], Shard(features, np.zeros(count, np.int64), names, [""] * count, [""] * count))
    return paths


def measure(folder: Path, name: str, rows: int, merged: bool = False) -> dict:
    """One kind of vectors, in a process of its own, so that its peak of memory is its own."""
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.progress import Silent
    from ulfine_cache.search.index import index_cache, read_index
    from ulfine_cache.store.cache_file import CacheContent, write_cache_file
    from ulfine_cache.store.layout import INDEX_FILE

    vectors = VECTORS[name]()
    shards = write_shards(folder, vectors, rows)
    before = peak_bytes()
    started, cpu = time.perf_counter(), time.process_time()
    with stages(merged) as by_stage:
        report = index_cache(folder, shards, merged_kind(rows) if merged else "auto", progress=Silent())
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = peak_bytes()
    content = CacheContent(["none"], {"model": "synthetic", **report.attributes()})
    write_cache_file(folder, shards, content, progress=Silent())
    queries = vectors.block(10**6, QUERIES)
    index = read_index(FeatureCache.open(folder))
    ours, found = time_search(lambda wanted: index.search(wanted, 10)[1], queries)
    exact, true = time_blocks(shards, queries) if merged else time_search(exact_search(shards, rows), queries)
    return {
        "rows": rows,
        "kind": report.kind,
        "threads": threads(),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "cpu_seconds_by_stage": by_stage,
        "peak_bytes": peak,
        "peak_bytes_before": before,
        "file_bytes": (folder / INDEX_FILE).stat().st_size,
        "recall_at_10": float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, true, strict=True)])),
        "ms_per_query": ours,
        "exact_ms_per_query": exact,
        "speed_up": {way: exact[way] / ours[way] for way in ours},
        "recorded": report.quality,
    }


def merged_kind(rows: int) -> str:
    """What `auto` takes where it holds no vectors of its own."""
    from ulfine_cache.search import index_choice

    index_choice._OWN_VECTORS_BYTES = 0
    return index_choice.auto_kind(max(rows, index_choice.EXACT_ROWS + 1), WIDTH)


@contextlib.contextmanager
def stages(merged: bool):
    """Processor time of the stages of a merged build: it means something on a busy machine, too."""
    from ulfine_cache.search import merged_index
    from ulfine_cache.search.index_builder import IndexBuilder
    from ulfine_cache.search.parts import Parts

    spent: dict[str, float] = {}

    def timed(name: str, function):
        @functools.wraps(function)
        def call(*arguments, **named):
            started = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                spent[name] = spent.get(name, 0.0) + time.process_time() - started

        return call

    places = [
        ("train", IndexBuilder, "trained"),
        ("train and fill", Parts, "fill"),
        ("sample", merged_index, "draw_sample"),
        ("merge", merged_index, "write_merged"),
        ("tune", merged_index, "tune"),
    ]
    before = [getattr(place, name) for _, place, name in places]
    for (stage, place, name), function in zip(places, before, strict=True):
        setattr(place, name, timed(stage, function) if merged else function)
    yield spent
    for (_, place, name), function in zip(places, before, strict=True):
        setattr(place, name, function)


def threads() -> int:
    import faiss

    return faiss.omp_get_max_threads()


def time_blocks(shards: list[Path], queries: np.ndarray) -> tuple[dict, np.ndarray]:
    """As `time_search` of exact search, without a copy of all rows in memory."""
    from ulfine_cache.search.exact_search import ExactSearch, unit_blocks

    searches = {"single": ExactSearch(queries[:1], 10), "batched": ExactSearch(queries, 10)}
    seconds = dict.fromkeys(searches, 0.0)
    for block in unit_blocks(shards):
        for way, search in searches.items():
            started = time.perf_counter()
            search.add(block)
            seconds[way] += time.perf_counter() - started
    times = {"single": 1e3 * seconds["single"], "batched": 1e3 * seconds["batched"] / len(queries)}
    return times, searches["batched"].found()[1]


def exact_search(shards: list[Path], rows: int):
    import faiss

    from ulfine_cache.search.exact_search import unit_blocks

    features = np.empty((rows, WIDTH), np.float32)
    start = 0
    for block in unit_blocks(shards):
        features[start : start + len(block)] = block
        start += len(block)
    return lambda wanted: faiss.knn(wanted, features, 10, metric=faiss.METRIC_INNER_PRODUCT)[1]


def time_search(search, queries: np.ndarray) -> tuple[dict, np.ndarray]:
    """Milliseconds per query, one at a time (median) and all at once, and the rows that were found."""
    search(queries[:1])  # the first call opens what is read lazily
    singles = []
    for query in queries[:SINGLE_QUERIES]:
        started = time.perf_counter()
        search(query[None])
        singles.append(time.perf_counter() - started)
    started = time.perf_counter()
    found = search(queries)
    batched = (time.perf_counter() - started) / len(queries)
    return {"single": 1e3 * float(np.median(singles)), "batched": 1e3 * batched}, found


def peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def show_millions(sizes: list[dict]) -> None:
    """What a million rows take, size by size."""
    print("\nmillions  processor seconds: train  fill/M  sample/M  merge/M  tune | all/M", end="")
    print("  extra memory GB  file GB/M  recall@10  ms single  ms batched")
    for figures in sizes:
        millions, spent, ours = figures["rows"] / 1e6, figures["cpu_seconds_by_stage"], figures["ms_per_query"]
        fill = (spent["train and fill"] - spent["train"]) / millions
        extra = (figures["peak_bytes"] - figures["peak_bytes_before"]) / 1e9
        print(
            f"{millions:8.2f} {spent['train']:25.1f} {fill:7.1f} {spent['sample'] / millions:9.1f}"
            f" {spent['merge'] / millions:8.2f} {spent['tune']:5.1f} | {figures['cpu_seconds'] / millions:5.1f}"
            f" {extra:16.2f} {figures['file_bytes'] / 1e9 / millions:10.3f} {figures['recall_at_10']:10.4f}"
            f" {ours['single']:10.2f} {ours['batched']:11.3f}"
        )


def bars_of(tasks: dict[str, dict], *, quick: bool) -> list[dict]:
    """Recall and memory on all vectors; speed where there is something to find."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    bars = []
    for name, figures in tasks.items():
        value = figures["recall_at_10"]
        bars.append({"name": f"{name}: recall@10", "value": value, "bar": 0.95, "holds": value >= 0.95})
        value = figures["peak_bytes"] / memory
        bars.append({"name": f"{name}: peak memory / machine's", "value": value, "bar": 1.0, "holds": value < 1.0})
        if name == "iid" or (quick and "candidates" in figures["recorded"]):
            continue
        for way, value in figures["speed_up"].items():
            bar = 1.0 if quick else 10.0
            name_of = f"{name}: times faster than exact search, {way}"
            bars.append({"name": name_of, "value": value, "bar": bar, "holds": value >= bar})
    return bars


def show(name: str, figures: dict) -> None:
    ours, exact = figures["ms_per_query"], figures["exact_ms_per_query"]
    print(f"\n{name}, {figures['rows']} x {WIDTH}: {figures['kind']}")
    print(f"  built in {figures['seconds']:.0f} s, peak memory {figures['peak_bytes'] / 1e9:.2f} GB", end="")
    print(f" ({figures['peak_bytes_before'] / 1e9:.2f} before), file {figures['file_bytes'] / 1e9:.2f} GB")
    print(f"  recall@10 {figures['recall_at_10']:.4f} (recorded in the cache: {figures['recorded']['recall_at_10']})")
    for way in ours:
        print(f"  ms per query, {way}: {ours[way]:.3f}, exact {exact[way]:.3f} ({figures['speed_up'][way]:.1f} times)")
    print(end="", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="The index of --index auto against exact search.")
    parser.add_argument("--quick", action="store_true", help="250,000 vectors instead of 1,000,000")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--folder", type=Path, help="where the shards are written and removed again")
    parser.add_argument("--data", default=",".join(VECTORS), help="which vectors: clustered, iid or both")
    parser.add_argument("--millions", help="sizes of the index that is merged from parts, such as 1,2,5")
    arguments = parser.parse_args()
    tasks: dict[str, dict] = {}
    wanted = [(name, name, 250_000 if arguments.quick else 1_000_000, False) for name in arguments.data.split(",")]
    if arguments.millions:
        sizes = [int(float(size) * (10**5 if arguments.quick else 10**6)) for size in arguments.millions.split(",")]
        wanted = [(f"merged, {rows}", "clustered", rows, True) for rows in sizes]
    spawn = multiprocessing.get_context("spawn")
    for name, vectors, rows, merged in wanted:
        with (
            tempfile.TemporaryDirectory(dir=arguments.folder) as folder,
            ProcessPoolExecutor(1, mp_context=spawn) as process,
        ):
            tasks[name] = process.submit(measure, Path(folder) / "cache", vectors, rows, merged).result()
        show(name, tasks[name])
    if arguments.millions:
        show_millions(list(tasks.values()))
    bars = bars_of(tasks, quick=arguments.quick)
    print()
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']:.3f} (bar {bar['bar']})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"tasks": tasks, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
