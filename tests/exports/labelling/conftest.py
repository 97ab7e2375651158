"""Pictures to label, a run on a few of them, and the page as a process and as a thread."""

from pathlib import Path

import numpy as np
import pytest

from tests.exports.conftest import SHAPES, draw_shape
from tests.exports.labelling.processes import Page, Process

pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from ulfine_cache.stage_one import cache_features
from ulfine_exports.label import labelling
from ulfine_fast.fitting import fit


@pytest.fixture(scope="session")
def shapes_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shapes: 5 labelled, 12 unlabelled and 4 test pictures each, the unlabelled ones named by their shape."""
    folder = tmp_path_factory.mktemp("to-label")
    generator = np.random.default_rng(5)
    for shape in SHAPES:
        for place, count in ((f"train/{shape}", 5), ("train/unlabelled", 12), (f"test/{shape}", 4)):
            (folder / "photos" / place).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                draw_shape(shape, generator).save(folder / "photos" / place / f"{shape}{number:02}.png")
    cache_features(source=folder / "photos", out=folder / "cache", model="builtin:tiny", device="cpu", precision="fp32")
    return folder / "cache"


@pytest.fixture(scope="session")
def shapes_run(shapes_cache: Path) -> Path:
    return fit(cache=shapes_cache, out=shapes_cache.parent / "run", method="lp", set=["steps=20"]).path


@pytest.fixture
def page(shapes_cache, shapes_run, tmp_path):
    with labelling(cache=shapes_cache, run=shapes_run, out=tmp_path / "labels.csv") as (url, _):
        yield Page(url)


@pytest.fixture
def process(shapes_cache, shapes_run, tmp_path):
    """Start one; all are ended."""
    started = []

    def start():
        made = Process(shapes_cache, "--run", shapes_run, "--out", tmp_path / "labels.csv")
        started.append(made)
        return made

    yield start
    for each in started:
        if each.process.poll() is None:
            each.kill()
