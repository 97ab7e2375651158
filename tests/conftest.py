"""What tests of several rooms need."""

import os
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real CLIP features and photographs, which are not part of the project."""
    place = Path(os.environ.get("ULFINE_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not (place / "clip-features").is_dir():
        pytest.skip(f"no data at {place}: set ULFINE_SHARED_DATA to a directory with clip-features/ and images/")
    return place


@pytest.fixture(scope="session")
def feature_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small .npz as users bring it: 4 classes, 16-d features around text prototypes, a train and a test set."""
    generator = np.random.default_rng(7)
    names = np.array(["ash", "birch", "cedar", "date palm"])
    text = generator.normal(size=(4, 16))
    labels = np.concatenate([np.repeat(np.arange(4), 40), np.repeat(np.arange(4), 10)])
    features = text[labels] + 1.6 * generator.normal(size=(200, 16)) + 0.8 * generator.normal(size=16)
    path = tmp_path_factory.mktemp("feature-file") / "trees.npz"
    np.savez(
        path,
        features=features.astype(np.float32),
        labels=labels,
        text_features=text.astype(np.float32),
        class_names=names,
        split=np.array(["train"] * 160 + ["test"] * 40),
        paths=np.array([f"{names[label]}/{row}.jpg" for row, label in enumerate(labels)]),
    )
    return path
