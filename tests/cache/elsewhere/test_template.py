"""The template of a source and an encoder is built, installed into an environment of its own, and used there."""

import json
import os
import subprocess
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import ulfine_fast
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.joining.load import load_encoder
from ulfine_cache.sources.cached_images import cached_images

ROOT = Path(ulfine_fast.__file__).resolve().parents[1]
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "parts"


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Of an environment that holds the template, and finds ulfine-fast and what it needs in this one's folders."""
    folder = tmp_path_factory.mktemp("environment")
    [wheel] = WheelBuilder(str(EXAMPLE)).build(directory=str(folder / "dist"), versions=["standard"])
    venv.create(folder / "env", with_pip=False)
    [packages] = (folder / "env" / "lib").glob("python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    others = [str(ROOT), *(str(ROOT / room) for room in ("cli", "cache", "exports")), sysconfig.get_path("purelib")]
    (packages / "others.pth").write_text("\n".join(others))
    return folder / "env" / "bin" / "python"


def ulfine(python, *arguments):
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, "-m", "ulfine_cli.main", *map(str, arguments)]
    done = subprocess.run(command, env=alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_template__is_installed_and_used(python, photos, tmp_path, monkeypatch):
    pictures = [path.relative_to(photos) for path in sorted(photos.rglob("*.png")) if "unlabelled" not in path.parts]
    (photos / "images.txt").write_text("\n".join(f"{path} {path.parent.name}" for path in pictures))
    cache, run = tmp_path / "cache", tmp_path / "run"
    made = ("cache-features", f"image-list:{photos / 'images.txt'}", "--out", cache, "--model", "builtin:tiny+colours")
    ulfine(python, *made, "--device", "cpu", "--precision", "fp32", "--quiet")
    attributes = FeatureCache.open(cache).attributes
    assert json.loads(attributes["source_origin"])["package"] == "ulfine-colours 1.0"
    assert json.loads(json.loads(attributes["parts"])[1]["encoder_origin"])["package"] == "ulfine-colours 1.0"
    ulfine(python, "fit", cache, "--out", run, "--method", "knn", "--quiet", "--no-report")
    answered = ulfine(python, "predict", run, photos / pictures[0])
    assert pictures[0].parent.name.replace("_", " ") in answered
    ulfine(python, "export", run, "--onnx", tmp_path / "m.onnx", "--input", "pixels", "--quiet")
    # Here, where the package is not installed; other tests may have named its file.
    for module in ("encoders.own_encoder", "sources.own_source"):
        monkeypatch.setattr(f"ulfine_cache.{module}._run", {})
    with pytest.raises(UlfineError, match=r"of the package ulfine-colours 1.0, which is not installed: install it"):
        load_encoder(attributes, "cpu")
    with pytest.raises(UlfineError, match=r"'image-list' of the package ulfine-colours 1.0, which is not installed"):
        cached_images(FeatureCache.open(cache))
    assert (tmp_path / "m.onnx").stat().st_size > 10_000


def test_template__has_a_test_that_passes(python):
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE / "tests"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=EXAMPLE)
    assert done.returncode == 0, done.stdout + done.stderr
