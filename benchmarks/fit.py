"""Stage two's speed: a fit of `ulfine` against what is usual, what is possible, and training through the encoder.

    python benchmarks/fit.py [--quick] [--json FILE] [--model NAME]

Features are synthetic, with what CLIP's are measured to have: a common mean of squared length 0.58, variances 0.22
within classes and 0.2 between them, both falling like 1/i along their principal axes. How long solvers take depends on
that: on round clusters logistic regression needs a third of the iterations that it needs on real features.

- ulfine: the whole fit, from rows in memory to a model, with torch's own threads.
- LogisticRegression: scikit-learn's with its defaults, on the labelled rows alone, on one core or on all, whichever is
  faster.
- fixmatch: this project's, with its defaults.
- The floor: floating-point operations of all matrix products that the fit of `ulfine` really does, as torch's
  FlopCounterMode counts them (2 n m k for each product; factorisations and element-wise work are not counted), divided
  by the rate of a float32 product of two 4096 x 4096 matrices on all cores.
- End to end: LoFT's recipe at the size of CIFAR-100-LT 50/400 (1,911 labelled and 15,651 unlabelled images): 1,024
  steps of 16 labelled images and 112 unlabelled ones in a weak and a strong view. All 240 go forward and backward
  through a frozen encoder with a trained bottleneck of 64 beside the MLP of every block (AdaptFormer). An eighth of a
  step is timed, with random weights and pixels in memory, in the precision in which it is faster, and multiplied.
- Cache and fit: all 17,562 images once through the same encoder, as fast as `ulfine cache-features` runs it, and the
  fit. Reading and decoding images is left out on both sides; the recipe would do it fourteen times.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from stage_one import forward_alone, random_weights
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.utils.flop_counter import FlopCounterMode

from ulfine_cache.encoders.encoder import ClipEncoder
from ulfine_cache.progress import Silent
from ulfine_fast.registry import get_method
from ulfine_fast.rows.training_data import TrainingData, make_training_data
from ulfine_fast.training import train

CORES = os.cpu_count() or 1
WIDTH = 512
STEPS, LABELLED, UNLABELLED = 1024, 16, 112
PART = 8  # of a step are timed as one
CIFAR_LABELLED, CIFAR_UNLABELLED = 1911, 15651


def clip_like(labelled: int, unlabelled: int, n_classes: int, imbalance: float = 10.0, seed: int = 0) -> TrainingData:
    """Long-tailed labelled rows and uniform unlabelled ones with the spectrum of CLIP's features."""
    generator = np.random.default_rng(seed)
    axes = np.linalg.qr(generator.normal(size=(WIDTH, WIDTH)))[0]

    def factor(rank: int, variance: float) -> np.ndarray:
        spectrum = 1 / np.arange(1, rank + 1)
        return np.sqrt(variance * spectrum / spectrum.sum())[:, None] * axes[:rank]

    def direction(squared_length: float) -> np.ndarray:
        vector = generator.normal(size=WIDTH)
        return vector * np.sqrt(squared_length) / np.linalg.norm(vector)

    # Classes differ in few directions, so that they overlap: about nine of ten rows can be told right.
    within, between = factor(WIDTH, 0.22), factor(14, 0.2)
    offsets = generator.normal(size=(n_classes, 14)) @ between
    centres = direction(0.58) + offsets
    text = direction(0.76) + offsets + 0.5 * generator.normal(size=(n_classes, 14)) @ between
    profile = imbalance ** -(np.arange(n_classes) / (n_classes - 1))
    counts = np.maximum(1, np.round(labelled * profile / profile.sum())).astype(int)
    labels = np.repeat(np.arange(n_classes), counts)
    truth = generator.integers(0, n_classes, unlabelled)

    def draw(classes: np.ndarray) -> np.ndarray:
        return (centres[classes] + generator.normal(size=(len(classes), WIDTH)) @ within).astype(np.float32)

    return make_training_data(
        features=draw(labels),
        labels=labels,
        unlabelled=draw(truth),
        text=text.astype(np.float32),
        class_names=tuple(f"class {k}" for k in range(n_classes)),
    )


def seconds(run: Callable[[], object], repeats: int) -> float:
    """The median of `repeats` runs after one that warms up."""
    run()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def fit(method: str, data: TrainingData) -> None:
    chosen = get_method(method)
    train(chosen, chosen.settings(), data, 0, Silent())


def logistic_regression(data: TrainingData, repeats: int) -> float:
    features, labels = data.features.numpy(), data.labels.numpy()
    times = []
    for threads in {1, CORES}:
        with threadpool_limits(threads):
            times.append(seconds(lambda: LogisticRegression(max_iter=1000).fit(features, labels), repeats))
    return min(times)


def matrix_rate() -> float:
    """Floating-point operations a second of a large float32 product."""
    size = 4096
    left, right = torch.rand(size, size), torch.rand(size, size)
    return 2 * size**3 / seconds(lambda: left @ right, 5)


def operations(data: TrainingData) -> int:
    with FlopCounterMode(display=False) as counter:
        fit("ulfine", data)
    return counter.get_total_flops()


class BesideMlp(nn.Module):
    """AdaptFormer (Chen et al., NeurIPS 2022): a bottleneck of 64 beside the frozen MLP, times 0.1."""

    def __init__(self, mlp: nn.Module, width: int) -> None:
        super().__init__()
        self.mlp, self.down, self.up = mlp, nn.Linear(width, 64), nn.Linear(64, width)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x) + 0.1 * self.up(torch.relu(self.down(x)))


def end_to_end(model: str, dtype: torch.dtype, repeats: int) -> float:
    """Seconds of one step of the recipe."""
    import open_clip

    visual: Any = open_clip.create_model(model).visual
    visual.requires_grad_(False)
    width = visual.transformer.width
    for block in visual.transformer.resblocks:
        block.mlp = BesideMlp(block.mlp, width)
    head = nn.Linear(visual.output_dim, 100, bias=False)
    nn.ModuleList([visual, head]).to(dtype).train()
    size = visual.image_size[0] if isinstance(visual.image_size, tuple) else visual.image_size
    labelled, unlabelled = LABELLED // PART, UNLABELLED // PART
    pixels = torch.rand(labelled + 2 * unlabelled, 3, size, size, dtype=dtype)
    labels = torch.arange(labelled)

    def part_of_a_step() -> None:
        logits = 25 * normalize(visual(pixels), dim=-1) @ normalize(head.weight, dim=-1).T
        weak, strong = logits[labelled:].float().chunk(2)
        confidence, pseudo = weak.detach().softmax(-1).max(-1)
        consistency = cross_entropy(strong, pseudo, reduction="none") * (confidence > 0.6)
        (cross_entropy(logits[:labelled].float(), labels) + consistency.mean()).backward()

    return PART * seconds(part_of_a_step, repeats)


def cache_seconds(model: str, folder: Path, least_seconds: float) -> tuple[float, str]:
    """Seconds for all images once through the encoder, and its precision."""
    encoder = ClipEncoder.load(model, str(random_weights(model, folder)))
    side = encoder.preprocess.size[0] if isinstance(encoder.preprocess.size, tuple) else encoder.preprocess.size
    pixels = np.random.default_rng(0).integers(0, 256, (256, side, side, 3), np.uint8)
    rate = max(forward_alone(encoder, pixels, least_seconds).values())
    return (CIFAR_LABELLED + CIFAR_UNLABELLED) / rate, encoder.precision


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    repeats = 1 if arguments.quick else 5
    rate = matrix_rate()
    figures: dict[str, Any] = {"cores": CORES, "threads": torch.get_num_threads(), "matrix_flops_per_second": rate}
    for name, data in (
        (f"50,000 x {WIDTH}, 100 classes, 5 % labelled", clip_like(2500, 47_500, 100)),
        (f"400 x {WIDTH}, 19 classes, half labelled", clip_like(200, 200, 19)),
    ):
        flops = operations(data)
        figures[name] = {
            "labelled": len(data.labels),
            "ulfine": seconds(lambda data=data: fit("ulfine", data), repeats),
            "LogisticRegression": logistic_regression(data, repeats),
            "fixmatch": seconds(lambda data=data: fit("fixmatch", data), 1),
            "floor": flops / rate,
            "flops": flops,
        }
    data = clip_like(CIFAR_LABELLED, CIFAR_UNLABELLED, 100)
    own_fit = seconds(lambda: fit("ulfine", data), repeats)
    cache, precision = cache_seconds(arguments.model, folder, 4.0 if arguments.quick else 20.0)
    steps = {"fp32": end_to_end(arguments.model, torch.float32, 1)}
    if precision == "bf16":
        steps["bf16"] = end_to_end(arguments.model, torch.bfloat16, 1)
    figures["end to end"] = {
        "model": arguments.model,
        "step": steps,
        "recipe": STEPS * min(steps.values()),
        "precision": precision,
        "cache": cache,
        "fit": own_fit,
    }
    return figures


def bars_of(figures: dict[str, Any]) -> list[dict[str, Any]]:
    large, small = (entry for name, entry in figures.items() if " x " in name)
    end = figures["end to end"]
    wanted = [
        ("large fit, times the floor", large["ulfine"] / large["floor"], 3.0, False),
        ("large fit, times LogisticRegression", large["ulfine"] / large["LogisticRegression"], 5.0, False),
        ("small fit, times LogisticRegression", small["ulfine"] / small["LogisticRegression"], 10.0, False),
        ("end to end, times cache and fit", end["recipe"] / (end["cache"] + end["fit"]), 25.0, True),
    ]
    return [
        {"name": name, "value": round(value, 3), "bar": bar, "holds": value >= bar if least else value <= bar}
        for name, value, bar, least in wanted
    ]


def show(figures: dict[str, Any], bars: list[dict[str, Any]]) -> None:
    print(f"{figures['cores']} cores, {figures['matrix_flops_per_second'] / 1e9:.0f} GFLOP/s of float32 products")
    for name, entry in figures.items():
        if " x " in name:
            print(f"\n{name}: {entry['flops'] / 1e9:.1f} GFLOP in matrix products of ulfine")
            for what in ("ulfine", "LogisticRegression", "fixmatch", "floor"):
                print(f"{entry[what]:>10.3f} s  {what}")
    end = figures["end to end"]
    print(f"\n{end['model']}, {CIFAR_LABELLED} + {CIFAR_UNLABELLED} images, {end['precision']}")
    for precision, step in end["step"].items():
        print(f"{step:>10.1f} s  a step of the end-to-end recipe, {precision}")
    for what in ("recipe", "cache", "fit"):
        print(f"{end[what]:>10.1f} s  {what}")
    print()
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']:.2f} (bar {bar['bar']:g})")


def main() -> int:
    parser = argparse.ArgumentParser(description="How fast is a fit, and how fast could it be?")
    parser.add_argument("--quick", action="store_true", help="single runs")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--model", default="ViT-B-16", help="encoder of the end-to-end comparison")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(arguments, Path(folder))
    bars = bars_of(figures)
    show(figures, bars)
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": figures, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
