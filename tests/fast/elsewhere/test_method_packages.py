"""The template is built as a distribution, installed into an environment of its own, and used there."""

import subprocess
from pathlib import Path

import pytest

from tests.template_environment import python_with, ulfine
from ulfine_cache.errors import UsageError
from ulfine_fast.fitting import fit
from ulfine_fast.run import load_run

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "method"


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Of an environment that holds the template, and finds ulfine-fast and what it needs in this one's folders."""
    folder = tmp_path_factory.mktemp("environment")
    return python_with(EXAMPLE, folder)


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
