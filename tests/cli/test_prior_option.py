"""`--test-prior` of evaluate, predict and export, as users type it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def trees(ulfine, feature_file, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("prior")
    ulfine("import-features", feature_file, "--out", place / "cache", "--index", "none").succeeded()
    ulfine("split", place / "cache", "--name", "lt", "--labelled-max", 16, "--imbalance", 4).succeeded()
    ulfine("fit", place / "cache", "--split", "lt", "--method", "lp", "--out", place / "run").succeeded()
    weights = "class,weight\nash,0\nbirch,1\ncedar,1\ndate palm,6\n"
    (place / "weights.csv").write_text(weights, "utf-8")
    return place


def probabilities(path: Path) -> np.ndarray:
    with path.open(encoding="utf-8") as file:
        return np.array([[float(value) for value in row[3:]] for row in list(csv.reader(file))[1:]])


def test_predict__run_export_and_moved_export_agree(trees, ulfine_here, tmp_path):
    option = ("--test-prior", trees / "weights.csv")
    ulfine_here("export", trees / "run", "--onnx", tmp_path / "plain.onnx").succeeded()
    done = ulfine_here("export", trees / "run", "--onnx", tmp_path / "moved.onnx", *option).succeeded()
    assert "test prior file: date palm 75.0 %, birch 12.5 %, cedar 12.5 % and 1 more" in done.out
    for name, model, given in (
        ("run", trees / "run", option),
        ("beside", tmp_path / "plain.onnx", option),
        ("inside", tmp_path / "moved.onnx", ()),
    ):
        ulfine_here("predict", model, trees / "cache", *given, "--out", tmp_path / f"{name}.csv").succeeded()
    expected = probabilities(tmp_path / "run.csv")
    assert (expected[:, 0] < 1e-6).all()
    for name in ("beside", "inside"):
        assert np.abs(probabilities(tmp_path / f"{name}.csv") - expected).max() < 1e-4
    shown = ulfine_here("info", tmp_path / "moved.onnx").succeeded().out
    assert ["test", "prior", "file"] in [line.split() for line in shown.splitlines()]


def test_evaluate__names_the_prior(trees, ulfine_here, tmp_path):
    plain = ulfine_here("evaluate", trees / "run").succeeded()
    assert "prior" not in plain.out
    arguments = ("evaluate", trees / "run", "--test-prior", "estimate", "--json", tmp_path / "figures.json")
    assert "test prior estimate: " in ulfine_here(*arguments).succeeded().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["test_prior"] == "estimate"
    assert sum(figures["class_prior"].values()) == pytest.approx(1)
    assert set(figures["class_prior"]) == {"ash", "birch", "cedar", "date palm"}


@pytest.mark.parametrize("command", ["evaluate", "predict", "export"])
def test_test_prior__refusals(trees, ulfine_here, tmp_path, command):
    (tmp_path / "short.csv").write_text("class,weight\nash,1\n", "utf-8")
    arguments = {
        "evaluate": ("evaluate", trees / "run"),
        "predict": ("predict", trees / "run", trees / "cache"),
        "export": ("export", trees / "run", "--onnx", tmp_path / "m.onnx"),
    }[command]
    assert "no test prior 'rare'" in ulfine_here(*arguments, "--test-prior", "rare").failed(2)
    assert "no weight for class 'birch'" in ulfine_here(*arguments, "--test-prior", tmp_path / "short.csv").failed(1)
    assert not (tmp_path / "m.onnx").exists()
