"""Stage one's speed: `ulfine cache-features` against the usual loops and against what the machine can do at all.

    python benchmarks/stage_one.py [--quick] [--json FILE] [--images DIR] [--model NAME] [--clip-retrieval COMMAND]

All contenders encode the same images with the same random weights of the same model (random weights cost what trained
ones cost), one after the other in one run:

- ulfine: `ulfine cache-features` in a process of its own, from the first image to the last shard on disk, at
  `--precision auto` and at fp32; a second run with all images but none to load shows what starting costs.
- plain loop: open_clip's own transform in a torch DataLoader with one worker a core, batches of 64, fp32: what
  CLIP_benchmark's feature extraction and lightly-train's `embed` do.
- clip-retrieval inference, where `--clip-retrieval` names its executable (it needs an environment of its own).
- the limits: decoding alone on all cores, and the encoder's forward pass alone on pixels that are in memory, in both
  precisions and with threads as torch sets them or with one batch a core, whichever is faster.

The images are the photographs in `--images` (or `whurs19` in the folder that the environment variable
ULFINE_SHARED_DATA names, else ../shared/data), otherwise 500 x 375 JPEG files that the benchmark makes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ulfine_cache.encoders.encoder import ClipEncoder
from ulfine_cache.encoding.decoding import PixelRecipe, decode_item
from ulfine_cache.encoding.lanes import Lanes
from ulfine_cache.progress import Silent
from ulfine_cache.sources.open_source import open_source

CORES = os.cpu_count() or 1


def photographs(folder: Path, count: int) -> Path:
    """JPEG files of the size of ImageNet's, noise with some structure, about 55 kB each."""
    root = folder / "photos" / "unlabelled"
    root.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (94, 125, 3), np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(root / f"{number:05d}.jpg", quality=90)
    return root.parent


def some_of(images: Path, folder: Path, count: int) -> Path:
    """A folder of links to `count` images spread over a source."""
    items = open_source(images).items
    root = folder / "some" / "unlabelled"
    root.mkdir(parents=True)
    for number, item in enumerate(items[:: max(1, len(items) // count)][:count]):
        (root / f"{number:05d}{Path(item.path).suffix}").symlink_to((images / item.path).resolve())
    return root.parent


def random_weights(model: str, folder: Path) -> Path:
    import open_clip
    from safetensors.torch import save_file

    path = folder / "weights.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(open_clip.create_model(model).state_dict(), path)
    return path


def ulfine(images: Path, folder: Path, model: str, weights: Path, precision: str) -> dict[str, Any]:
    figures = folder / "figures.json"
    command = [sys.executable, "-m", "ulfine_cli.main", "cache-features", str(images)]
    command += ["--out", str(folder / precision), "--model", model, "--pretrained", str(weights)]
    command += ["--precision", precision, "--quiet", "--json", str(figures)]
    subprocess.run(command, check=True)
    return json.loads(figures.read_text())


class PlainImages(torch.utils.data.Dataset):
    """What a feature extraction script does with each image."""

    def __init__(self, images: Path, transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.paths = [images / item.path for item in open_source(images).items]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(Image.open(self.paths[index]))


def plain_loop(images: Path, model: str, weights: Path) -> float:
    import open_clip

    encoder, _, transform = open_clip.create_model_and_transforms(model, pretrained=str(weights))
    dataset = PlainImages(images, transform)
    loader = torch.utils.data.DataLoader(dataset, batch_size=64, num_workers=CORES)
    encoder.eval()
    started = time.perf_counter()
    with torch.inference_mode():
        parts = [torch.nn.functional.normalize(encoder.encode_image(batch), dim=-1).numpy() for batch in loader]
    np.concatenate(parts)
    return len(dataset) / (time.perf_counter() - started)


def clip_retrieval(command: str, images: Path, folder: Path, model: str, weights: Path) -> float:
    """Images per second by clip-retrieval's own statistics: reading, inference and writing, without its start."""
    out = folder / "clip-retrieval"
    call = [*command.split(), "inference", "--input_dataset", str(images), "--output_folder", str(out)]
    call += ["--enable_text", "False", "--enable_metadata", "False", "--enable_wandb", "False", "--use_jit", "False"]
    call += ["--num_prepro_workers", str(CORES), "--batch_size", "64", "--output_partition_count", "1"]
    call += ["--clip_model", f"open_clip:{model}/{weights}"]
    done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode or not list(out.rglob("img_emb_*.npy")):
        raise SystemExit(f"clip-retrieval wrote no features:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    statistics = json.loads((out / "stats" / "0.json").read_text())
    return statistics["sample_count"] / statistics["total_duration"]


def decode_alone(images: Path, encoder: ClipEncoder) -> tuple[float, np.ndarray]:
    source, recipe = open_source(images), PixelRecipe(encoder.preprocess)
    started = time.perf_counter()
    with ThreadPoolExecutor(CORES) as pool:
        decoded = list(pool.map(lambda item: decode_item(source, recipe, item), source.items))
    seconds = time.perf_counter() - started
    return len(decoded) / seconds, np.concatenate([image.pixels for image in decoded if image.pixels is not None])


def forward_alone(encoder: ClipEncoder, pixels: np.ndarray, least_seconds: float) -> dict[str, float]:
    """Rows per second: one batch of 64 after the other on all cores, and batches of 32 side by side, one a core."""

    def batches(size: int) -> Iterator[np.ndarray]:
        ends = time.perf_counter() + least_seconds
        while time.perf_counter() < ends:
            yield pixels[:size]

    encoder.encode_images(pixels[:64])
    started = time.perf_counter()
    rows = sum(len(encoder.encode_images(batch)) for batch in batches(64))
    figures = {"all cores a batch": rows / (time.perf_counter() - started)}
    with Lanes(encoder, 32, pre_projection=False, progress=Silent()) as lanes:

        def one_lane(_: int) -> int:
            return sum(len(lanes.encode(batch)[0]) for batch in batches(32))

        started = time.perf_counter()
        rows = sum(lanes.pool.map(one_lane, range(lanes.count)))
        figures["one core a batch"] = rows / (time.perf_counter() - started)
    return figures


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    count = 128 if arguments.quick else arguments.count
    images = photographs(folder, count) if arguments.images is None else some_of(arguments.images, folder, count)
    weights = random_weights(arguments.model, folder)
    seconds = 4.0 if arguments.quick else 15.0
    rates: dict[str, float] = {}
    chosen = ulfine(images, folder, arguments.model, weights, "auto")
    rates[f"ulfine cache-features, {chosen['precision']}"] = chosen["images_per_second"]
    rates["plain open_clip DataLoader loop, fp32"] = plain_loop(images, arguments.model, weights)
    rates["ulfine cache-features, fp32"] = ulfine(images, folder, arguments.model, weights, "fp32")["images_per_second"]
    if arguments.clip_retrieval:
        rates["clip-retrieval inference"] = clip_retrieval(
            arguments.clip_retrieval, images, folder, arguments.model, weights
        )
    for precision in dict.fromkeys((chosen["precision"], "fp32")):
        encoder = ClipEncoder.load(arguments.model, str(weights), precision=precision)
        if precision == chosen["precision"]:
            rates["limit: decode alone"], pixels = decode_alone(images, encoder)
        for threads, rate in forward_alone(encoder, pixels, seconds).items():
            rates[f"limit: forward alone, {precision}, {threads}"] = rate
    return {
        "images": str(chosen["images"]),
        "model": arguments.model,
        "device": chosen["device"],
        "cores": CORES,
        "precision": chosen["precision"],
        "batch_size": chosen["batch_size"],
        "images_per_second": {name: round(rate, 1) for name, rate in rates.items()},
    }


def bars_of(figures: dict[str, Any]) -> list[dict[str, Any]]:
    rates, precision = figures["images_per_second"], figures["precision"]
    own = rates[f"ulfine cache-features, {precision}"]
    forward = max(rate for name, rate in rates.items() if name.startswith(f"limit: forward alone, {precision}"))
    rivals = [name for name in ("plain open_clip DataLoader loop, fp32", "clip-retrieval inference") if name in rates]
    wanted = [(f"times the {name}", own / rates[name], 3.0) for name in rivals]
    wanted.append(("share of the smaller limit", own / min(forward, rates["limit: decode alone"]), 0.9))
    return [{"name": name, "value": round(value, 3), "bar": bar, "holds": value >= bar} for name, value, bar in wanted]


def main() -> int:
    parser = argparse.ArgumentParser(description="How fast is stage one, and how fast could it be?")
    parser.add_argument("--quick", action="store_true", help="128 images")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--images", type=Path, help="a folder as cache-features takes it")
    parser.add_argument("--count", type=int, default=1000, help="at most so many of its images")
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--clip-retrieval", help="the executable of clip-retrieval in its own environment")
    arguments = parser.parse_args()
    shared = Path(os.environ.get("ULFINE_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if arguments.images is None and (shared / "images" / "whurs19").is_dir():
        arguments.images = shared / "images" / "whurs19"
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(arguments, Path(folder))
    bars = bars_of(figures)
    print(f"{figures['model']} with random weights, {figures['images']} images, {CORES} cores, {figures['device']}")
    for name, rate in figures["images_per_second"].items():
        print(f"{rate:>9.1f} images/s  {name}")
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']:.2f} (bar {bar['bar']})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
