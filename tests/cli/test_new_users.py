"""What somebody reads who types a command for the first time, and gets it wrong."""

import json
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from tests.cli.conftest import draw_shapes
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_cache.stage_one import cache_features
from ulfine_exports.export import export_onnx
from ulfine_exports.info import info
from ulfine_exports.predict import predict
from ulfine_fast.estimator import ULFineClassifier
from ulfine_fast.fitting import fit
from ulfine_fast.run import load_run


@pytest.fixture(scope="module")
def made(tmp_path_factory, feature_file):
    """A cache of pictures and one of features, a run on each, and an exported file of pictures."""
    folder = tmp_path_factory.mktemp("made")
    for number, shape in enumerate(("ellipse", "rectangle")):
        draw_shapes(folder / "photos" / shape, shape, 4, number)
    cache_features(source=folder / "photos", out=folder / "cache", model="builtin:tiny", device="cpu")
    fit(cache=folder / "cache", out=folder / "run", method="lp")
    export_onnx(run=folder / "run", onnx=folder / "image.onnx", input="image")
    import_features(file=feature_file, out=folder / "table", index="none")
    fit(cache=folder / "table", out=folder / "run-table", method="lp")
    return folder


def table(folder, counts, *, labelled=True):
    """A cache of features with so many rows of each class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    names = np.array([f"class {number}" for number in range(len(counts))])
    sets = np.array(["train"] * len(labels) + ["test"] * len(counts))
    labels = np.concatenate([labels, np.arange(len(counts))])
    features = np.random.default_rng(0).normal(size=(len(labels), 8)).astype(np.float32)
    np.savez(folder / "some.npz", features=features, labels=labels, class_names=names, split=sets)
    import_features(file=folder / "some.npz", out=folder / "some", index="none")
    return folder / "some"


@pytest.mark.parametrize(("test_per_class", "remedy"), [(1, "add images of it or take it out"), (5, "add images")])
def test_split__says_nothing_smaller_than_1(tmp_path, ulfine_here, test_per_class, remedy):
    np.savez(tmp_path / "a.npz", features=np.eye(4, dtype=np.float32), labels=[0, 1, 1, 1], class_names=["a", "b"])
    import_features(file=tmp_path / "a.npz", out=tmp_path / "cache", index="none")
    line = ulfine_here(
        *("split", tmp_path / "cache", "--name", "s", "--labelled-max", "2", "--imbalance", "2"),
        *("--test-per-class", test_per_class),
    ).failed(1)
    assert "'a' has 1 row," in line
    assert remedy in line
    assert "smaller" not in line


def test_split__says_how_many_can_be_held_out(made, ulfine_here):
    options = ("--name", "s", "--labelled-max", "2", "--imbalance", "2", "--test-per-class")
    assert "at most 3" in ulfine_here("split", made / "cache", *options, "4").failed(1)
    ulfine_here("split", made / "cache", *options, "3").succeeded()


def test_preset__of_unlabelled_images_says_what_is_missing(tmp_path, ulfine_here):
    cache = table(tmp_path, [12] * 10)
    line = ulfine_here("split", cache, "--preset", "stl10-lt-150-10").failed(1)
    assert "takes the unlabelled images of STL-10" in line
    assert "choose" not in line


@pytest.mark.parametrize("model", ["run", "run-table", "image.onnx"])
@pytest.mark.parametrize("path", ["nonexistent", "nonexistent.jpg", "nonexistent.npz"])
def test_predict__names_the_path_that_is_not_there(made, ulfine_here, model, path):
    ended = ulfine_here("predict", made / model, path)
    assert ended.failed(1) == f"error: {path} does not exist: check the path"
    assert "loading" not in ended.err


def test_predict__says_nothing_of_a_file_that_it_did_not_write(made, tmp_path, ulfine_here):
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        file.add(made / "photos", "photos")
    ended = ulfine_here("predict", made / "image.onnx", tmp_path / "x.tar", "--out", tmp_path / "p.csv")
    assert "x.tar" in ended.failed(1)
    assert not (tmp_path / "p.csv").exists()
    picture = next(made.glob("photos/*/*.png"))
    ended = ulfine_here("predict", made / "image.onnx", picture, tmp_path / "x.tar", "--out", tmp_path / "p.csv")
    assert (ended.exit_code, "all probabilities of 1 input written" in ended.out) == (1, True)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("run", "export it first, `ulfine export"),
        ("cache", "fit a run on it with `ulfine fit`"),
        ("photos", "is a directory: give an .onnx file"),
        ("nonexistent", "does not exist: give an .onnx file"),
    ],
)
def test_serve__says_what_to_give(made, ulfine_here, model, words):
    assert words in ulfine_here("serve", made / model, "--port", "0").failed(1)


SMALL = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from ulfine_cli.main import main
sys.exit(main())
"""


@pytest.mark.parametrize("package", ["torch", "h5py"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "cache", "--out", "new"),
        ("evaluate", "run"),
        ("export", "run", "--onnx", "new.onnx"),
        ("predict", "run", "photos"),
        ("cache-features", "photos", "--out", "new", "--model", "builtin:tiny"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_small_installation__says_what_is_not_installed(made, package, arguments):
    command = [sys.executable, "-c", SMALL.format(package=package), *arguments]
    done = subprocess.run(command, cwd=made, capture_output=True, text=True)
    line = f"error: {package} is not installed, which this needs: pip install ulfine-fast brings it"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, line)
    assert not list(made.glob("new*/*.h5"))


def test_small_installation__predicts(made):
    command = [sys.executable, "-c", SMALL.format(package="torch"), "predict", "image.onnx", "photos"]
    assert subprocess.run(command, cwd=made, capture_output=True, check=False).returncode == 0


def test_run_of_another_method__says_which_version_and_which_methods(made, tmp_path, ulfine_here):
    shutil.copytree(made / "run-table", tmp_path / "run")
    rewrite(tmp_path / "run", method="future-method")
    line = ulfine_here("evaluate", tmp_path / "run").failed(1)
    assert "'future-method', which ulfine-fast" in line
    assert "the version that wrote it (" in line
    assert "upgrade" not in line


def rewrite(run, **changes):
    """Change what the model says about itself, as another version might have written it."""
    file = run / "model.safetensors"
    with safe_open(file, "pt") as opened:
        description = json.loads(opened.metadata()["ulfine"]) | changes
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    save_file(tensors, file, {"ulfine": json.dumps(description)})
    provenance = json.loads((run / "provenance.json").read_text())
    del provenance["sha256"]
    (run / "provenance.json").write_text(json.dumps(provenance))


@pytest.mark.parametrize(
    "changes",
    [{"class_names": ["a", "b"]}, {"class_names": list("abcde")}, {"labelled_counts": [1, 2, 3]}, {"n_features": 3}],
    ids=["fewer names", "more names", "fewer counts", "other width"],
)
@pytest.mark.parametrize("command", ["evaluate", "info"])
def test_run_whose_parts_are_of_different_classes(made, tmp_path, ulfine_here, changes, command):
    shutil.copytree(made / "run-table", tmp_path / "run")
    rewrite(tmp_path / "run", **changes)
    assert "is damaged" in ulfine_here(command, tmp_path / "run").failed(1)


def test_export_whose_names_are_of_other_classes(made, tmp_path, ulfine_here):
    import onnx

    model = onnx.load(made / "image.onnx")
    for item in model.metadata_props:
        if item.value.startswith("["):
            names = json.loads(item.value)
            if names == ["ellipse", "rectangle"]:
                item.value = json.dumps([*names, "third"])
    del model.metadata_props[[item.key for item in model.metadata_props].index(digest_key(model))]
    onnx.save(model, tmp_path / "m.onnx")
    picture = next(made.glob("photos/*/*.png"))
    ulfine_here("predict", tmp_path / "m.onnx", picture).failed(1)


def digest_key(model):
    return next(item.key for item in model.metadata_props if "sha256" in item.key or "digest" in item.key)


def test_paths__may_be_text(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cache, run = str(made / "cache"), str(made / "run")
    assert FeatureCache.open(cache).path == made / "cache"
    assert fit(cache=cache, out="new", method="lp").path.name == "new"
    assert predict(model=run, inputs=[str(made / "photos")]).paths
    assert info(target=run)
    assert make_split(cache=str(made / "table"), name="text", labelled_max=4, imbalance=2)["name"] == "text"
    assert export_onnx(run="new", onnx="new.onnx", input="features")["onnx"] == "new.onnx"
    X, y, text = FeatureCache.open(cache).training()
    ULFineClassifier("lp").fit(X, y, text_features=text).save("saved")
    assert ULFineClassifier.load("saved").classes_.tolist() == ["ellipse", "rectangle"]


def test_repr__is_short(made):
    assert repr(FeatureCache.open(made / "table")) == (
        f"<FeatureCache {str(made / 'table')!r}: 200 rows, 16 features, 4 classes>"
    )
    assert repr(load_run(made / "run-table")) == f"<Run {str(made / 'run-table')!r}: lp, 16 features, 4 classes>"


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "run", "photos"),
        ("predict", "image.onnx", "photos"),
        ("cache-features", "photos", "--out", "new", "--model", "builtin:tiny"),
        ("export", "run", "--onnx", "new.onnx", "--input", "pixels"),
        ("neighbours", "cache", "an ellipse"),
    ],
    ids=["predict run", "predict file", "cache-features", "export", "neighbours"],
)
def test_loading__is_told(made, ulfine_here, monkeypatch, arguments):
    monkeypatch.chdir(made)
    assert "loading " in ulfine_here(*arguments).succeeded().err
