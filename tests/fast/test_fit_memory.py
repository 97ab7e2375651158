"""`fit --memory`: the same run whether the unlabelled rows are in memory or stay on the disk."""

from pathlib import Path

import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
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
