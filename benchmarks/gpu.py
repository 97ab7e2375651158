"""Everything that one NVIDIA GPU changes, in one command, within a given time and without a network.

    python benchmarks/gpu.py [--minutes 9] [--quick] [--json FILE] [--parts a,b] [--device cuda|cpu]

Weights are random and pictures are made, so nothing has to be carried but the project. Each part runs in a process of
its own, within its share of the time that is left: a part that fails or hangs costs the others nothing. Without a GPU
the same parts run, smaller, on the CPU; what needs one says so. `--quick` is the smallest size of all: rates are told
and not judged there, for so little says nothing about them.

- features: the same pictures on the CPU in fp32 and on the device in every precision; the mean cosine.
- stage-one: `cache_features` with ViT-B/16 and ViT-L/14 in the precision that `auto` takes, against the forward pass
  alone on pixels that are in memory; and what decodes faster, the CPU's cores or nvJPEG, where torchvision has it.
- memory: a GPU with a tenth of its memory left, and a batch that does not fit: batches are halved, and the features
  are the same.
- fits: `ulfine` and the methods that are trained by gradient (100 steps) on the device against this CPU, at 50,000 and
  1,000,000 unlabelled rows; the CPU answers at 50,000 only.
- export: onnxruntime's CUDA provider against torch in fp32.
- http: requests a second of `ulfine serve`, the device against a bare loop of onnxruntime on the CPU.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
PARTS = {"features": 0.08, "memory": 0.08, "export": 0.1, "http": 0.12, "fits": 0.27, "stage-one": 0.35}
"""The share of all the time that each part may take; what is left over goes to those that follow."""
GRADIENT = ("lp", "lp-la", "lft", "lift", "fixmatch", "tip-adapter-f", "ulfine-paper")
STEPS = 100


class Size:
    """How much is measured: large on a GPU, small on a CPU, smallest with --quick."""

    def __init__(self, device: str, quick: bool) -> None:
        self.device, self.quick, self.on_gpu = device, quick, device == "cuda"
        small = quick or not self.on_gpu
        self.models = ("builtin:tiny",) if quick else ("ViT-B-16", "ViT-L-14") if self.on_gpu else ("ViT-B-32",)
        self.pictures = 32 if quick else 64 if small else 6000
        self.rows = (2000,) if quick else (5000,) if small else (50_000, 1_000_000)
        self.seconds = 0.5 if small else 4.0


def bar(name: str, value: float, limit: float, *, at_least: bool, judged: bool = True) -> dict[str, Any]:
    holds = (value >= limit if at_least else value <= limit) or not judged
    words = f"{'>=' if at_least else '<='} {limit:g}"
    return {"name": name, "value": value, "bar": words, "judged": judged, "holds": holds}


def some_weights(model: str, folder: Path) -> str:
    from stage_one import random_weights

    return "" if model.startswith("builtin:") else str(random_weights(model, folder))


def encoder_of(model: str, pretrained: str, device: str, precision: str) -> Any:
    from ulfine_cache.encoders.encoder import ClipEncoder

    return ClipEncoder.load(model, pretrained, device, precision)


def made_pixels(encoder: Any, count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *encoder.preprocess.size, 3), np.uint8)


def features(size: Size, folder: Path) -> dict[str, Any]:
    figures, bars = {}, []
    for model in ("builtin:tiny",) if size.quick else ("builtin:tiny", "ViT-B-32"):
        weights = some_weights(model, folder)
        exact = encoder_of(model, weights, "cpu", "fp32")
        pixels = made_pixels(exact, 32)
        expected = exact.encode_images(pixels)
        for precision in ("fp32", "bf16", "fp16") if size.on_gpu else ("fp32", "bf16"):
            found = encoder_of(model, weights, size.device, precision).encode_images(pixels)
            cosine = float((found * expected).sum(axis=1).mean())
            figures[f"{model} {precision}"] = cosine
            bars.append(bar(f"{model} {precision}, mean cosine to the CPU in fp32", cosine, 0.999, at_least=True))
    return {"figures": figures, "bars": bars}


def stage_one(size: Size, folder: Path) -> dict[str, Any]:
    from stage_one import decode_alone, photographs

    from ulfine_cache.stage_one import cache_features

    images = photographs(folder, size.pictures)
    figures: dict[str, Any] = {}
    bars = []
    for model in size.models:
        weights = some_weights(model, folder)
        encoder = encoder_of(model, weights, size.device, "auto")
        decode, pixels = decode_alone(images, encoder)
        rate, batch = forward_rate(encoder, pixels, size.seconds)
        found: dict[str, Any] = {"forward_alone": rate, "decode_alone": decode, "batch_size": batch}
        found["nvjpeg"] = with_nvjpeg(images, encoder, batch, size)
        encoder.release()
        made = cache_features(
            source=images, out=folder / model.replace(":", "-"), model=model, pretrained=weights, device=size.device
        )
        found |= {"cache_features": made["images_per_second"], "precision": made["precision"]}
        figures[model] = found
        for of, other in (("the smaller of forward and decode", min(rate, decode)), ("forward alone", rate)):
            share = made["images_per_second"] / other
            bars.append(bar(f"{model}, share of {of}", share, 0.9, at_least=True, judged=not size.quick))
        print(f"{model}: {json.dumps(found)}", flush=True)
    return {"figures": figures, "bars": bars}


def forward_rate(encoder: Any, pixels: np.ndarray, seconds: float) -> tuple[float, int]:
    """Rows a second on the lanes of stage one, and the rows of a batch."""
    from ulfine_cache.encoding.batch_size import find_batch_size
    from ulfine_cache.encoding.lanes import Lanes
    from ulfine_cache.progress import Silent

    rows = find_batch_size(encoder)
    batch = np.resize(pixels, (rows, *pixels.shape[1:]))

    def one_lane(lanes: Lanes) -> int:
        ends, done = time.perf_counter() + seconds, 0
        while time.perf_counter() < ends:
            done += len(lanes.encode(batch)[0])
        return done

    with Lanes(encoder, rows, pre_projection=False, progress=Silent()) as lanes:
        list(lanes.pool.map(lambda _: lanes.encode(batch), range(lanes.count)))
        started = time.perf_counter()
        done = sum(lanes.pool.map(lambda _: one_lane(lanes), range(lanes.count)))
        return done / (time.perf_counter() - started), rows


def with_nvjpeg(images: Path, encoder: Any, batch: int, size: Size) -> dict[str, float] | str:
    """Images a second when nvJPEG decodes and the GPU resizes, and how near the features are to those of Pillow."""
    if not size.on_gpu:
        return "no GPU"
    try:
        import torch
        from PIL import Image
        from torchvision.io import ImageReadMode, decode_jpeg
        from torchvision.transforms.v2 import functional

        paths = sorted(images.rglob("*.jpg"))
        data = [torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8) for path in paths]
        height, width = encoder.preprocess.size

        def pixels(part: list[Any]) -> np.ndarray:
            decoded = decode_jpeg(part, mode=ImageReadMode.RGB, device="cuda")
            made = [
                functional.center_crop(functional.resize(one, [height], antialias=True), [height, width])
                for one in decoded
            ]
            return torch.stack(made).permute(0, 2, 3, 1).contiguous().cpu().numpy()

        first = encoder.encode_images(pixels(data[:16]))
        own = encoder.encode_images(
            np.stack([encoder.preprocess.to_pixels(Image.open(path).convert("RGB")) for path in paths[:16]])
        )
        started = time.perf_counter()
        for start in range(0, len(data), batch):
            encoder.encode_images(pixels(data[start : start + batch]))
        rate = len(data) / (time.perf_counter() - started)
        return {"images_per_second": rate, "cosine_to_pillow": float((first * own).sum(axis=1).mean())}
    except Exception as error:
        return f"not here: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def memory(size: Size, folder: Path) -> dict[str, Any]:
    if not size.on_gpu:
        return {"figures": "no GPU", "bars": []}
    import torch
    from stage_one import photographs

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.stage_one import cache_features

    class Notes:
        def __init__(self) -> None:
            self.notes: list[str] = []

        def note(self, message: str) -> None:
            self.notes.append(message)

        def update(self, *_: Any, **__: Any) -> None:
            pass

    images, weights = photographs(folder, 512), some_weights("ViT-B-32", folder)
    options = {"source": images, "model": "ViT-B-32", "pretrained": weights, "device": "cuda", "index": "none"}
    cache_features(**options, out=folder / "all", batch_size=64)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    left = torch.cuda.memory_allocated() + 1.0 * 2**30
    torch.cuda.set_per_process_memory_fraction(min(1.0, left / total))
    told = Notes()
    cache_features(**options, out=folder / "little", batch_size=512, progress=told)
    halved = [note for note in told.notes if "not enough GPU memory" in note]
    pair = [FeatureCache.open(folder / name) for name in ("all", "little")]
    one, other = (
        cache.features(np.arange(cache.n_rows)).reshape(cache.n_rows, -1).astype(np.float32) for cache in pair
    )
    cosine = float((one * other).sum(axis=1).min())
    bars = [
        bar("a batch that does not fit is halved", float(len(halved)), 1, at_least=True),
        bar("lowest cosine to the features of small batches", cosine, 0.999, at_least=True),
    ]
    return {"figures": {"notes": halved, "lowest_cosine": cosine}, "bars": bars}


def fits(size: Size, folder: Path) -> dict[str, Any]:
    import torch
    from fit import clip_like

    from ulfine_cache.progress import Silent
    from ulfine_fast.registry import get_method
    from ulfine_fast.rows.training_data import make_training_data
    from ulfine_fast.training import train

    def seconds(name: str, data: Any) -> float:
        method = get_method(name)
        steps = {"steps": STEPS} if name in GRADIENT and "steps" in method.settings.model_fields else {}
        started = time.perf_counter()
        train(method, method.settings(**steps), data, 0, Silent())
        if data.features.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    figures: dict[str, Any] = {}
    bars = []
    for rows in size.rows:
        data = clip_like(2000 if not size.quick else 200, rows, 100 if not size.quick else 10)
        plain = {
            "features": data.features.numpy(),
            "labels": data.labels.numpy(),
            "unlabelled": data.unlabelled.numpy(),
            "text": None if data.text is None else data.text.numpy(),
            "class_names": data.class_names,
        }
        moved = make_training_data(**plain, device=size.device) if size.on_gpu else data
        # The first one also waits for the libraries to be loaded.
        seconds("zero-shot", moved)
        for name in ("ulfine", *GRADIENT):
            found: dict[str, Any] = figures.setdefault(f"{name}, {rows:,} unlabelled", {})
            try:
                found[size.device] = round(seconds(name, moved), 3)
                if size.on_gpu and rows == min(size.rows):
                    found["cpu"] = round(seconds(name, data), 3)
            except Exception as error:
                found["error"] = f"{type(error).__name__}: {error}"
            print(f"{name}, {rows:,} unlabelled: {found}", flush=True)
            if name == "ulfine" and {"cpu", "cuda"} <= set(found):
                ratio, judged = found["cpu"] / found["cuda"], not size.quick
                bars.append(bar(f"ulfine, {rows:,} rows: CPU over GPU", ratio, 1.0, at_least=True, judged=judged))
    bars.append(bar("fits that failed", float(sum("error" in found for found in figures.values())), 0, at_least=False))
    return {"figures": figures, "bars": bars}


def fitted_run(folder: Path) -> Path:
    from inference import drawn_images

    from ulfine_cache.stage_one import cache_features
    from ulfine_fast.fitting import fit

    images = drawn_images(folder / "drawn", 4, 8, 4)
    cache_features(source=images, out=folder / "cache", model="builtin:tiny", precision="fp32", device="cpu")
    return fit(cache=folder / "cache", out=folder / "run", method="ulfine", device="cpu").path


def export(size: Size, folder: Path) -> dict[str, Any]:
    from ulfine_exports.export import export_onnx
    from ulfine_exports.inference.providers import open_session

    figures: dict[str, Any] = {}
    bars = []
    run = fitted_run(folder)
    for precision in ("fp32",) if size.quick else ("fp32", "fp16"):
        file = folder / f"{precision}.onnx"
        made = export_onnx(run=run, onnx=file, input="pixels", precision=precision, max_drop=100.0)
        content = file.read_bytes()
        here, there = open_session(content, "cpu"), open_session(content, "cuda" if size.on_gpu else "cpu")
        pixels = np.random.default_rng(0).standard_normal((32, 3, 32, 32), dtype=np.float32)
        difference = float(np.abs(here.run(pixels)[0] - there.run(pixels)[0]).max())
        figures[precision] = {
            "providers": list(there.providers),
            "largest_difference_to_the_cpu": difference,
            "largest_difference_to_torch": made["parity"]["largest_difference"],
        }
        limit = 1e-3 if precision == "fp32" else 2e-2
        bars.append(bar(f"{precision}: {there.device} against the CPU, probability", difference, limit, at_least=False))
    return {"figures": figures, "bars": bars}


def http(size: Size, folder: Path) -> dict[str, Any]:
    from http_load import measure

    from ulfine_exports.export import export_onnx

    file = folder / "served.onnx"
    export_onnx(run=fitted_run(folder), onnx=file, input="pixels")
    figures = {
        device: measure(file, size.seconds, "--device", device) for device in dict.fromkeys(("cpu", size.device))
    }
    answered = figures[size.device]["http"]["infer"][-1]["per_second"]
    return {"figures": figures, "bars": [bar("32 clients are answered", answered, 1.0, at_least=True)]}


DOES: dict[str, Callable[[Size, Path], dict[str, Any]]] = {
    "features": features,
    "memory": memory,
    "export": export,
    "http": http,
    "fits": fits,
    "stage-one": stage_one,
}


def one_part(name: str, size: Size, out: Path) -> int:
    """Run a part here and write what it found."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = DOES[name](size, Path(folder))
        except Exception as error:
            traceback.print_exc()
            found = {"error": f"{type(error).__name__}: {error}", "bars": []}
    out.write_text(json.dumps(found), encoding="utf-8")
    return 0


def in_a_process(name: str, arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Run a part in a process of its own that is ended when its time is over."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "part.json"
        command = [sys.executable, __file__, "--one", name, "--out", str(out), "--device", arguments.device]
        paths = [str(ROOT / place) for place in ("", "cli", "cache", "exports", "benchmarks")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])}
        started = time.perf_counter()
        try:
            done = subprocess.run(
                [*command, *(["--quick"] if arguments.quick else [])], timeout=seconds, env=environment, check=False
            )
            ended = f"ended with exit code {done.returncode}"
        except subprocess.TimeoutExpired:
            ended = f"took longer than its {seconds:.0f} s"
        found = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {"error": ended, "bars": []}
        return found | {"seconds": round(time.perf_counter() - started, 1)}


def machine(device: str) -> dict[str, Any]:
    import torch

    return {
        "device": device,
        "card": torch.cuda.get_device_name(0) if device == "cuda" else None,
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="What does one NVIDIA GPU change?")
    parser.add_argument("--minutes", type=float, default=9.0, help="all parts together take no longer")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes")
    parser.add_argument("--json", type=Path, help="write the figures to this file, after every part")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of " + ", ".join(PARTS))
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--one", choices=tuple(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        return one_part(arguments.one, Size(arguments.device, arguments.quick), arguments.out)
    if unknown := set(arguments.parts.split(",")) - set(PARTS):
        parser.error(f"no part {min(unknown)!r}: choose among {', '.join(PARTS)}")
    import torch

    if arguments.device == "auto":
        arguments.device = "cuda" if torch.cuda.is_available() else "cpu"
    wanted = [name for name in PARTS if name in arguments.parts.split(",")]
    ends = time.perf_counter() + 60 * arguments.minutes
    report: dict[str, Any] = {"machine": machine(arguments.device), "parts": {}, "bars": []}
    print(json.dumps(report["machine"]), flush=True)
    for place, name in enumerate(wanted):
        share = PARTS[name] / sum(PARTS[later] for later in wanted[place:])
        found = in_a_process(name, arguments, share * (ends - time.perf_counter()))
        report["parts"][name] = found
        failed = [bar(f"{name}: {found['error']}", 1, 0, at_least=False)] if "error" in found else []
        report["bars"] += [*found.pop("bars"), *failed]
        print(f"\n{name} ({found['seconds']} s): {json.dumps(found.get('figures', found))}", flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps({"figures": report, "bars": report["bars"]}, indent=2) + "\n")
    print()
    for one in report["bars"]:
        verdict = "holds" if one["holds"] else "FAILS"
        print(f"{verdict if one['judged'] else 'told'}  {one['name']}: {one['value']:.4g} ({one['bar']})")
    return 0 if all(one["holds"] for one in report["bars"]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
