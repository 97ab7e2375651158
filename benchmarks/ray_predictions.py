"""Predictions in parts, made here and by Ray workers, some of which are killed: a topic of `scale_out.py`."""

import argparse
import hashlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from inference import fitted_run

ROOT = Path(__file__).resolve().parents[1]
WORKER = "PartWorker"


def command(model: Path, source: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(str(ROOT / part) for part in ("", "cli", "cache", "exports"))
    call = [sys.executable, "-m", "ulfine_cli.main", "predict", str(model), str(source), "--out", str(out), "--quiet"]
    asked = ["--part-size", "7", "--batch-size", "4", *options]
    return subprocess.Popen([*call, *asked], env=os.environ | {"PYTHONPATH": path})


def digest(folder: Path) -> str:
    """One SHA-256 over those of all files."""
    names = sorted(path.name for path in folder.iterdir() if path.name != ".lock")
    lines = (f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            found += [child] if WORKER in " ".join(child.cmdline()) else []
        except psutil.Error:
            continue
    return found


def predictions(folder: Path, arguments: argparse.Namespace) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Identity of an exported file's and of a run's parts, then kills of workers and of the command."""
    from scale_out import bar, pictures

    from ulfine_exports.export import export_onnx

    times = 2 if arguments.quick else arguments.kills
    photos = pictures(folder / "photos", 140 * times, (96, 72))
    (photos / "class0" / "broken.jpg").write_bytes(b"broken")
    run = fitted_run(folder, "builtin:tiny", 4)
    model = Path(export_onnx(run=run, onnx=folder / "model.onnx", input="pixels")["onnx"])
    ray = ("--engine", "ray", "--cpus-per-worker", "1")
    figures: dict[str, Any] = {}
    bars = []
    for kind, place in (("file", model), ("run", run)):
        for engine, options in (("local", ()), ("ray", ray)):
            if command(place, photos, folder / f"{kind}-{engine}", *options).wait():
                raise SystemExit(f"predict failed on {engine}")
        found = {engine: digest(folder / f"{kind}-{engine}") for engine in ("local", "ray")}
        figures[kind] = found
        same = len(set(found.values()))
        bars.append(bar(f"kinds of bytes of the parts of a {kind} from local and ray", same, 1, same == 1))
    wanted, chosen = figures["file"]["local"], random.Random(7)
    count = -(-(140 * times + 1) // 7)
    for what in ("worker", "driver"):
        out = folder / what
        driver, killed, started = command(model, photos, out, *ray), 0, time.monotonic()
        while killed < times and driver.poll() is None:
            here = len(list(out.glob("part-*.parquet")))
            target = here + chosen.randrange(1, max(2, (count - here) // (times - killed + 1)))
            while len(list(out.glob("part-*.parquet"))) < target and driver.poll() is None:
                time.sleep(0.005)
            time.sleep(chosen.uniform(0, 0.05))
            if driver.poll() is not None:
                break
            if what == "driver":
                driver.kill()
                driver.wait()
                driver = command(model, photos, out, *ray)
                killed += 1
            elif workers := workers_of(driver):
                chosen.choice(workers).kill()
                killed += 1
        same = driver.wait() == 0 and digest(out) == wanted
        figures[what] = {"killed": killed, "seconds": round(time.monotonic() - started, 1)}
        bars.append(bar(f"predict: {what} killed {killed} times of {times}, and the parts are the same", same, 1, same))
    return figures, bars
