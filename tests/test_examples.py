"""The examples that stand alone: the notebook, the scripts, the retraining."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ulfine_cache import cache_features, make_split
from ulfine_exports.digits_folder import write_digits
from ulfine_fast import fit

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"


@pytest.fixture
def environment(tmp_path):
    """Where `ulfine` is this checkout's, as for people who have installed it."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ulfine").write_text(f'#!/bin/sh\nexec {sys.executable} -m ulfine_cli.main "$@"\n')
    (programs / "ulfine").chmod(0o755)
    rooms = os.pathsep.join(str(ROOT / room) for room in (".", "cli", "cache", "exports"))
    return os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": rooms}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of few handwritten digits, four of the classes."""
    all_of_them, folder = (tmp_path_factory.mktemp(name) for name in ("all digits", "digits"))
    write_digits(all_of_them)
    for name in ("one", "three", "seven", "eight"):
        for file in sorted((all_of_them / name).iterdir())[:24]:
            (folder / name).mkdir(exist_ok=True)
            shutil.copy(file, folder / name)
    return folder


def python(script, place, environment):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script)], cwd=place, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_own_features(tmp_path, environment):
    fitted, answered = python("features/own_features.py", tmp_path, environment)
    assert float(fitted.split()[2].rstrip(",")) > 0.8
    assert float(answered.split()[4]) > 0.8
    assert (tmp_path / "digits.onnx").is_file()


def test_pipeline(tmp_path, environment):
    *methods, best = python("features/pipeline.py", tmp_path, environment)
    assert [line.partition(":")[0] for line in methods] == ["ulfine", "gda", "label-spreading"]
    assert float(best.split()[-1]) > 0.8


def test_notebook__runs_with_the_report_inside(tmp_path, environment, monkeypatch, photographs):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(EXAMPLES / "notebook" / "photographs.ipynb", 4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "clear the outputs before you commit"
    for name, value in (environment | {"PHOTOS": str(photographs), "IPYTHONDIR": str(tmp_path / "ipython")}).items():
        monkeypatch.setenv(name, value)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output for output in shown if output.output_type == "error"] == []
    pages = [output.data["text/html"] for output in shown if "text/html" in output.get("data", {})]
    [report] = [page for page in pages if page.startswith("<iframe srcdoc=")]
    assert "data:image/" in report and "Content-Security-Policy" in report
    assert "labelled," in "".join(output.get("text", "") for output in shown)


def test_retraining__replaces_the_model_or_stops_at_a_gate(tmp_path, environment, monkeypatch, photographs):
    monkeypatch.chdir(tmp_path)
    cache_features(source=str(photographs), out=Path("cache"), model="builtin:tiny")
    make_split(cache=Path("cache"), name="few", labelled_max=6, imbalance=2.0, test_per_class=6)
    fit(cache=Path("cache"), split="few", out=Path("runs/last"))
    first = Path("runs/last/unlabelled.csv").read_text("utf-8").splitlines()[1].partition(",")[0]
    Path("labels.csv").write_text(f"path,label\n{first},{first.partition('/')[0]}\n")

    def retrain(least):
        command = [
            "sh",
            str(EXAMPLES / "retraining" / "retrain.sh"),
            str(photographs),
            "builtin:tiny",
            "labels.csv",
            least,
        ]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    refused = retrain("1.1")
    assert refused.returncode == 1, refused.stderr
    assert not Path("model.onnx").exists() and not Path("runs/before").exists() and Path("runs/last").is_dir()
    done = retrain("0.5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("model.onnx is this week's")
    assert Path("model.onnx").is_file()
    assert sorted(path.name for path in Path("runs").iterdir()) == ["before", "last"]


def test_retraining__the_workflow_calls_the_script():
    workflow = yaml.safe_load((EXAMPLES / "retraining" / "weekly.yml").read_text("utf-8"))
    [job] = workflow["jobs"].values()
    [script] = [step["run"] for step in job["steps"] if "retrain.sh" in step.get("run", "")]
    assert script.endswith('retrain.sh" photos builtin:lite0 labels.csv 0.85')


def test_own_method__the_page_gives_a_file_and_a_test_that_pass(tmp_path, environment):
    shutil.copy(EXAMPLES / "method" / "ulfine_class_means.py", tmp_path)
    page = (ROOT / "docs" / "own_method.md").read_text("utf-8").partition("## With a test")[2]
    (tmp_path / "test_class_means.py").write_text(page.partition("```python\n")[2].partition("```")[0])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout
