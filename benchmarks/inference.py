"""How fast an exported file runs: against torch, at every precision, through HTTP, and from a cold start.

    python benchmarks/inference.py [--quick] [--json FILE] [--model NAME] [--seconds S]

One encoder with random weights (which cost what trained ones cost), one run fitted on images that the benchmark draws,
and every file written by `ulfine export`, so each has passed the parity gate. Contenders take turns in short rounds: a
machine that is busy for a while slows all of them. p50 and p99 are of single calls, in milliseconds. `--quick` takes
`builtin:tiny`, which shows in a minute that everything works; the bars on the speed of a large encoder are not judged
then.
"""

import argparse
import copy
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from http_load import measure as measure_http
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from ulfine_cache.errors import UsageError
from ulfine_cache.preprocess import Preprocess
from ulfine_cache.stage_one import cache_features
from ulfine_exports.encoders.run_encoder import encoder_of
from ulfine_exports.export import export_onnx
from ulfine_exports.graphs.graph import FeatureGraph, PixelGraph
from ulfine_exports.inference.providers import open_session
from ulfine_fast.fitting import fit
from ulfine_fast.run import load_run

INPUTS = ("features", "pixels", "image")
PRECISIONS = ("fp32", "fp16", "int8")
BATCHES = (1, 64)
ROUNDS = 5
PICTURE = (375, 500)
"""Height and width of the images, as ImageNet's usually are."""

Contender = Callable[[], object]


def drawn_images(folder: Path, classes: int, train: int, test: int) -> Path:
    """JPEG files in train/<class>/ and test/<class>/: blotches around a colour of each class."""
    generator = np.random.default_rng(0)
    colours = generator.integers(30, 226, (classes, 3))
    for name, count in (("train", train), ("test", test)):
        for number, colour in enumerate(colours):
            place = folder / name / f"class-{number}"
            place.mkdir(parents=True)
            for index in range(count):
                coarse = np.clip(colour + generator.normal(0, 45, (9, 12, 3)), 0, 255).astype(np.uint8)
                picture = Image.fromarray(coarse).resize(PICTURE[::-1], Image.Resampling.BICUBIC)
                picture.save(place / f"{index}.jpg", quality=90)
    return folder


def fitted_run(folder: Path, model: str, test: int) -> Path:
    import open_clip
    from safetensors.torch import save_file

    weights = folder / "weights.safetensors"
    if not model.startswith("builtin:"):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            save_file(open_clip.create_model(model).state_dict(), weights)
    images = drawn_images(folder / "images", 8, 8, test)
    pretrained = "" if model.startswith("builtin:") else str(weights)
    cache_features(source=images, out=folder / "cache", model=model, pretrained=pretrained, precision="fp32")
    return fit(cache=folder / "cache", out=folder / "run", method="ulfine").path


def exports(run: Path, folder: Path) -> dict[str, dict[str, dict]]:
    """Figures of `export_onnx` by input and precision; an input that cannot be exported is left out."""
    written: dict[str, dict[str, dict]] = {}
    for input in INPUTS:
        for precision in PRECISIONS:
            try:
                # Nothing is refused here: what the precision costs is among the bars.
                figures = export_onnx(
                    run=run, onnx=folder / f"{input}-{precision}.onnx", input=input, precision=precision, max_drop=100.0
                )
            except UsageError as error:
                print(f"{input} is left out: {error}")
                break
            written.setdefault(input, {})[precision] = figures
            print(f"wrote {figures['onnx']} in {figures['seconds']:.0f} s", flush=True)
    return written


def contenders(run: Path, written: dict[str, dict], input: str, batch: int) -> dict[str, Contender]:
    """Every way to classify a batch of one input; each call does all of it once."""
    loaded = load_run(run)
    generator = np.random.default_rng(1)
    preprocess = Preprocess.from_json((loaded.cache or {})["preprocess"])
    if input == "features":
        rows = generator.standard_normal((batch, loaded.n_features), dtype=np.float32)
        module = FeatureGraph(loaded.model)
    else:
        encoder = encoder_of(loaded, "", device="cpu", precision="fp32")
        module = PixelGraph(encoder.image_tower, loaded.model)
        rows = generator.integers(0, 256, (batch, *PICTURE, 3), dtype=np.uint8)
        if input == "pixels":
            rows = preprocess.normalise(np.stack([preprocess.to_pixels(Image.fromarray(row)) for row in rows]))

    def prepared() -> torch.Tensor:
        if input != "image":
            return torch.from_numpy(rows)
        pixels = np.stack([preprocess.to_pixels(Image.fromarray(row)) for row in rows])
        return torch.from_numpy(preprocess.normalise(pixels))

    found: dict[str, Contender] = {}
    for name, kind in (("torch fp32", torch.float32), ("torch bf16", torch.bfloat16)):
        cast = copy.deepcopy(module).eval().to(kind)

        def eager(cast: torch.nn.Module = cast, kind: torch.dtype = kind) -> object:
            with torch.inference_mode():
                return cast(prepared().to(kind))

        found[name] = eager
    for precision, figures in written[input].items():
        session = open_session(Path(figures["onnx"]).read_bytes(), "cpu")
        found[f"onnxruntime {precision}"] = lambda session=session: session.run(rows)
    if input == "features":
        found["bare MatMul"] = bare_product(loaded.n_features, len(loaded.class_names), rows)
    return found


def bare_product(width: int, classes: int, rows: np.ndarray) -> Contender:
    """One MatMul of the size of a linear classifier, in onnxruntime: the least that classifying features can cost."""
    weights = np.random.default_rng(2).standard_normal((width, classes), dtype=np.float32)
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
        for name, size in (("rows", width), ("product", classes))
    ]
    node = helper.make_node("MatMul", ["rows", "weights"], ["product"])
    graph = helper.make_graph([node], "bare", infos[:1], infos[1:], [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = open_session(model.SerializeToString(), "cpu").session
    return lambda: session.run(["product"], {"rows": rows})


def timed(ways: dict[str, Contender], seconds: float, batch: int) -> dict[str, dict[str, float]]:
    """Milliseconds of a call, p50 and p99, and rows a second, each contender `seconds` long in `ROUNDS` turns.

    One that needs longer makes one call a turn. The first call of each is not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for call in ways.values():
        call()
    for _ in range(ROUNDS):
        for name, call in ways.items():
            until = time.perf_counter() + seconds / ROUNDS
            while True:
                began = time.perf_counter()
                call()
                ended = time.perf_counter()
                times[name].append(ended - began)
                if ended > until:
                    break
    return {
        name: {
            "p50": 1000 * statistics.median(spent),
            "p99": 1000 * float(np.quantile(spent, 0.99)),
            "rows_per_second": batch / statistics.median(spent),
            "calls": len(spent),
        }
        for name, spent in times.items()
    }


def start_up(folder: Path, written: dict[str, dict]) -> dict[str, dict]:
    """Seconds that a process takes from nothing, the shortest of five, and whether torch was imported."""
    file = Path(written["features"]["fp32"]["onnx"])
    np.savez(folder / "rows.npz", features=np.ones((1, load_run(folder / "run").n_features), np.float32))
    predict = ["ulfine", "predict", str(file), str(folder / "rows.npz")]
    statements = {
        "import onnxruntime": "import onnxruntime",
        "OnnxClassifier": f"from ulfine_exports import OnnxClassifier; OnnxClassifier({str(file)!r})",
        "ulfine predict": f"import sys; sys.argv = {predict!r}; from ulfine_cli.main import main; main()",
        "server's app": "import ulfine_exports.serve.server, ulfine_exports.serve.app; from pathlib import Path; "
        "from ulfine_exports.serve.served_model import ServedModel; "
        f"ServedModel(Path({str(file)!r}))",
    }
    found = {}
    for name, statement in statements.items():
        check = f"{statement}\nimport sys\nsys.stderr.write(f'torch={{\"torch\" in sys.modules}}')"
        spent = []
        for _ in range(5):
            began = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
            spent.append(time.perf_counter() - began)
        found[name] = {"seconds": min(spent), "torch": "torch=True" in done.stderr}
    return found


def bars_of(figures: dict, large: bool) -> list[dict]:
    """The bars; those on the speed of a large encoder only where there is one."""
    speed, written = figures["speed"], figures["exports"]

    def ratio(input: str, batch: int, slow: str, fast: str) -> float:
        return speed[input][str(batch)][slow]["p50"] / speed[input][str(batch)][fast]["p50"]

    bars = [
        at_most("features at batch 1, of a bare MatMul", ratio("features", 1, "onnxruntime fp32", "bare MatMul"), 1.5)
    ]
    for input, by_precision in written.items():
        name = f"{input} fp32, largest difference in probability"
        bars.append(at_most(name, by_precision["fp32"]["parity"]["largest_difference"], 1e-4))
        for precision in ("fp16", "int8"):
            drop = by_precision[precision]["comparison"]["drop"]
            bars.append(at_most(f"{input} {precision}, points of macro accuracy lost", drop, 0.5))
    start = figures["start_up"]
    for name in list(start)[1:]:
        times = start[name]["seconds"] / start["import onnxruntime"]["seconds"]
        bars.append(at_most(f"start-up of {name}, of import onnxruntime", times, 3.0))
        bars.append(at_most(f"{name} imports torch", float(start[name]["torch"]), 0.0))
    if large:
        bars.append(
            at_least("pixels fp32 over torch eager fp32", ratio("pixels", 64, "torch fp32", "onnxruntime fp32"), 1.5)
        )
        bars.append(at_least("pixels int8 over fp32", ratio("pixels", 64, "onnxruntime fp32", "onnxruntime int8"), 1.8))
        for input, served in figures["http"].items():
            best = max(served["bare_rows_per_second"].values())
            share = served["http"]["infer"][-1]["per_second"] / best
            bars.append(at_least(f"{input}, 32 clients through HTTP, of the bare loop", share, 0.85))
    return bars


def at_most(name: str, value: float, bar: float) -> dict:
    return {"name": name, "value": value, "bar": f"<= {bar:g}", "holds": value <= bar}


def at_least(name: str, value: float, bar: float) -> dict:
    return {"name": name, "value": value, "bar": f">= {bar:g}", "holds": value >= bar}


def measure(folder: Path, model: str, seconds: float, quick: bool) -> dict:
    busy = os.getloadavg()[0]
    if busy > 0.5:
        print(f"other work runs on this machine (load {busy:.1f}); torch's threads wait for each other and suffer most")
    run = fitted_run(folder, model, 4 if quick else 25)
    written = exports(run, folder)
    speed: dict[str, dict] = {}
    for input in written:
        for batch in BATCHES:
            ways = contenders(run, written, input, batch)
            speed.setdefault(input, {})[str(batch)] = found = timed(ways, seconds, batch)
            print(f"\n{input}, batch {batch:<12}{'p50 ms':>10}{'p99 ms':>10}{'rows/s':>12}")
            for name, row in found.items():
                print(f"{name:<22}{row['p50']:>12.3f}{row['p99']:>10.3f}{row['rows_per_second']:>12.1f}", flush=True)
            del ways
    start = start_up(folder, written)
    http = {}
    for input in [] if quick else [name for name in ("pixels", "image") if name in written]:
        http[input] = measure_http(Path(written[input]["fp32"]["onnx"]), seconds)
        print(f"\n{input} through HTTP: {http[input]['http']}")
    versions = {"python": platform.python_version(), "torch": torch.__version__, "onnxruntime": onnxruntime.__version__}
    machine = {"cpus": os.cpu_count(), "processor": platform.processor() or platform.machine(), "load": busy}
    return {
        "model": model,
        "machine": machine,
        "versions": versions,
        "exports": written,
        "speed": speed,
        "start_up": start,
        "http": http,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="How fast does an exported file run?")
    parser.add_argument("--quick", action="store_true", help="builtin:tiny, in a minute")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--model", default="ViT-B-32", help="open_clip name of the encoder")
    parser.add_argument("--seconds", type=float, default=20.0, help="time for each contender at each batch size")
    arguments = parser.parse_args()
    model = "builtin:tiny" if arguments.quick else arguments.model
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), model, 0.5 if arguments.quick else arguments.seconds, arguments.quick)
    bars = bars_of(figures, large=not arguments.quick)
    print("\nstart-up")
    for name, row in figures["start_up"].items():
        print(f"{name:<22}{row['seconds']:>8.2f} s{', with torch' if row['torch'] else ''}")
    print()
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']:.3g} ({bar['bar']})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
