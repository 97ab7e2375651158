"""`--min` of fit and evaluate, as a pipeline uses it."""

import json

import pytest


@pytest.fixture(scope="module")
def cache(ulfine, feature_file, tmp_path_factory):
    place = tmp_path_factory.mktemp("gates")
    ulfine("import-features", feature_file, "--out", place / "cache", "--index", "none").succeeded()
    return place / "cache"


def test_fit_and_evaluate__gates(cache, ulfine_here, tmp_path):
    run = tmp_path / "run"
    done = ulfine_here(
        "fit", cache, "--out", run, "--min", "macro_accuracy=1.01", "--min", "cross_validated.accuracy=0.1"
    )
    assert done.exit_code == 1
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    metrics = json.loads((run / "metrics.json").read_text("utf-8"))
    assert errors == [f"error: macro_accuracy is {metrics['macro_accuracy']:.6g}, below the gate of 1.01"]
    assert [gate["holds"] for gate in metrics["gates"]] == [False, True]
    assert f"written to {run}" in done.out

    kept = ulfine_here("evaluate", run, "--min", "macro_accuracy=0.01", "--json", tmp_path / "figures.json").succeeded()
    assert "the gate of" not in kept.err
    assert json.loads((tmp_path / "figures.json").read_text("utf-8"))["gates"][0]["holds"] is True
    stopped = ulfine_here("evaluate", run, "--min", "cross_validated.macro_accuracy=1.01")
    assert stopped.exit_code == 1
    assert "below the gate of 1.01" in stopped.err
    assert "gates" not in json.loads((_fitted(ulfine_here, cache, tmp_path) / "metrics.json").read_text("utf-8"))


def _fitted(ulfine_here, cache, tmp_path):
    ulfine_here("fit", cache, "--out", tmp_path / "plain", "--method", "lp").succeeded()
    return tmp_path / "plain"


@pytest.mark.parametrize("gate", ["beauty=0.5", "macro_accuracy=high"])
def test_fit__unknown_gate_is_wrong_usage(cache, ulfine_here, tmp_path, gate):
    assert "--min" in ulfine_here("fit", cache, "--out", tmp_path / "run", "--min", gate).failed(2)
    assert not (tmp_path / "run").exists()
