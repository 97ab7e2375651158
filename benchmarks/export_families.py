"""Which encoders export to ONNX, by which of torch's exporters, and how far onnxruntime is from torch then.

Every family of open_clip that users have, with random weights from a fixed seed: the image tower and a classifier of
100 classes, as `ulfine export --input pixels` writes them, in batches of 1, 2 and 7. Each model runs in a process of
its own, so that memory is given back; ViT-L/14 takes about 6 GB.

    python benchmarks/export_families.py [--quick] [--models a,b] [--opset N] [--json FILE]
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# The smallest first: --quick takes two.
MODELS = (
    "MobileCLIP-S1",
    "RN50",
    "MobileCLIP-S2",
    "ViT-B-16",
    "ViT-B-32",
    "ViT-B-32-quickgelu",
    "EVA02-B-16",
    "convnext_base",
    "ViT-B-16-SigLIP",
    "ViT-L-14",
)
CLASSES = 100
TOLERANCE = 1e-4
ROWS = 10


def measure(name: str, opset: int) -> dict:
    """Export one model and compare; what cannot be exported is told as an error."""
    import numpy as np
    import open_clip
    import torch

    from ulfine_cache.encoders.image_tower import ImageTower, lean_tower
    from ulfine_cache.errors import UlfineError
    from ulfine_exports.gate.parity import check_parity
    from ulfine_exports.graphs.graph import PixelGraph, build_graph
    from ulfine_fast.models.affine_model import AffineModel

    class Watched(AffineModel):
        """Gives the features as a part, so that they can be compared, too."""

        def part_logits(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"features": features}

    torch.manual_seed(0)
    model = open_clip.create_model(name).eval().requires_grad_(False)
    tower, size = ImageTower(model).eval(), model.visual.image_size
    height, width = size if isinstance(size, tuple) else (size, size)
    images = torch.rand(ROWS, 3, 6, 6)
    images = torch.nn.functional.interpolate(images, (height, width), mode="bicubic") * 4 - 2
    with torch.no_grad():
        features = tower(images)
    # Random encoders put all images into one corner: the directions in which they differ make the classes.
    directions = torch.linalg.svd(features - features.mean(dim=0), full_matrices=False).Vh[: ROWS - 1]
    weight = torch.randn(CLASSES, ROWS - 1) @ directions
    logits = features @ weight.T
    scale = 5 / (logits - logits.mean(dim=0)).std()
    classifier = Watched(n_features=features.shape[1], n_classes=CLASSES)
    classifier.weight.copy_(weight * scale)
    classifier.bias.copy_(-logits.mean(dim=0) * scale)

    original = PixelGraph(tower, classifier, ("features",)).eval()
    traced = PixelGraph(lean_tower(tower), classifier, ("features",)).eval()
    figures = {"model": name, "opset": opset, "rewritten": lean_tower(tower) is not tower}
    start = time.perf_counter()
    try:
        graph, exporter = build_graph(traced, "pixels", (3, height, width), opset, traced.outputs)
        figures |= {"exporter": exporter, "seconds": round(time.perf_counter() - start, 1)}
        figures |= {"nodes": len(graph.graph.node), "megabytes": round(graph.ByteSize() / 1e6, 1)}
        worst = {"features": 0.0}

        def reference(batch: np.ndarray) -> tuple[np.ndarray, ...]:
            with torch.no_grad():
                return tuple(output.numpy() for output in original(torch.from_numpy(batch)))

        def features_alone(batch: np.ndarray) -> tuple[np.ndarray, ...]:
            return (reference(batch)[2],)

        parity = check_parity(
            graph.SerializeToString(), reference, images.numpy(), tolerance=TOLERANCE, source="random rows"
        )
        only = type(graph)()
        only.CopyFrom(graph)
        kept = [output for output in graph.graph.output if output.name == "logits_features"]
        del only.graph.output[:]
        only.graph.output.extend(kept)
        worst["features"] = check_parity(
            only.SerializeToString(), features_alone, images.numpy(), tolerance=1.0, source="random rows"
        ).largest_difference
    except UlfineError as error:
        return {**figures, "error": str(error)}
    return {**figures, "probability": parity.largest_difference, "feature": worst["features"]}


def in_own_process(name: str, opset: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        command = [sys.executable, __file__, "--one", name, "--opset", str(opset), "--json", str(file)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode or not file.is_file():
            last = (done.stderr.strip().splitlines() or ["killed"])[-1]
            return {"model": name, "opset": opset, "error": last}
        return json.loads(file.read_text(encoding="utf-8"))


def versions() -> dict[str, str]:
    import onnx
    import onnxruntime
    import open_clip
    import timm
    import torch

    modules = (torch, open_clip, timm, onnx, onnxruntime)
    return {"python": platform.python_version(), **{module.__name__: module.__version__ for module in modules}}


def main() -> int:
    parser = argparse.ArgumentParser(description="Which encoders export, and how exactly?")
    parser.add_argument("--quick", action="store_true", help="the two smallest")
    parser.add_argument("--models", help="open_clip names, separated by commas")
    parser.add_argument("--opset", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        arguments.json.write_text(json.dumps(measure(arguments.one, arguments.opset)), encoding="utf-8")
        return 0
    names = arguments.models.split(",") if arguments.models else MODELS[:2] if arguments.quick else MODELS
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    print(f"{'model':<22}{'exporter':>12}{'opset':>7}{'nodes':>7}{'MB':>8}{'s':>7}{'probability':>13}{'feature':>10}")
    rows = []
    for name in names:
        row = in_own_process(name, arguments.opset)
        rows.append(row)
        if "error" in row:
            print(f"{name:<22}{row['error']}")
            continue
        print(
            f"{name:<22}{row['exporter']:>12}{row['opset']:>7}{row['nodes']:>7}{row['megabytes']:>8.1f}"
            f"{row['seconds']:>7.1f}{row['probability']:>13.1e}{row['feature']:>10.1e}",
            flush=True,
        )
    bars = [
        {
            "name": f"{row['model']}: onnxruntime and torch differ in probability",
            "value": row.get("probability"),
            "bar": f"<= {TOLERANCE:g}",
            "holds": row.get("probability", 1.0) <= TOLERANCE,
        }
        for row in rows
    ]
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']} by at most {TOLERANCE:g}")
    if arguments.json:
        text = json.dumps({"versions": versions(), "figures": rows, "bars": bars}, indent=2)
        arguments.json.write_text(text + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
