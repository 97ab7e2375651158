"""The examples of the docstrings run, in a folder that holds what they speak of."""

from __future__ import annotations

import contextlib
import csv
import doctest
import importlib
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from tests.test_architecture import ROOMS
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.splits import make_split
from ulfine_cache.stage_one import cache_features
from ulfine_exports.export import export_onnx
from ulfine_fast.fitting import fit
from ulfine_fast.rows.training_data import load_training_data
from ulfine_fast.run import load_run

MODULES = [
    ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__")
    for folder in ROOMS.values()
    for path in sorted(folder.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
OPTIONAL = ("pyarrow", "starlette", "uvicorn", "httptools", "multipart", "prometheus_client", "uvloop")
CLASSES = ("seven", "three")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`photos/` of two classes, the same as a table and as archives, a cache, a run and an exported model."""
    place = tmp_path_factory.mktemp("examples")
    images, digits = load_digits(return_X_y=True)
    rows = []
    for name, digit in zip(CLASSES, (7, 3), strict=True):
        (place / "photos" / name).mkdir(parents=True)
        for number, values in enumerate(images[digits == digit][:40], start=1):
            path = Path("photos") / name / f"{number:04}.png"
            picture = Image.fromarray((255 - values.reshape(8, 8) * 255 / 16).astype(np.uint8))
            picture.resize((64, 64), Image.Resampling.BICUBIC).save(place / path)
            rows.append((path.as_posix(), name))
    with (place / "photos.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    (place / "shards").mkdir()
    for number in range(2):
        with tarfile.open(place / "shards" / f"train-{number:03}.tar", "w") as tar:
            for path, name in rows[number::2]:
                tar.add(place / path, f"{name}_{Path(path).name}")
                (place / "class.cls").write_text(name)
                tar.add(place / "class.cls", f"{name}_{Path(path).stem}.cls")
    (place / "new.png").write_bytes((place / "photos" / "seven" / "0001.png").read_bytes())
    with contextlib.chdir(place):
        cache_features(source=Path("photos"), out=Path("photos-cache"), model="builtin:tiny", views="five-crop")
        make_split(cache=Path("photos-cache"), name="lt", labelled_max=12, imbalance=2, test_per_class=8)
        fit(cache=Path("photos-cache"), out=Path("runs/first"), split="lt")
        export_onnx(run=Path("runs/first"), onnx=Path("model.onnx"), input="image")
        cache = FeatureCache.open(Path("photos-cache"))
        names = np.array(cache.class_names)
        np.savez("photos.npz", features=cache.features(), labels=cache.labels, class_names=names)
    return place


@pytest.fixture
def names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What examples may use without importing or making it."""
    monkeypatch.chdir(folder)
    cache = FeatureCache.open(Path("photos-cache"))
    data = load_training_data(cache, cache.read_split("lt"))
    return {"Path": Path, "np": np, "torch": torch, "cache": cache, "data": data, "run": load_run(Path("runs/first"))}


@pytest.mark.parametrize("module", MODULES)
def test_examples__of_module(module: str, names: dict[str, object], capsys: pytest.CaptureFixture[str]):
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
        pytest.skip(f"no {error.name}")
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.REPORT_ONLY_FIRST_FAILURE)
    for example in doctest.DocTestFinder(exclude_empty=True).find(imported, extraglobs=names):
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0, capsys.readouterr().out
