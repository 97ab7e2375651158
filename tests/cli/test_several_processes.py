"""`torchrun ... -m ulfine_cli fit`: two real processes against one."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_fast.fitting import fit
from ulfine_fast.run import load_run

ROOT = Path(__file__).parents[2]
METHODS = {"ulfine": (), "fixmatch": ("steps=40", "batch_size=33")}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Five overlapping classes in 16 dimensions: 61 labelled rows, 3,001 unlabelled ones, 100 test rows."""
    folder = tmp_path_factory.mktemp("processes")
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(5, 16))
    labels = generator.integers(0, 5, 3162)
    features = centres[labels] + 1.2 * generator.normal(size=(3162, 16))
    labels[61:3062] = -1
    np.savez(
        folder / "features.npz",
        features=features.astype(np.float32),
        labels=labels,
        text_features=centres.astype(np.float32),
        class_names=list("abcde"),
        split=["train"] * 3062 + ["test"] * 100,
    )
    import_features(file=folder / "features.npz", out=folder / "cache")
    return folder / "cache"


def torchrun(folder, *arguments):
    paths = [str(folder), *(str(ROOT / name) for name in ("", "cli", "cache", "exports"))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    call = [*command, "-m", "ulfine_cli", *map(str, arguments)]
    return subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)


def history(run):
    with (run / "history.csv").open(newline="") as file:
        return [[float(value or 0) for value in row.values()] for row in csv.DictReader(file)]


@pytest.mark.parametrize("method", METHODS)
def test_two_processes__the_run_of_one(cache, tmp_path, method):
    one = fit(cache=cache, out=tmp_path / "one", method=method, set=METHODS[method], device="cpu").path
    settings = [word for setting in METHODS[method] for word in ("--set", setting)]
    done = torchrun(tmp_path, "fit", cache, "--out", "two", "--method", method, *settings, "--no-report")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("written to two") == 1
    assert done.stderr.count("61 labelled and 3001 unlabelled rows") == 1
    two = tmp_path / "two"
    np.testing.assert_allclose(history(one), history(two), atol=1e-5)
    weights = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    for name, values in weights[0].items():
        np.testing.assert_allclose(values, weights[1][name], atol=1e-3, rtol=1e-3)
    rows = np.asarray(FeatureCache.open(cache).features(np.arange(3062, 3162)), np.float32)
    answers = load_run(one).predict_proba(rows), load_run(two).predict_proba(rows)
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def ours(stderr):
    """The lines that are not torchrun's own."""
    return [line for line in stderr.splitlines() if "error: " in line and "errors" not in line]


def test_two_processes__one_line_of_what_is_wrong(cache, tmp_path):
    done = torchrun(tmp_path, "fit", cache, "--out", "two", "--method", "knn")
    assert done.returncode != 0
    (line,) = ours(done.stderr)
    assert line.startswith("error: method knn is fitted by one process: start it without torchrun, or choose lp, ")


def test_two_processes__other_commands(cache, tmp_path):
    done = torchrun(tmp_path, "info", cache)
    assert done.returncode != 0
    (line,) = ours(done.stderr)
    assert line == (
        "error: torchrun starts several processes, and `ulfine info` is the work of one: start it without torchrun"
    )
    assert not done.stdout


def test_two_processes__first_one_starts_late(cache, tmp_path):
    late = 'import os, time\ntime.sleep(6 if os.environ.get("RANK") == "0" else 0)\n'
    (tmp_path / "sitecustomize.py").write_text(late)
    done = torchrun(tmp_path, "info", cache)
    assert len(ours(done.stderr)) == 1, done.stderr
