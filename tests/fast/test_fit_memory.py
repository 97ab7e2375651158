"""`fit --memory`: the same run whether the unlabelled rows are in memory or stay on the disk."""

from pathlib import Path

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_fast.fitting import fit
from ulfine_fast.rows.memory_bound import MemoryBound, resident_bytes
from ulfine_fast.streaming_choice import must_stream


class Notes:
    """A `Progress` that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def update(self, stage: str, done: int, total: int | None, **figures: float) -> None: ...

    def note(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture(scope="module")
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


def test_fit__streams_where_memory_is_short_and_writes_the_same_run(many: Path, tmp_path: Path):
    loaded = Notes()
    fit(cache=many, out=tmp_path / "loaded", progress=loaded)
    assert not any("disk" in line for line in loaded.lines)
    # The highest bound that makes it stream, less half of the 15 MB that lie between it and the lowest.
    cache, streamed = FeatureCache.open(many), Notes()
    bound = resident_bytes() + 10**9
    while not must_stream(cache, cache.read_split(None), "cpu", MemoryBound(bound)):
        bound -= 10**6
    fit(cache=many, out=tmp_path / "streamed", memory=str(bound - 7 * 10**6), progress=streamed)
    assert any("59100 unlabelled rows (15 MB) stay on the disk" in line for line in streamed.lines)
    for name in ("model.safetensors", "history.csv", "predictions.csv"):
        assert (tmp_path / "streamed" / name).read_bytes() == (tmp_path / "loaded" / name).read_bytes()


def test_fit__memory_that_is_no_size_or_too_little(many: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="memory 'lots' is no size"):
        fit(cache=many, out=tmp_path / "run", memory="lots")
    with pytest.raises(UlfineError, match=r"300 labelled and 59100 unlabelled rows .* more than 100 MB: raise"):
        fit(cache=many, out=tmp_path / "run", memory="100MB")
    assert not (tmp_path / "run").exists()
