"""Small caches of synthetic clusters, entered the way users enter features made elsewhere."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split

CLASSES = ("ash", "birch", "cedar", "date palm", "elm", "fig")
WIDTH = 16


def _clusters(per_class: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features around six directions, their labels, and text prototypes near the same directions."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(len(CLASSES), WIDTH))
    labels = np.repeat(np.arange(len(CLASSES)), per_class)
    features = centres[labels] + 0.7 * generator.normal(size=(len(labels), WIDTH))
    text = centres + 0.8 * generator.normal(size=centres.shape)
    return features.astype(np.float32), labels, text.astype(np.float32)


@pytest.fixture
def clusters() -> Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """`clusters(per_class, seed=0)`: features, labels and text prototypes of the six classes."""
    return _clusters


MakeCache = Callable[..., Path]


@pytest.fixture
def make_cache(tmp_path: Path) -> MakeCache:
    """Write arrays into a cache: `make_cache("name", features=..., labels=..., ...)`."""

    def make(name: str, **arrays: object) -> Path:
        file = tmp_path / f"{name}.npz"
        np.savez(file, **{key: np.asarray(value) for key, value in arrays.items() if value is not None})
        import_features(file=file, out=tmp_path / name, index="none")
        return tmp_path / name

    return make


def _build(folder: Path, *, text: bool) -> Path:
    features, labels, prototypes = _clusters(60)
    arrays = {
        "features": features,
        "labels": labels,
        "class_names": np.array(CLASSES),
        "paths": np.array([f"{CLASSES[label]}/{row}.jpg" for row, label in enumerate(labels)]),
    }
    if text:
        arrays["text_features"] = prototypes
    np.savez(folder / "clusters.npz", **arrays)
    cache = folder / "cache"
    import_features(file=folder / "clusters.npz", out=cache, index="none")
    make_split(cache=cache, name="lt", labelled_max=20, imbalance=5.0, unlabelled="reversed", test_per_class=10)
    return cache


@pytest.fixture(scope="session")
def text_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six classes of 60 rows with text prototypes, and the split "lt": 20 to 4 labelled, 10 test, reversed."""
    return _build(tmp_path_factory.mktemp("with-text"), text=True)


@pytest.fixture(scope="session")
def bare_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without text."""
    return _build(tmp_path_factory.mktemp("without-text"), text=False)


@pytest.fixture
def opened(text_cache: Path) -> FeatureCache:
    return FeatureCache.open(text_cache)


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60,000 rows of three overlapping clusters, 300 of them labelled and 600 test rows."""
    folder = tmp_path_factory.mktemp("many")
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(3, 64))
    labels = generator.choice(3, size=60_000, p=(0.6, 0.3, 0.1))
    features = (centres[labels] + 3 * generator.normal(size=(60_000, 64))).astype(np.float32)
    split = np.full(60_000, "train")
    split[::100] = "test"
    number = np.arange(60_000)
    labels[(split == "train") & (number % 200 != 1)] = -1
    np.savez(folder / "many.npz", features=features, labels=labels, split=split)
    import_features(file=folder / "many.npz", out=folder / "cache", index="none")
    return folder / "cache"


class Recorder:
    """A progress that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def update(self, stage: str, done: int, total: int, **figures: float) -> None: ...

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()
