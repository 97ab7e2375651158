"""The template of a source and an encoder is built, installed into an environment of its own, and used there."""

import json
import subprocess
from pathlib import Path

import pytest

from tests import template_environment
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.joining.load import load_encoder
from ulfine_cache.sources.cached_images import cached_images

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "parts"


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Of an environment that holds the template, and finds ulfine-fast and what it needs in this one's folders."""
    folder = tmp_path_factory.mktemp("environment")
    return template_environment.python_with(EXAMPLE, folder)


def ulfine(python, *arguments):
    done = template_environment.ulfine(python, *arguments)
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
