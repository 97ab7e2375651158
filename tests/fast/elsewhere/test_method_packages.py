"""The template is built as a distribution, installed into an environment of its own, and used there."""

import os
import subprocess
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import ulfine_fast
from ulfine_cache.errors import UsageError
from ulfine_fast.fitting import fit
from ulfine_fast.run import load_run

ROOT = Path(ulfine_fast.__file__).resolve().parents[1]
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "method"


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
    return subprocess.run(command, env=alone, capture_output=True, text=True)


def test_template__is_installed_and_used(python, text_cache, tmp_path):
    run = tmp_path / "run"
    done = ulfine(python, "fit", text_cache, "--split", "lt", "--method", "class-means", "--out", run, "--quiet")
    assert done.returncode == 0, done.stderr
    assert '"ulfine-class-means 1.0"' in (run / "provenance.json").read_text()
    compared = ulfine(python, "compare", text_cache, "--split", "lt", "--methods", "knn,class-means", "--seeds", "1")
    assert "class-means" in compared.stdout, compared.stderr
    assert load_run(run).method == "class-means"  # here, where the package is not installed


def test_template__has_a_test_that_passes(python):
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE / "tests"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=EXAMPLE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_unknown_method__names_installed_ones(python, text_cache, tmp_path):
    done = ulfine(python, "fit", text_cache, "--split", "lt", "--method", "class-mean", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert done.stderr.strip().endswith("ulfine-paper, class-means")


def test_package__is_named_where_its_method_is_not_installed(text_cache, tmp_path):
    with pytest.raises(UsageError, match="unknown method 'class-means'"):
        fit(cache=text_cache, out=tmp_path / "run", split="lt", method="class-means")
