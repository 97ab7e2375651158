"""`ulfine fit`: several seeds at once, and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file


@pytest.fixture(scope="module")
def cache(ulfine, tmp_path_factory):
    """Four overlapping classes, 160 rows, 48 of them test rows, half of the others unlabelled."""
    folder = tmp_path_factory.mktemp("seeds")
    generator = np.random.default_rng(0)
    labels = np.arange(160) % 4
    features = np.eye(8)[labels] + 0.6 * generator.normal(size=(160, 8))
    split = np.where(np.arange(160) < 48, "test", "train")
    known = np.where((split == "train") & (np.arange(160) % 8 > 3), -1, labels)
    np.savez(folder / "f.npz", features=features, labels=known, split=split)
    ulfine("import-features", folder / "f.npz", "--out", folder / "cache").succeeded()
    return folder / "cache"


@pytest.mark.parametrize("method", ["lp-la", "fixmatch", "ulfine", "zero-shot"])
def test_fit__several_seeds_tell_their_spread(ulfine_here, cache, tmp_path, method):
    settings = () if method in ("ulfine", "zero-shot") else ("--set", "steps=40", "--set", "batch_size=16")
    arguments = ("fit", cache, "--method", method, *settings, "--seed", 4)
    out = ulfine_here(*arguments, "--seeds", 3, "--out", tmp_path / "three").succeeded().out
    assert out.splitlines()[0].split() == ["seeds", "macro", "head", "medium", "tail", "ece"]
    alone = []
    for seed in (4, 5, 6):
        ulfine_here(*arguments[:-1], seed, "--out", tmp_path / str(seed)).succeeded()
        alone.append(json.loads((tmp_path / str(seed) / "metrics.json").read_text()))
    figures = json.loads((tmp_path / "three" / "metrics.json").read_text())
    for name in ("macro_accuracy", "tail_accuracy", "ece", "nll"):
        expected = [metrics[name] for metrics in alone]
        found = figures["seeds"][name]
        assert found["per_seed"] == pytest.approx(expected, abs=1e-4)
        assert found["mean"] == pytest.approx(np.mean(expected), abs=1e-4)
        assert found["std"] == pytest.approx(np.std(expected, ddof=1), abs=1e-4)
        assert figures[name] == pytest.approx(alone[0][name], abs=1e-4)
    of_three, of_one = (load_file(tmp_path / name / "model.safetensors") for name in ("three", "4"))
    for name, values in of_one.items():
        assert of_three[name] == pytest.approx(values, abs=1e-3)


def test_fit__wrong_numbers_of_seeds(ulfine_here, cache, tmp_path):
    for seeds in (0, -1, 2000):
        assert "seeds" in ulfine_here("fit", cache, "--out", tmp_path / "run", "--seeds", seeds).failed(2)


def test_fit__ctrl_c_keeps_what_there_is(cache, tmp_path):
    run = tmp_path / "run"
    arguments = ["ulfine", "fit", str(cache), "--out", str(run), "--method", "lp", "--set", "steps=100000000"]
    # A shell that runs tests in the background makes them deaf to SIGINT.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"sys.argv = {arguments!r}; from ulfine_cli.main import main; sys.exit(main())"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("training "):
            break
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    provenance = json.loads((run / "provenance.json").read_text())
    step = provenance["interrupted_at"]
    assert provenance["interrupted"] is True
    assert 0 < step < 100_000_000
    assert err.splitlines()[-1].startswith(
        f"error: interrupted at step, round or seed {step} of the training: {run} holds"
    )
    assert "macro" in out
    assert json.loads((run / "metrics.json").read_text())["macro_accuracy"] > 0.5
