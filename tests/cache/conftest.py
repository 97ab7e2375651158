"""A tiny CLIP with random weights and folders of small pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TINY_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
MODEL = "ulfine-random-test"


class Recorder:
    """A progress that keeps what it is told."""

    def __init__(self):
        self.notes, self.updates = [], []

    def update(self, stage, done, total, **figures):
        self.updates.append((stage, done, total))

    def note(self, message):
        self.notes.append(message)


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture(scope="session")
def random_model(tmp_path_factory):
    """Register a tiny open_clip model and return (name, checkpoint file, config file)."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("model")
    config = folder / f"{MODEL}.json"
    config.write_text(json.dumps(TINY_CONFIG))
    open_clip.add_model_config(config)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model(MODEL)
    save_file(model.state_dict(), folder / "weights.safetensors")
    return MODEL, str(folder / "weights.safetensors"), config


def write_picture(path: Path, seed: int, size=(40, 36)):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 5, 3), np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR).save(path)


@pytest.fixture
def photos(tmp_path):
    """Three classes of 8, 6 and 4 pictures, and 5 unlabelled ones: 23 in all."""
    root = tmp_path / "photos"
    seed = 0
    for folder, count in (("red_fox", 8), ("cat", 6), ("zebra", 4), ("unlabelled", 5)):
        for number in range(count):
            write_picture(root / folder / f"{number:02d}.png", seed)
            seed += 1
    return root


@pytest.fixture
def run(photos, tmp_path, random_model):
    """Run stage one on the pictures with small shards; keywords change the call."""

    from ulfine_cache.stage_one import cache_features

    def run_stage_one(**changes):
        values = {
            "source": photos,
            "out": tmp_path / "cache",
            "model": random_model[0],
            "pretrained": random_model[1],
            "device": "cpu",
            "precision": "fp32",
            "batch_size": 3,
            "workers": 2,
            "shard_size": 5,
        }
        return cache_features(**(values | changes))

    return run_stage_one
