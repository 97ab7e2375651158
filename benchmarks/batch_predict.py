"""`ulfine predict --out DIR` against the bare onnxruntime loop, and its memory on many images.

    python benchmarks/batch_predict.py [--quick] [--json FILE] [--folder DIR] [--model NAME] [--images 256]
                                       [--rounds 5] [--many 10000,100000]

Rate: an encoder with random weights (which cost what trained ones cost) is exported by `ulfine export --input pixels`;
photographs of 500 x 375 are classified in turns by the command's own loop, files to Parquet, and by the bare loop,
which only calls `InferenceSession.run` on batches that were decoded before. A third loop reads, decodes and runs one
batch after the other. Contenders take turns in short rounds, and ratios are of the same round: a machine that is
busy for a while slows all of them. The bar is on the median.

Memory: zip files of 10,000 and of 100,000 images, classified by `builtin:tiny` in a process of its own each; the peak
is what the system says of that process. `--quick`: `builtin:tiny` for the rate, whose decoding costs more than its
forward pass, so no bar is set on it; 500 and 5,000 images.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from inference import drawn_images, fitted_run

BATCH = 32
OF_A_CHILD = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(child.pid, 0)
child.returncode = os.waitstatus_to_exitcode(status)
print(usage.ru_maxrss)
sys.exit(child.returncode)
"""
"""Runs a command and prints the peak of its resident memory, in the system's unit."""


def exported(folder: Path, model: str) -> Path:
    from ulfine_exports.export import export_onnx

    run = fitted_run(folder, model, 4)
    return Path(export_onnx(run=run, onnx=folder / "model.onnx", input="pixels")["onnx"])


def rates(folder: Path, model: Path, images: int, rounds: int) -> dict:
    """Images per second of each way, round by round."""
    from ulfine_cache.encoding.engines.local_engine import LocalEngine
    from ulfine_cache.progress import Silent
    from ulfine_cache.sources.open_unlabelled import open_unlabelled
    from ulfine_exports.inference.pictures import to_pixels
    from ulfine_exports.predicting.in_parts import predict_in_parts
    from ulfine_exports.predicting.part_files import PartFolder
    from ulfine_exports.predicting.part_work import PartWork
    from ulfine_exports.predicting.predictors import OnnxPredictor

    photos = drawn_images(folder / "photos", 8, images // 8, 0) / "train"
    source = open_unlabelled(photos)
    predictor = OnnxPredictor(model, timeout=600.0)
    file = predictor._file
    paths = [photos / item.path for item in source.items]

    def prepared(some: list[Path]) -> np.ndarray:
        return file.preprocess.normalise(np.stack([to_pixels(path, file.preprocess) for path in some]))

    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    decoded = [prepared(batch) for batch in batches[:4]]

    def bare() -> None:
        for number in range(len(batches)):
            file.opened.session.run(None, {"pixels": decoded[number % len(decoded)]})

    def serial() -> None:
        for batch in batches:
            file.opened.session.run(None, {"pixels": prepared(batch)})

    def ours() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as parts:
            work = PartWork(
                source,
                PartFolder(Path(parts)),
                predictor,
                lambda answers: answers[0],
                None,
                part_size=4096,
                batch_size=BATCH,
                workers=None,
            )
            predict_in_parts(work, LocalEngine(), Silent())

    ways = {"bare": bare, "serial": serial, "ours": ours}
    bare()
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            found[name].append(len(paths) / (time.perf_counter() - started))
    ratio = [ours / bare for ours, bare in zip(found["ours"], found["bare"], strict=True)]
    over = [ours / serial for ours, serial in zip(found["ours"], found["serial"], strict=True)]
    return {
        "images": len(paths),
        "images_per_second": {name: round(statistics.median(values), 2) for name, values in found.items()},
        "ours_over_bare": statistics.median(ratio),
        "ours_over_bare_by_round": [round(value, 3) for value in ratio],
        "ours_over_serial": statistics.median(over),
    }


def peak(folder: Path, model: Path, images: int) -> dict:
    """Peak of resident memory of the command on so many images."""
    archive = folder / f"{images}.zip"
    photos = sorted(drawn_images(folder / f"few-{images}", 2, 8, 0).rglob("*.jpg"))
    contents = [path.read_bytes() for path in photos]
    with zipfile.ZipFile(archive, "w") as file:
        for number in range(images):
            file.writestr(f"{number:06d}.jpg", contents[number % len(contents)])
    call = ["predict", str(model), str(archive), "--out", str(folder / f"parts-{images}"), "--quiet"]
    command = [sys.executable, "-c", "from ulfine_cli.main import main; raise SystemExit(main())", *call]
    started = time.perf_counter()
    # Started by a small process: the system's peak of a process begins with what its parent held.
    told = subprocess.run([sys.executable, "-c", OF_A_CHILD, *command], stdout=subprocess.PIPE, check=False)
    if told.returncode:
        raise SystemExit(f"predict ended with {told.returncode}")
    seconds = time.perf_counter() - started
    archive.unlink()
    scale = 1 if sys.platform == "darwin" else 1024
    return {"images": images, "peak_bytes": int(told.stdout) * scale, "seconds": round(seconds, 1)}


def bars_of(rate: dict, memory: list[dict], *, quick: bool) -> list[dict]:
    few, many = memory
    growth = (many["peak_bytes"] - few["peak_bytes"]) / (many["images"] - few["images"])
    bars = [{"name": "memory, bytes more for each image", "value": growth, "bar": 2000.0, "holds": growth <= 2000.0}]
    if not quick:
        value = rate["ours_over_bare"]
        bars.append({"name": "rate / bare onnxruntime loop", "value": value, "bar": 0.95, "holds": value >= 0.95})
    return bars


def main() -> int:
    parser = argparse.ArgumentParser(description="Batch prediction against the bare onnxruntime loop.")
    parser.add_argument("--quick", action="store_true", help="the embedded encoder and few images")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--folder", type=Path, help="where images and models are written and removed again")
    parser.add_argument("--model", default="ViT-B-32", help="encoder whose rate is measured")
    parser.add_argument("--images", type=int, default=256, help="images of a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each way")
    parser.add_argument("--many", help="images of the two runs whose memory is compared")
    arguments = parser.parse_args()
    many = arguments.many or ("500,5000" if arguments.quick else "10000,100000")
    sizes = [int(size) for size in many.split(",")]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        (folder / "tiny").mkdir()
        tiny = exported(folder / "tiny", "builtin:tiny")
        if arguments.quick:
            model = tiny
        else:
            (folder / "large").mkdir()
            model = exported(folder / "large", arguments.model)
        rate = rates(folder, model, arguments.images, arguments.rounds)
        print(f"\n{'builtin:tiny' if arguments.quick else arguments.model}, {rate['images']} images a round")
        for way, value in rate["images_per_second"].items():
            print(f"  {way}: {value:.1f} images a second")
        print(f"  ours / bare {rate['ours_over_bare']:.3f}, ours / serial {rate['ours_over_serial']:.3f}", flush=True)
        memory = [peak(folder, tiny, images) for images in sizes]
        for entry in memory:
            print(f"  {entry['images']:,} images: peak {entry['peak_bytes'] / 1e6:.0f} MB, {entry['seconds']:.0f} s")
    bars = bars_of(rate, memory, quick=arguments.quick)
    print()
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']:.3f} (bar {bar['bar']:g})")
    if arguments.json:
        figures = {"rate": rate, "memory": memory, "bars": bars}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
