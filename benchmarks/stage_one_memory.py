"""Stage one's memory: does the resident size of `ulfine cache-features` stay flat as the images grow tenfold?

    python benchmarks/stage_one_memory.py [--quick] [--json FILE] [--model NAME] [--pretrained FILE]

Two collections of small JPEG files (10,000 and 100,000; with --quick 1,000 and 10,000, in smaller shards) go through
the real command in a process of its own, whose largest resident size the operating system reports. What may grow is
the listing (a name, a size and a time for each image) and what the index needs; everything else is bounded by the
batch and the shard. Without `--model` it is a CLIP as large as ViT-B/32 that sees one patch of 112 pixels: the same
memory for its weights in a small part of the time.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_DIFFERENT = 500


def photographs(folder: Path, count: int) -> Path:
    """`count` files in ten classes, hard links to 500 pictures of 96 x 72 pixels."""
    generator = np.random.default_rng(0)
    originals = folder / "originals"
    originals.mkdir(exist_ok=True)
    for number in range(_DIFFERENT):
        buffer = io.BytesIO()
        coarse = Image.fromarray(generator.integers(0, 256, (9, 12, 3), np.uint8))
        coarse.resize((96, 72), Image.Resampling.BILINEAR).save(buffer, "JPEG")
        (originals / f"{number}.jpg").write_bytes(buffer.getvalue())
    root = folder / f"photos-{count}"
    for label in range(10):
        (root / f"class-{label}").mkdir(parents=True)
    for number in range(count):
        os.link(originals / f"{number % _DIFFERENT}.jpg", root / f"class-{number % 10}" / f"{number:07d}.jpg")
    return root


def coarse_clip(folder: Path) -> str:
    """An open_clip model in a folder, ViT-B/32 but for its single patch, with random weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    vision = {"image_size": 112, "layers": 12, "width": 768, "patch_size": 112}
    text = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}
    model_cfg = {"embed_dim": 512, "vision_cfg": vision, "text_cfg": text}
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg, "preprocess_cfg": {}}))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.CLIP(512, vision, text)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


def peak(images: Path, out: Path, arguments: argparse.Namespace, shard_size: int) -> dict[str, Any]:
    """Run the command and return its figures with `peak_mib`, the largest resident size of its process."""
    figures = out.with_suffix(".json")
    command = [sys.executable, "-m", "ulfine_cli.main", "cache-features", str(images), "--out", str(out), "--quiet"]
    command += ["--model", arguments.model, "--shard-size", str(shard_size), "--json", str(figures)]
    command += ["--pretrained", arguments.pretrained] if arguments.pretrained else []
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return json.loads(figures.read_text()) | {"peak_mib": usage.ru_maxrss / 1024}


def main() -> int:
    parser = argparse.ArgumentParser(description="Does stage one's memory stay flat?")
    parser.add_argument("--quick", action="store_true", help="1,000 and 10,000 images instead of 10,000 and 100,000")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--model", help="a model that cache-features knows")
    parser.add_argument("--pretrained", help="a checkpoint file for the model")
    arguments = parser.parse_args()
    counts, shard_size = ((1_000, 10_000), 1024) if arguments.quick else ((10_000, 100_000), 8192)
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        name = arguments.model or "a ViT-B of one patch, 512 features"
        arguments.model = arguments.model or coarse_clip(Path(folder) / "clip")
        for count in counts:
            images = photographs(Path(folder), count)
            run = peak(images, Path(folder) / f"cache-{count}", arguments, shard_size)
            figures.append(
                {name: run[name] for name in ("images", "shards", "peak_mib", "seconds", "index", "features")}
            )
    growth = figures[1]["peak_mib"] / figures[0]["peak_mib"]
    bar = {"name": "resident size, ten times the images", "value": round(growth, 3), "bar": 1.1, "holds": growth <= 1.1}
    print(f"{name}, shards of {shard_size} images")
    for run in figures:
        print(
            f"{run['images']:>8} images: {run['peak_mib']:7.0f} MiB at most, {run['seconds']:.0f} s, "
            f"index {run['index']} over {run['features']} values"
        )
    print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {growth:.3f} times (bar: at most 1.1)")
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "bars": [bar]}, indent=2) + "\n", encoding="utf-8")
    return 0 if bar["holds"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
