"""Stage one on several processes and machines: the same bytes, how fast, and whoever is killed.

    python benchmarks/scale_out.py [--quick] [--json FILE] [--only TOPIC,...] [--images N] [--photographs N] [--kills N]

Topics, each of which can be run alone:

- identity: the SHA-256 of all shards, of `skipped.csv` and of the index, made by the local engine, by two Ray workers,
  and by four processes with `--shard-range` that are joined.
- rate: images per second of two local Ray workers of one core each, against the local engine on two cores, before and
  after it; ViT-B/32 with random weights at `--precision auto`, photographs from the shared data where there are any.
- scheduling: tiny images in many shards and a stand-in for the encoder, which costs nothing: the share of the time in
  which a worker has no shard, and the driver's memory after a fifth of the shards and at the end.
- objects: source and cache on a storage that throttles, is slow, cuts and loses, see `object_storage.py`.
- kills: a Ray cluster of a head and three machines on this one. A worker (which is one of Ray's actors), a machine or
  the driver is killed at random moments, ten times each; the cache must be complete, and the same, byte for byte.
- predictions: parts that `predict` makes here and on Ray, of a file and of a run, and then with workers and the command
  killed, see `ray_predictions.py`.

`--quick` runs less of each, without a verdict on rate and scheduling, of which so little tells nothing, and without
kills.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from object_storage import object_storage
from PIL import Image
from ray_predictions import predictions

ROOT = Path(__file__).resolve().parents[1]
MACHINES = ROOT / "tests" / "cache" / "encoding" / "engines" / "ray_machines.py"
QUICK_ASKED = ("--model", "builtin:tiny", "--precision", "fp32")
Bar = dict[str, Any]


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join(str(ROOT / part) for part in ("", "cli", "cache", "exports"))
    return os.environ | {"PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0", **more}


def stage_one(source: Path, out: Path, *options: str, **more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ulfine_cli.main", "cache-features", str(source), "--out", str(out), "--quiet"]
    return subprocess.Popen([*command, "--device", "cpu", *options], env=environment(**more))


def figures_of(source: Path, out: Path, *options: str) -> dict[str, Any]:
    figures = out.with_suffix(".json")
    if stage_one(source, out, "--json", str(figures), *options).wait():
        raise SystemExit(f"stage one failed on {source}")
    return json.loads(figures.read_text(encoding="utf-8"))


def pictures(folder: Path, count: int, size: tuple[int, int]) -> Path:
    generator = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"class{number % 4}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(generator.integers(0, 256, (size[1] // 4, size[0] // 4, 3), np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
    return folder


def digest(cache: Path) -> str:
    """One SHA-256 over those of all shards, of `skipped.csv` and of the index."""
    names = [*sorted(path.relative_to(cache) for path in (cache / "shards").iterdir()), "skipped.csv", "image.faiss"]
    lines = (f"{hashlib.sha256((cache / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def bar(name: str, value: float, limit: float, holds: bool) -> Bar:
    return {"name": name, "value": round(value, 4), "bar": limit, "holds": holds}


def identity(folder: Path, arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Bar]]:
    photos = pictures(folder / "photos", 60 if arguments.quick else 600, (96, 72))
    (photos / "class0" / "broken.jpg").write_bytes(b"broken")
    asked = (*QUICK_ASKED, "--shard-size", "7")
    figures_of(photos, folder / "local", *asked)
    figures_of(photos, folder / "ray", *asked, "--engine", "ray", "--cpus-per-worker", "1")
    ranges = [stage_one(photos, folder / "ranges", *asked, "--shard-range", f"{part}/4") for part in range(4)]
    if any(process.wait() for process in ranges):
        raise SystemExit("a range failed")
    joined = figures_of(photos, folder / "ranges", *asked)
    found = {name: digest(folder / name) for name in ("local", "ray", "ranges")}
    figures = {"sha256": found, "encoded while joining": joined["shards_encoded"]}
    same = len(set(found.values()))
    return figures, [bar("kinds of bytes from local, ray and ranges", same, 1, same == 1)]


def rate(folder: Path, arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Bar]]:
    import open_clip
    import torch
    from safetensors.torch import save_file

    count = 64 if arguments.quick else arguments.photographs
    shared = Path(os.environ.get("ULFINE_SHARED_DATA") or ROOT.parent / "shared" / "data") / "images" / "whurs19"
    photos = folder / "some" / "unlabelled"
    if shared.is_dir():
        found = sorted(path for path in shared.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
        photos.mkdir(parents=True)
        for number in range(count):
            path = found[number % len(found)]
            (photos / f"{number:05d}{path.suffix}").symlink_to(path.resolve())
    else:
        pictures(photos, count, (500, 375))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(open_clip.create_model("ViT-B-32").state_dict(), folder / "weights.safetensors")
    asked = ("--model", "ViT-B-32", "--pretrained", str(folder / "weights.safetensors"), "--index", "none")
    asked = (*asked, "--shard-size", str(max(16, count // 16)))
    rates: dict[str, float] = {}
    for name in ("local", "ray", "local again"):
        more = ("--engine", "ray", "--cpus-per-worker", "1") if name == "ray" else ()
        figures = figures_of(photos.parent, folder / name.replace(" ", "-"), *asked, *more)
        rates[name] = figures["images_per_second"]
    same = [file_digests(folder / name) for name in ("local", "ray", "local-again")]
    share = rates["ray"] / ((rates["local"] + rates["local again"]) / 2)
    told = {"images": count, "precision": figures["precision"], "images_per_second": rates}
    bars = [
        bar("two Ray workers, share of the local engine's rate", share, 0.85, share >= 0.85 or arguments.quick),
        bar("kinds of bytes of the shards of ViT-B/32", len(set(same)), 1, len(set(same)) == 1),
    ]
    return told, bars


def file_digests(cache: Path) -> str:
    return "".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((cache / "shards").iterdir()))


def scheduling(folder: Path, arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Bar]]:
    import torch

    from ulfine_cache.encoders.encoder import ClipEncoder
    from ulfine_cache.encoding.engines import shard_job
    from ulfine_cache.encoding.engines.ray_worker import ShardWorker
    from ulfine_cache.preprocess import Preprocess
    from ulfine_cache.stage_one import cache_features

    count = 2000 if arguments.quick else arguments.images
    shards = 100 if arguments.quick else 1000
    spans = folder / "spans"
    spans.mkdir()
    generator = np.random.default_rng(0)
    tiny = generator.integers(0, 256, (count, 8, 8, 3), np.uint8)
    np.savez(folder / "tiny.npz", train_images=tiny, train_labels=np.arange(count) % 10)
    del tiny

    class StandIn:
        """An encoder that costs nothing: eight numbers out of the first pixels."""

        model_name, pretrained, weights_hash, precision = "stand-in", "", "0" * 64, "fp32"
        has_text, n_features, encoded_again = False, 8, 0

        def __init__(self) -> None:
            self.device = torch.device("cpu")
            self.preprocess = Preprocess((8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bicubic", "shortest", 0)

        def encode_images(self, pixels: np.ndarray) -> np.ndarray:
            few = pixels.reshape(len(pixels), -1)[:, :8].astype(np.float32) + 1
            return few / np.linalg.norm(few, axis=1, keepdims=True)

        def recorded(self, views: str) -> dict[str, Any]:
            return {}

        def release(self) -> None:
            pass

    class Timed(ShardWorker):
        """A worker that writes down when it has a shard."""

        def __init__(self, *told: Any) -> None:
            super().__init__(*told)
            self.__dict__["_encoder"] = StandIn()

        def make(self, number: int, listing: str) -> dict[str, Any]:
            started = time.time()
            answer = super().make(number, listing)
            with (spans / str(os.getpid())).open("a") as file:
                file.write(f"{started} {time.time()}\n")
            return answer

    class Watch:
        """The driver's memory while it goes on."""

        def __init__(self) -> None:
            self.bytes: list[tuple[float, int]] = []

        def update(self, stage: str, done: int, total: int | None, **figures: float) -> None:
            if stage == "encoding" and total:
                self.bytes.append((done / total, psutil.Process().memory_info().rss))

        def note(self, message: str) -> None:
            pass

    watch = Watch()
    load, worker = ClipEncoder.load, shard_job.ShardWorker
    ClipEncoder.load = lambda *_, **__: StandIn()  # pyright: ignore
    shard_job.ShardWorker = Timed  # pyright: ignore
    try:
        figures = cache_features(
            source=folder / "tiny.npz",
            out=folder / "cache",
            device="cpu",
            precision="fp32",
            shard_size=count // shards,
            index="none",
            engine="ray",
            cpus_per_worker=1,
            progress=watch,
        )
    finally:
        ClipEncoder.load, shard_job.ShardWorker = load, worker
    idle = whole = 0.0
    for file in spans.iterdir():
        times = np.array([line.split() for line in file.read_text().splitlines()], float)
        idle += float((times[1:, 0] - times[:-1, 1]).sum())
        whole += float(times[-1, 1] - times[0, 0])
    first = next(size for done, size in watch.bytes if done >= 0.2)
    growth = watch.bytes[-1][1] / first - 1
    told = {
        "images": count,
        "shards": figures["shards"],
        "images_per_second": figures["images_per_second"],
        "driver_megabytes": {"after a fifth": first >> 20, "at the end": watch.bytes[-1][1] >> 20},
    }
    bars = [
        bar(
            "share of the time in which a worker has no shard", idle / whole, 0.1, arguments.quick or idle / whole < 0.1
        ),
        bar("growth of the driver's memory after a fifth of the shards", growth, 0.1, growth < 0.1),
    ]
    return told, bars


def kills(folder: Path, arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Bar]]:
    times, count = (2, 120) if arguments.quick else (arguments.kills, 60 * arguments.kills)
    photos = pictures(folder / "photos", count, (96, 72))
    asked = (*QUICK_ASKED, "--shard-size", "2")
    figures_of(photos, folder / "whole", *asked)
    wanted, chosen = digest(folder / "whole"), random.Random(7)
    figures: dict[str, Any] = {}
    bars: list[Bar] = []
    call = [sys.executable, str(MACHINES), "3"]
    where = environment(RAY_AUTH_MODE="disabled")
    with subprocess.Popen(call, env=where, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cluster:
        assert cluster.stdin and cluster.stdout
        address = cluster.stdout.readline().strip()
        for what in ("worker", "machine", "driver"):
            out = folder / what
            options = (*asked, "--engine", "ray", "--cpus-per-worker", "1", "--address", address)
            driver = stage_one(photos, out, *options, RAY_AUTH_MODE="disabled")
            started, killed, moments = time.monotonic(), 0, []
            while killed < times and driver.poll() is None:
                here = len(list((out / "shards").glob("*.h5")))
                target = here + chosen.randrange(1, max(2, (count // 2 - here) // (times - killed + 1)))
                while len(list((out / "shards").glob("*.h5"))) < target and driver.poll() is None:
                    time.sleep(0.01)
                time.sleep(chosen.uniform(0, 0.05))
                if driver.poll() is not None:
                    break
                if what == "driver":
                    driver.kill()
                    driver.wait()
                    driver = stage_one(photos, out, *options, RAY_AUTH_MODE="disabled")
                    killed += 1
                else:
                    cluster.stdin.write(f"{what}\n")
                    cluster.stdin.flush()
                    killed += cluster.stdout.readline().strip() != "-"
                moments.append(target)
            code = driver.wait()
            same = code == 0 and digest(out) == wanted
            figures[what] = {"killed": killed, "at shards": moments, "seconds": round(time.monotonic() - started, 1)}
            print(f"{what}: {figures[what]}, {'the same' if same else 'NOT the same'}", flush=True)
            bars.append(bar(f"{what} killed {killed} times of {times}, and the cache is the same", same, True, same))
        cluster.stdin.close()
    return figures, bars


TOPICS: dict[str, Callable[[Path, argparse.Namespace], tuple[dict[str, Any], list[Bar]]]] = {
    "identity": identity,
    "rate": rate,
    "scheduling": scheduling,
    "kills": kills,
    "objects": object_storage,
    "predictions": predictions,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Stage one on several processes and machines.")
    parser.add_argument("--quick", action="store_true", help="less of everything, and no kills unless --only asks")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--only", help=f"topics with commas between them: {', '.join(TOPICS)}")
    parser.add_argument("--images", type=int, default=1_000_000, help="tiny ones for the scheduling")
    parser.add_argument("--photographs", type=int, default=2000, help="for the rate")
    parser.add_argument("--kills", type=int, default=10, help="of each kind")
    arguments = parser.parse_args()
    topics = [name for name in TOPICS if not arguments.quick or name not in ("kills", "objects", "predictions")]
    if arguments.only:
        topics = arguments.only.split(",")
        if unknown := set(topics) - set(TOPICS):
            parser.error(f"no topic {', '.join(sorted(unknown))}: there are {', '.join(TOPICS)}")
    figures: dict[str, Any] = {}
    bars: list[Bar] = []
    for topic in topics:
        with tempfile.TemporaryDirectory() as folder:
            figures[topic], found = TOPICS[topic](Path(folder), arguments)
        bars += found
        print(f"{topic}: {json.dumps(figures[topic])}", flush=True)
        for one in found:
            verdict = "holds" if one["holds"] else "FAILS"
            print(f"{verdict}  {one['name']}: {one['value']} (bar {one['bar']})", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(one["holds"] for one in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
