"""Train the embedded CLIP from nothing on images that `render` draws: ``python -m ulfine_cache.tiny.train --out DIR``.

The two towers are open_clip's own. The loss is the symmetric contrastive cross-entropy of CLIP with the exact set of
positives as soft target: in a batch every caption counts as right for every image it is true of (`captions.matches`),
in equal shares. That is the multi-positive target of UniCL (Yang et al., "Unified Contrastive Learning in
Image-Text-Label Space", CVPR 2022, equations 2 to 4), with attributes in place of its labels.
"""

import argparse
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from ulfine_cache import tiny
from ulfine_cache.config import StrictConfig
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.tiny.captions import DIGIT_NAMES, LABELS, Attributes, describe, matches
from ulfine_cache.tiny.render import font_files, render_pool
from ulfine_cache.tiny.vocabulary import Vocabulary

_HELD_OUT_START = 10_000_000  # held-out images are drawn from a stretch of the pool that training never reaches


class TrainConfig(StrictConfig):
    """Every value that the weights depend on."""

    seed: int = Field(default=0, ge=0)
    images: int = Field(default=30_000, ge=1)
    held_out: int = Field(default=2_000, ge=1)
    steps: int = Field(default=3_000, ge=1)
    batch_size: int = Field(default=128, ge=2)
    lr: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    threads: int = Field(default=1, ge=1)  # part of the recipe: sums in another order give other last bits
    workers: int = Field(default=2, ge=1)  # rendering processes; they change nothing in the weights


def _draw(seed: int, start: int, stop: int, workers: int, progress: Progress) -> tuple[NDArray[np.uint8], Attributes]:
    """`render_pool` in several processes."""
    edges = [*range(start, stop, 1000), stop]
    parts: list[tuple[NDArray[np.uint8], Attributes]] = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = pool.map(render_pool, [seed] * (len(edges) - 1), edges[:-1], edges[1:])
        for part in jobs:
            parts.append(part)
            progress.update("rendering", sum(len(a) for _, a in parts), stop - start)
    return np.concatenate([p for p, _ in parts]), np.concatenate([a for _, a in parts])


def normalise(pixels: NDArray[np.uint8] | Tensor) -> Tensor:
    """Turn uint8 (n, H, W, 3) pixels into the float32 (n, 3, H, W) input of the image tower, as open_clip does."""
    mean = torch.tensor(OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(OPENAI_DATASET_STD).view(1, 3, 1, 1)
    return (torch.as_tensor(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std


def _jiggle(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, scale, turn and shear each image a little and change its contrast, so that a pool lasts many passes."""
    n = len(images)
    noise = torch.randn(n, 6, generator=generator) * torch.tensor([0.05, 0.07, 0.04, 0.07, 0.05, 0.04])
    theta = noise.view(n, 2, 3) + torch.eye(2, 3)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return moved * (1 + 0.1 * torch.randn(n, 1, 1, 1, generator=generator))


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, positive: Tensor) -> Tensor:
    """Return the symmetric cross-entropy against all positives in equal shares.

    Args:
        image: Image embeddings, unit norm, float32 (n, D).
        text: Caption embeddings, unit norm, float32 (n, D).
        scale: Factor on the cosines, positive scalar.
        positive: bool (n, n); row i, column j: caption j is true of image i. The diagonal is true.

    Returns:
        Scalar; its minimum is the mean entropy of the targets, not 0.
    """
    logits = scale * image @ text.T
    shares = positive.float()
    by_image = functional.cross_entropy(logits, shares / shares.sum(1, keepdim=True))
    by_text = functional.cross_entropy(logits.T, shares.T / shares.T.sum(1, keepdim=True))
    return (by_image + by_text) / 2


@torch.no_grad()
def zero_shot_accuracy(
    model: Any, pixels: NDArray[np.uint8], labels: NDArray[np.int64], prompts: Tensor, batch_size: int = 500
) -> float:
    """Return the share of images whose nearest prompt is their label's (prompt i belongs to label i)."""
    model.eval()
    text = model.encode_text(prompts, normalize=True)
    hits = 0
    for start in range(0, len(labels), batch_size):
        image = model.encode_image(normalise(pixels[start : start + batch_size]), normalize=True)
        hits += int(((image @ text.T).argmax(1).numpy() == labels[start : start + batch_size]).sum())
    model.train()
    return hits / max(1, len(labels))


def _half(name: str, value: Tensor) -> Tensor:
    """Round weights to float16; running statistics and the logit scale stay exact (a variance may underflow)."""
    exact = not value.is_floating_point() or "running_" in name or name == "logit_scale"
    return value.contiguous() if exact else value.half().contiguous()


def train(*, out: Path, config: TrainConfig | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Render, train, measure on held-out rendered images, and write ``model.safetensors`` into `out`.

    Args:
        out: Folder for the weights; made where missing.
        config: What the weights depend on; the defaults made the embedded weights.
        progress: Who watches.

    Returns:
        Figures: held-out accuracies (fractions), parameters, seconds, fonts, path.
    """
    config = config or TrainConfig()
    progress = progress or Silent()
    started = time.monotonic()
    torch.set_num_threads(config.threads)
    pixels, attributes = _draw(config.seed, 0, config.images, config.workers, progress)
    held_pixels, held_attributes = _draw(
        config.seed, _HELD_OUT_START, _HELD_OUT_START + config.held_out, config.workers, progress
    )
    rendered = time.monotonic()

    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model: Any = open_clip.create_model(tiny.register())
        vocabulary = Vocabulary(model.context_length)
        vocabulary_size, width = model.token_embedding.weight.shape
        model.token_embedding = nn.Embedding(len(vocabulary.ids), width)
        nn.init.normal_(model.token_embedding.weight, std=0.02)
    model.to(memory_format=torch.channels_last)  # twice as fast on a CPU
    matrices = [p for p in model.parameters() if p.ndim >= 2 and p is not model.token_embedding.weight]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}],
        lr=config.lr,
        betas=(0.9, 0.98),
    )
    warmup = max(1, config.steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / config.steps))) + 1e-4
        ),
    )
    digits = held_attributes[:, 0] < 10
    prompts = vocabulary.packed([f"a photo of the digit {name}" for name in DIGIT_NAMES])
    shape_prompts = vocabulary.packed([f"a photo of a {name}." for name in LABELS[10:]])

    def held_out() -> dict[str, float]:
        return {
            "held_out_digits": zero_shot_accuracy(model, held_pixels[digits], held_attributes[digits, 0], prompts),
            "held_out_shapes": zero_shot_accuracy(
                model, held_pixels[~digits], held_attributes[~digits, 0] - 10, shape_prompts
            ),
        }

    rng = np.random.default_rng((config.seed, 2))
    generator = torch.Generator().manual_seed(config.seed)
    order = np.empty(0, dtype=np.int64)
    running = math.nan
    model.train()
    for step in range(config.steps):
        if len(order) < config.batch_size:
            order = np.concatenate([order, rng.permutation(len(pixels))])
        rows, order = order[: config.batch_size], order[config.batch_size :]
        said = [describe(row, rng) for row in attributes[rows]]
        positive = torch.from_numpy(matches(attributes[rows], np.stack([asserted for _, asserted in said])))
        pictures = _jiggle(normalise(pixels[rows]), generator).contiguous(memory_format=torch.channels_last)
        image = model.encode_image(pictures, normalize=True)
        text = model.encode_text(vocabulary.packed([caption for caption, _ in said]), normalize=True)
        loss = contrastive_loss(image, text, model.logit_scale.exp(), positive)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        running = loss.item() if math.isnan(running) else 0.98 * running + 0.02 * loss.item()
        if not math.isfinite(running):
            raise FloatingPointError(f"the loss is not finite at step {step}: lower the learning rate")
        if (step + 1) % 50 == 0:
            progress.update("training", step + 1, config.steps, loss=running, scale=model.logit_scale.exp().item())
        if (step + 1) % 500 == 0 and step + 1 < config.steps:
            progress.note(", ".join(f"{name} {value:.4f}" for name, value in held_out().items()))

    figures: dict[str, Any] = {**held_out(), "loss": running}
    full = vocabulary.unpack(model.token_embedding.weight.detach(), vocabulary_size)
    state = {**model.state_dict(), "token_embedding.weight": full}
    out.mkdir(parents=True, exist_ok=True)
    target = out / tiny.WEIGHTS_FILE.name
    save_file({name: _half(name, value) for name, value in state.items()}, target)
    seconds = {"rendering": round(rendered - started, 1), "training": round(time.monotonic() - rendered, 1)}
    return {
        **figures,
        "parameters_trained": sum(p.numel() for p in model.parameters()),
        "parameters_image_tower": sum(p.numel() for p in model.visual.parameters()),
        "token_rows_trained": len(vocabulary.ids),
        "seconds": seconds,
        "fonts": list(font_files()),
        "weights": str(target),
    }


class _Lines:
    """Progress as plain lines on stderr, with a rate and the time left."""

    def __init__(self) -> None:
        self._stage, self._began, self._said = "", 0.0, 0.0

    def update(self, stage: str, done: int, total: int | None, **figures: float) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._began, self._said = stage, now, now
        if now - self._said < 5 and done != total:
            return
        self._said = now
        rate = done / max(now - self._began, 1e-9)
        left = f", {((total or done) - done) / rate:.0f} s left" if rate else ""
        values = "".join(f", {name} {value:.4g}" for name, value in figures.items())
        self.note(f"{stage} {done}/{total} ({rate:.1f}/s{left}){values}")

    def note(self, message: str) -> None:
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()


def main() -> None:
    """Run from the command line; every option is a field of `TrainConfig`."""
    parser = argparse.ArgumentParser(
        prog="python -m ulfine_cache.tiny.train", description="Train the embedded CLIP on rendered images."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for model.safetensors")
    for name, field in TrainConfig.model_fields.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(field.default), default=field.default)
    arguments = vars(parser.parse_args())
    figures = train(out=arguments.pop("out"), config=TrainConfig(**arguments), progress=_Lines())
    sys.stdout.write("".join(f"{name}: {value}\n" for name, value in figures.items()))


if __name__ == "__main__":
    main()
