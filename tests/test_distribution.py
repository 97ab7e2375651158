"""What is in the wheel and in the sdist, built here with the backend that builds them for a release."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("cache/ulfine_cache", "ulfine_fast", "exports/ulfine_exports", "cli/ulfine_cli")
TINY = "ulfine_cache/tiny/"
SCRIPTS = {path.name for path in (ROOT / "cache" / TINY).glob("*.py")} - {"__init__.py"}
"""What trained `builtin:tiny`."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    [built] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder)
    return folder


def test_wheel__holds_every_module_but_what_trained_the_tiny_model(wheel):
    modules = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*.py")}
    sources = [(path, (ROOT / room).parent) for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    expected = {path.relative_to(root).as_posix() for path, root in sources}
    assert expected - modules == {TINY + name for name in SCRIPTS}
    assert modules <= expected
    assert {path.name for path in (wheel / TINY).iterdir()} == {
        "__init__.py",
        "MODEL_CARD.md",
        "model.safetensors",
        "ulfine-tiny.json",
    }


def test_wheel__the_tiny_model_runs_from_it(wheel, tmp_path):
    code = (
        "import ulfine_cache\n"
        "from ulfine_cache.encoders.encoder import ClipEncoder\n"
        "encoder = ClipEncoder.load('builtin:tiny', '', 'cpu')\n"
        "print(ulfine_cache.__file__, encoder.encode_text(['the digit seven']).shape)\n"
    )
    alone = os.environ | {"PYTHONPATH": str(wheel)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=alone, capture_output=True, text=True)
    assert done.stdout == f"{wheel / 'ulfine_cache' / '__init__.py'} (1, 128)\n", done.stderr


def test_sdist__keeps_what_trained_the_tiny_model(tmp_path):
    [built] = SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"cache/{TINY}{name}" for name in SCRIPTS} <= names
