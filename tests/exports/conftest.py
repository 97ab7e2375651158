"""Runs to export: one on features made elsewhere, one on images through the embedded CLIP."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.exports.pages.headless import CHROMIUM, DRIVER, headless
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_exports.export import export_onnx
from ulfine_fast.fitting import fit

SHAPES = ("circle", "square", "triangle")


def draw_shape(shape: str, generator: np.random.Generator, size: tuple[int, int] = (90, 70)) -> Image.Image:
    """A dark filled shape somewhere on light paper."""
    picture = Image.new("RGB", size, tuple(int(value) for value in generator.integers(200, 256, 3)))
    x, y = (int(value) for value in generator.integers(8, 25, 2))
    side = int(generator.integers(25, 42))
    colour = tuple(int(value) for value in generator.integers(0, 90, 3))
    draw = ImageDraw.Draw(picture)
    if shape == "circle":
        draw.ellipse((x, y, x + side, y + side), fill=colour)
    elif shape == "square":
        draw.rectangle((x, y, x + side, y + side), fill=colour)
    else:
        draw.polygon([(x, y + side), (x + side, y + side), (x + side // 2, y)], fill=colour)
    return picture


@pytest.fixture(scope="session")
def feature_cache(feature_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("exports") / "features-cache"
    import_features(file=feature_file, out=cache, index="none")
    make_split(cache=cache, name="lt", labelled_max=20, imbalance=5.0, unlabelled="reversed")
    return cache


@pytest.fixture(scope="session")
def feature_run(feature_cache: Path) -> Path:
    """`ulfine` with adapter, prototypes and probe: every part of a graph."""
    return fit(cache=feature_cache, out=feature_cache.parent / "features-run", split="lt", method="ulfine").path


@pytest.fixture(scope="session")
def feature_onnx(feature_run: Path) -> Path:
    path = feature_run.parent / "features.onnx"
    export_onnx(run=feature_run, onnx=path)
    return path


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn shapes in train/<class>/ and test/<class>/, nothing at the edges of what can be decoded."""
    folder = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(3)
    for name, count in (("train", 8), ("test", 4)):
        for shape in SHAPES:
            (folder / name / shape).mkdir(parents=True)
            for number in range(count):
                draw_shape(shape, generator).save(folder / name / shape / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def pixel_run(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ulfine_cache.stage_one import cache_features

    folder = tmp_path_factory.mktemp("pixels")
    cache_features(
        source=photographs, out=folder / "cache", model="builtin:tiny", device="cpu", precision="fp32", index="none"
    )
    return fit(cache=folder / "cache", out=folder / "run", method="lp").path


@pytest.fixture(scope="session")
def pixel_onnx(pixel_run: Path) -> Path:
    path = pixel_run.parent / "pixels.onnx"
    export_onnx(run=pixel_run, onnx=path, input="pixels")
    return path


@pytest.fixture(scope="session")
def browser():
    """Chromium, which finds no other machine."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    pytest.importorskip("selenium", reason="selenium is not installed")
    with headless() as opened:
        yield opened


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`photos/`, its `cache/` with the split lt, and `run/` of the default method."""
    from ulfine_cache.stage_one import cache_features

    folder = tmp_path_factory.mktemp("shapes")
    generator = np.random.default_rng(5)
    for shape in SHAPES:
        (folder / "photos" / shape).mkdir(parents=True)
        for number in range(30):
            draw_shape(shape, generator).save(folder / "photos" / shape / f"{number:02d}.png")
    cache_features(source=folder / "photos", out=folder / "cache", model="builtin:tiny", device="cpu", index="none")
    make_split(cache=folder / "cache", name="lt", labelled_max=8, imbalance=4, unlabelled_max=10, test_per_class=10)
    fit(cache=folder / "cache", out=folder / "run", split="lt")
    return folder
