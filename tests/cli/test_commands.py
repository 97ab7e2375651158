"""Every command through the real command line, on features made elsewhere and on photographs."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ulfine_cli.commands.quickstart import show
from ulfine_cli.output import Output

BLOCK_TORCH = """
import sys
for name in ("torch", "open_clip", "torchvision"):
    sys.modules[name] = None
from ulfine_cli.main import main
sys.exit(main())
"""


def read_json(path: Path) -> dict:
    return json.loads(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def trees(ulfine, feature_file, tmp_path_factory) -> Path:
    """A directory with a cache, a split, a run and their figures, made by commands."""
    place = tmp_path_factory.mktemp("trees")
    cache, run = place / "cache", place / "run"
    ulfine("import-features", feature_file, "--out", cache, "--json", place / "import.json").succeeded()
    protocol = ("--labelled-max", 16, "--imbalance", 4, "--unlabelled", "reversed")
    drawn = ulfine("split", cache, "--name", "lt", *protocol, "--json", place / "split.json").succeeded()
    (place / "split.txt").write_text(drawn.out)
    fitted = ulfine(
        "fit", cache, "--split", "lt", "--method", "lp", "--out", run, "--json", place / "fit.json"
    ).succeeded()
    (place / "fit.txt").write_text(fitted.out)
    return place


def test_import_features__figures(trees):
    figures = read_json(trees / "import.json")
    assert {name: figures[name] for name in ("rows", "features", "classes", "labelled", "test", "text")} == {
        "rows": 200,
        "features": 16,
        "classes": 4,
        "labelled": 160,
        "test": 40,
        "text": True,
    }


def test_split__shows_each_class_with_the_counts_of_the_protocol(trees):
    rows = [line.rsplit(maxsplit=3) for line in (trees / "split.txt").read_text().splitlines()[1:6]]
    # int(16 * 4 ** (-k / 3)) for k = 0, 1, 2 and int(16 / 4)
    assert [int(row[1]) for row in rows] == [16, 10, 6, 4, 36]
    assert {row[0] for row in rows} == {"ash", "birch", "cedar", "date palm", "all"}
    unlabelled = [int(row[2]) for row in rows[:4]]
    assert unlabelled == sorted(unlabelled)
    assert unlabelled[0] < unlabelled[-1]


def test_fit__prints_and_writes_the_metrics_of_the_run(trees):
    figures, metrics = read_json(trees / "fit.json"), read_json(trees / "run" / "metrics.json")
    assert {name: figures[name] for name in metrics} == metrics
    assert 0.25 < metrics["macro_accuracy"] <= 1
    names, values = (line.split() for line in (trees / "fit.txt").read_text().splitlines()[:2])
    shown = dict(zip(names, values, strict=True))
    for name in ("macro", "head", "medium", "tail"):
        assert shown[name] == f"{100 * metrics[f'{name}_accuracy']:.1f}"


def test_fit__same_seed_same_bytes(trees, ulfine_here, tmp_path):
    ulfine_here("fit", trees / "cache", "--split", "lt", "--method", "lp", "--out", tmp_path / "again").succeeded()
    for name in ("model.safetensors", "predictions.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (trees / "run" / name).read_bytes()


def test_fit__settings_reach_the_method(trees, ulfine_here, tmp_path):
    run = tmp_path / "run"
    ulfine_here("fit", trees / "cache", "--method", "zero-shot", "--set", "scale=50", "--out", run).succeeded()
    assert "scale: 50" in (run / "config.yaml").read_text()


def test_evaluate__agrees_with_the_run(trees, ulfine, tmp_path):
    ulfine("evaluate", trees / "run", "--json", tmp_path / "figures.json").succeeded()
    figures, metrics = read_json(tmp_path / "figures.json"), read_json(trees / "run" / "metrics.json")
    for name in ("accuracy", "macro_accuracy", "tail_accuracy", "ece", "nll", "per_class"):
        assert figures[name] == pytest.approx(metrics[name]) if name != "per_class" else figures[name] == metrics[name]


def test_compare__mean_spread_and_paired_difference(trees, ulfine, tmp_path):
    file = tmp_path / "compared.json"
    arguments = ("--split", "lt", "--methods", "zero-shot,lp", "--seeds", 2, "--json", file)
    shown = ulfine("compare", trees / "cache", *arguments).succeeded().out.splitlines()
    figures = read_json(file)
    assert figures["split"] == "lt"
    assert figures["seeds"] == [0, 1]
    first, second = figures["methods"]
    per_seed = np.array([method["macro_accuracy"]["per_seed"] for method in (first, second)])
    assert second["macro_accuracy"]["mean"] == pytest.approx(per_seed[1].mean())
    difference = per_seed[1] - per_seed[0]
    assert second["difference"]["mean"] == pytest.approx(difference.mean())
    assert second["difference"]["stderr"] == pytest.approx(difference.std(ddof=1) / np.sqrt(2))
    assert shown[0].split() == ["method", "macro", "head", "medium", "tail", "macro", "-", "zero-shot"]
    assert shown[2].startswith("lp ")
    assert f"{100 * per_seed[1].mean():.1f} ± {100 * per_seed[1].std(ddof=1):.1f}" in shown[2]
    assert shown[2].endswith(f"{100 * difference.mean():.1f} ± {100 * difference.std(ddof=1) / np.sqrt(2):.1f}")


def test_verify__whole_and_damaged(trees, ulfine, ulfine_here, tmp_path):
    ulfine("verify", trees / "cache").succeeded()
    cache = tmp_path / "cache"
    shutil.copytree(trees / "cache", cache)
    shard = cache / "shards" / "00000.h5"
    content = bytearray(shard.read_bytes())
    features = np.load(trees_features(trees))["features"]
    place = content.find(unit(features[7]).astype(np.float16).tobytes())
    assert place > 0
    content[place] ^= 1
    shard.write_bytes(content)
    ended = ulfine_here("verify", cache)
    assert ended.exit_code == 1
    hint, error = ended.err.splitlines()
    assert "--repair" in hint
    assert error.startswith("error: ")
    assert "00000.h5" in error


def trees_features(trees: Path) -> str:
    import h5py

    with h5py.File(trees / "cache" / "cache.h5") as file:
        return str(file.attrs["source"])


def unit(vector: np.ndarray) -> np.ndarray:
    vector = vector.astype(np.float64) / np.abs(vector).max()
    return vector / np.linalg.norm(vector)


def test_export_and_predict__features(trees, ulfine, ulfine_here, tmp_path):
    onnx, csv_file = tmp_path / "lp.onnx", tmp_path / "predictions.csv"
    ulfine("export", trees / "run", "--onnx", onnx, "--json", tmp_path / "export.json").succeeded()
    assert read_json(tmp_path / "export.json")["parity"]["largest_difference"] <= 1e-4
    shown = ulfine_here("predict", onnx, trees / "cache", "--out", csv_file).succeeded().out
    assert shown.split()[:3] == ["path", "label", "confidence"]
    assert "... and 180 more" in shown
    by_onnx = {row["path"]: row for row in csv.DictReader(csv_file.open(encoding="utf-8"))}
    by_torch = lines_of(trees / "run" / "predictions.csv")
    assert len(by_onnx) == 200
    assert len(by_torch) == 40
    for row in by_torch:
        assert by_onnx[row["path"]]["label"] == row["label"]
        assert float(by_onnx[row["path"]]["confidence"]) == pytest.approx(float(row["confidence"]), abs=1e-4)


def test_info__says_what_each_thing_is(trees, ulfine, ulfine_here, tmp_path):
    assert "date palm" in ulfine("info", trees / "cache").succeeded().out
    ulfine_here("info", trees / "run", "--json", tmp_path / "run.json").succeeded()
    assert read_json(tmp_path / "run.json")["method"] == "lp"


def test_quiet__prints_nothing_and_still_writes_json(trees, ulfine_here, tmp_path):
    ended = ulfine_here("evaluate", trees / "run", "--quiet", "--json", tmp_path / "deep" / "figures.json").succeeded()
    assert (ended.out, ended.err) == ("", "")
    assert read_json(tmp_path / "deep" / "figures.json")["method"] == "lp"


@pytest.fixture(scope="module")
def shapes(ulfine, photographs, tmp_path_factory) -> Path:
    """A directory with a cache of photographs, a zero-shot run on it and its export, made by commands."""
    place = tmp_path_factory.mktemp("shapes")
    tiny = ("--model", "builtin:tiny", "--device", "cpu")
    ulfine("cache-features", photographs, "--out", place / "cache", *tiny, "--json", place / "cache.json").succeeded()
    ulfine("fit", place / "cache", "--method", "zero-shot", "--out", place / "run").succeeded()
    ulfine("export", place / "run", "--onnx", place / "shapes.onnx", "--input", "pixels").succeeded()
    return place


def lines_of(table):
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_cache_features__counts_and_skipped_list(shapes):
    skipped = lines_of(shapes / "cache" / "skipped.csv")
    assert [row["path"] for row in skipped] == ["train/circle/broken.png"]
    import ulfine_fast

    cache = ulfine_fast.FeatureCache.open(shapes / "cache")
    assert cache.class_names == ["circle", "square"]
    own = cache.read_split(None)
    assert [len(rows) for rows in (own.labelled, own.unlabelled, own.test)] == [12, 6, 6]


def test_cache_features__again_changes_nothing(shapes, ulfine_here, photographs):
    before = (shapes / "cache" / "cache.h5").read_bytes()
    ulfine_here(
        "cache-features", photographs, "--out", shapes / "cache", "--model", "builtin:tiny", "--device", "cpu"
    ).succeeded()
    assert (shapes / "cache" / "cache.h5").read_bytes() == before


def test_predict__exported_file_without_torch(shapes, photographs, tmp_path):
    arguments = ["predict", shapes / "shapes.onnx", photographs / "test", "--out", tmp_path / "predictions.csv"]
    command = [sys.executable, "-c", BLOCK_TORCH, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    predicted = lines_of(tmp_path / "predictions.csv")
    of_run = lines_of(shapes / "run" / "predictions.csv")
    assert len(predicted) == len(of_run) == 6
    for row in of_run:
        # The cache holds float16 features, so the two agree to about three digits.
        (same,) = [other for other in predicted if other["path"].endswith(row["path"])]
        assert float(same["circle"]) == pytest.approx(float(row["circle"]), abs=0.02)


def test_predict__unreadable_inputs_are_listed_and_the_rest_is_done(shapes, photographs, ulfine_here, tmp_path):
    out = tmp_path / "predictions.csv"
    good, bad = photographs / "test" / "square" / "00.png", photographs / "train" / "circle" / "broken.png"
    ended = ulfine_here("predict", shapes / "shapes.onnx", bad, good, tmp_path / "missing.png", "--out", out)
    assert ended.exit_code == 1
    errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert [line.removeprefix("error: ").split(": ")[0] for line in errors] == [str(bad), str(tmp_path / "missing.png")]
    assert all(line.count("broken.png") <= 1 and len(line.split(": ")[2]) > 3 for line in errors)
    assert [row["path"] for row in csv.DictReader(out.open(encoding="utf-8"))] == [str(good)]


def test_predict__run_agrees_with_its_export(shapes, photographs, ulfine_here, tmp_path):
    image = photographs / "test" / "circle" / "00.png"
    confidences = []
    for model in (shapes / "run", shapes / "shapes.onnx"):
        ulfine_here("predict", model, image, "--json", tmp_path / "figures.json").succeeded()
        (found,) = read_json(tmp_path / "figures.json")["predictions"]
        confidences.append(found["confidence"])
    assert confidences[0] == pytest.approx(confidences[1], abs=1e-4)


def test_predict__file_names_that_are_no_unicode(shapes, photographs, ulfine, tmp_path):
    name = tmp_path / os.fsdecode(b"caf\xe9.png")
    try:
        shutil.copy(photographs / "test" / "circle" / "00.png", name)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    out, figures = tmp_path / "predictions.csv", tmp_path / "figures.json"
    shown = ulfine("predict", shapes / "shapes.onnx", tmp_path, "--out", out, "--json", figures).succeeded().out
    assert "caf" in shown
    assert read_json(figures)["predictions"][0]["path"] == str(name)


def test_split__lists_the_presets(ulfine_here, tmp_path):
    lines = ulfine_here("split", tmp_path / "none", "--preset", "list").succeeded().out.splitlines()
    assert lines[0].split() == ["preset", "data", "set", "labelled", "unlabelled", "after"]
    assert len(lines) == 22
    (cifar,) = (line.split() for line in lines if line.startswith("cifar100-lt-50-400-10-reversed"))
    assert cifar == ["cifar100-lt-50-400-10-reversed", "CIFAR-100", "1911", "15651", "ACR"]
    (fraction,) = (line.split("  ") for line in lines if line.startswith("imagenet127-1 "))
    assert [cell.strip() for cell in fraction if cell] == [
        "imagenet127-1",
        "ImageNet-127",
        "of each class",
        "all",
        "BMB",
    ]
    (own,) = (line.split() for line in lines if line.startswith("stl10-lt-150-20"))
    assert own == ["stl10-lt-150-20", "STL-10", "507", "all", "DASO"]


def test_quickstart__what_it_shows():
    accuracies = ("accuracy", "macro_accuracy", "head_accuracy", "medium_accuracy", "tail_accuracy")
    figures = {
        "split": {"labelled": 42, "unlabelled": 700, "test": 500, "labelled_counts": [20, 9, 1]},
        "methods": [{"method": name, **dict.fromkeys(accuracies, value)} for name, value in (("lp", 0.5), ("x", None))],
        "export": {"parity": {"rows": 500, "largest_difference": 1.5e-7}},
        "example": {"path": "photographs/7/1.png", "truth": "7", "label": "1", "confidence": 0.875},
        "files": {"onnx": "out/digits.onnx"},
        "seconds": 9.5,
    }
    stream = io.StringIO()
    show(figures, Output(stream))
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("42 labelled images (from 20 down to 1 a class), 700 unlabelled, 500 to test;")
    assert lines[1].split()[0] == "method"
    assert lines[2].split()[:2] == ["lp", "50.0"]
    assert "agree on 500 images: largest difference in probability 1.5e-07" in lines[4]
    assert lines[5] == "photographs/7/1.png is '7'; onnxruntime says '1' with 87.5 %"
    assert [line.split() for line in lines[6:]] == [["onnx", "out/digits.onnx"], ["seconds", "9.5"]]
