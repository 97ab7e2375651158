"""Several views of each image, from `cache-features` to an exported file, as users go that way."""

import csv
import json
from collections import Counter

import numpy as np
import pytest
import yaml


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("views")


@pytest.fixture
def cached(ulfine_here, photographs, folder):
    """`cached("five-crop")`: the photographs' cache with these views."""

    def cache(views):
        out = folder / views.replace(":", "-")
        if not out.exists():
            arguments = ("--model", "builtin:tiny", "--views", views, "--index", "none", "--precision", "fp32")
            ulfine_here("cache-features", photographs, "--out", out, *arguments).succeeded()
        return out

    return cache


def probabilities(table):
    with table.open() as file:
        rows = list(csv.DictReader(file))
    return {row["path"].rsplit("photos/", 1)[-1]: float(row["circle"]) for row in rows}


def test_five_crops__the_same_answers_everywhere(ulfine_here, cached, photographs, tmp_path):
    cache, run = cached("five-crop"), tmp_path / "run"
    # Hardly trained and of a small scale, so that probabilities are far from 0 and 1.
    settings = ("--set", "steps=3", "--set", "scale=10")
    ulfine_here("fit", cache, "--out", run, "--method", "lift", "--device", "cpu", *settings).succeeded()
    assert yaml.safe_load((run / "config.yaml").read_text())["views"] == "five-crop"
    ulfine_here("evaluate", run, "--json", tmp_path / "evaluated.json").succeeded()
    fitted = json.loads((run / "metrics.json").read_text())
    assert json.loads((tmp_path / "evaluated.json").read_text())["nll"] == pytest.approx(fitted["nll"], abs=1e-9)

    onnx = tmp_path / "model.onnx"
    ulfine_here("export", run, "--onnx", onnx, "--input", "image", "--json", tmp_path / "export.json").succeeded()
    assert json.loads((tmp_path / "export.json").read_text())["views"] == "five-crop"
    of_fit = probabilities(run / "predictions.csv")
    tables = {}
    for name, arguments in {
        "cache": (run, cache),
        "images": (run, photographs / "test"),
        "export": (onnx, photographs / "test"),
        "centre": (run, cache, "--views", "center"),
    }.items():
        ulfine_here("predict", *arguments, "--out", tmp_path / f"{name}.csv").succeeded()
        tables[name] = probabilities(tmp_path / f"{name}.csv")
    assert len(of_fit) == 6
    for path, expected in of_fit.items():
        assert tables["cache"][path] == pytest.approx(expected, abs=1e-5)
        assert tables["images"][path] == pytest.approx(expected, abs=5e-3)
        assert tables["export"][path] == pytest.approx(expected, abs=2e-2)
    assert max(abs(tables["centre"][path] - expected) for path, expected in of_fit.items()) > 1e-3


def test_five_crops__inputs_and_files_of_one_view(ulfine_here, cached, tmp_path):
    cache, one, run = cached("five-crop"), cached("center"), tmp_path / "run"
    ulfine_here("fit", cache, "--out", run, "--method", "lift").succeeded()
    done = ulfine_here("predict", run, one).succeeded()
    assert "holds no five crops" in done.err
    assert "holds no five crops" in ulfine_here("predict", run, one, "--views", "five-crop").failed(1)
    done = ulfine_here("export", run, "--onnx", tmp_path / "model.onnx").succeeded()
    assert "--input image" in done.err
    message = ulfine_here("fit", one, "--out", tmp_path / "other", "--views", "five-crop").failed(1)
    assert "--views five-crop" in message


def test_weak_and_strong_views__train_fixmatch(ulfine_here, cached, tmp_path):
    used = Counter()
    for views in ("weak-strong:2", "center"):
        run = tmp_path / views.replace(":", "-")
        settings = ("--set", "steps=20", "--set", "threshold=0")
        ulfine_here("fit", cached(views), "--out", run, "--method", "fixmatch", *settings).succeeded()
        used[json.loads((run / "provenance.json").read_text())["diagnostics"]["strong_views"]] += 1
    assert used == {"cached": 1, "noise": 1}
    message = ulfine_here(
        *("fit", cached("center"), "--out", tmp_path / "none", "--method", "fixmatch"),
        *("--set", "strong_views=cached"),
    ).failed(1)
    assert "--views weak-strong:2" in message


def test_imported_views__end_to_end(ulfine_here, tmp_path):
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 20)
    features = np.eye(6)[labels][:, None] + 0.4 * generator.normal(size=(60, 5, 6))
    split = np.where(np.arange(60) % 4 == 0, "test", "train")
    known = np.where((np.arange(60) % 4 == 1) | (split == "test"), labels, -1)
    file = tmp_path / "crops.npz"
    np.savez(file, features=features, labels=known, split=split, views=np.array("five-crop"))
    ulfine_here("import-features", file, "--out", tmp_path / "cache").succeeded()
    ulfine_here("fit", tmp_path / "cache", "--out", tmp_path / "run", "--method", "lift").succeeded()
    for name, given in {"cache": tmp_path / "cache", "file": file}.items():
        ulfine_here("predict", tmp_path / "run", given, "--out", tmp_path / f"{name}.csv").succeeded()
    columns = [np.loadtxt(tmp_path / f"{name}.csv", delimiter=",", skiprows=1, usecols=3) for name in ("cache", "file")]
    # The cache holds float16.
    assert columns[0] == pytest.approx(columns[1], abs=0.02)
    fitted = np.loadtxt(tmp_path / "run" / "predictions.csv", delimiter=",", skiprows=1, usecols=3)
    assert columns[0][split == "test"] == pytest.approx(fitted, abs=1e-5)
