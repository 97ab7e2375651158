"""What users get wrong: one clear line, exit code 1 or 2, never a traceback."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

TINY = ("--model", "builtin:tiny", "--device", "cpu")


@pytest.fixture(scope="module")
def cache(ulfine, feature_file, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("trees") / "cache"
    ulfine("import-features", feature_file, "--out", place).succeeded()
    return place


@pytest.fixture(scope="module")
def run(ulfine, cache) -> Path:
    place = cache.parent / "run"
    ulfine("fit", cache, "--method", "zero-shot", "--out", place).succeeded()
    return place


@pytest.fixture
def changed_file(feature_file, tmp_path) -> Callable[..., Path]:
    """The feature file with some arrays replaced, or left out where None is given."""

    def write(**changes: np.ndarray | None) -> Path:
        arrays = {**np.load(feature_file), **changes}
        path = tmp_path / "changed.npz"
        np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
        return path

    return write


# Sources of images


def test_cache_features__missing_folder(ulfine_here, tmp_path):
    source = tmp_path / "nowhere"
    line = ulfine_here("cache-features", source, "--out", tmp_path / "cache", *TINY).failed(1)
    assert str(source) in line


def test_cache_features__empty_folder(ulfine_here, tmp_path):
    source = tmp_path / "photos"
    source.mkdir()
    line = ulfine_here("cache-features", source, "--out", tmp_path / "cache", *TINY).failed(1)
    assert str(source) in line
    assert "class" in line


def test_cache_features__only_unreadable_images(ulfine_here, tmp_path):
    for name in ("oak", "elm"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "a.jpg").write_bytes(b"")
    line = ulfine_here("cache-features", tmp_path / "photos", "--out", tmp_path / "cache", *TINY).failed(1)
    assert "photos" in line


def test_cache_features__unknown_model(ulfine_here, photographs, tmp_path):
    line = ulfine_here("cache-features", photographs, "--out", tmp_path / "cache", "--model", "ViT-Z-99").failed(2)
    assert "ViT-Z-99" in line


def test_cache_features__unknown_pretrained_tag(ulfine_here, photographs, tmp_path):
    arguments = ("--out", tmp_path / "cache", "--model", "ViT-B-32", "--pretrained", "nonesuch")
    line = ulfine_here("cache-features", photographs, *arguments).failed(2)
    assert "nonesuch" in line


def test_cache_features__source_is_a_file(ulfine_here, feature_file, tmp_path):
    line = ulfine_here("cache-features", feature_file, "--out", tmp_path / "cache", *TINY).failed(1)
    assert str(feature_file) in line


def test_cache_features__target_holds_other_features(ulfine_here, cache, photographs):
    line = ulfine_here("cache-features", photographs, "--out", cache, *TINY).failed(1)
    assert str(cache) in line
    assert "another" in line or "other" in line


# Features made elsewhere


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": np.full((200, 16), np.nan, np.float32)}, "NaN"),
        ({"features": np.ones((200, 16), np.float32) * np.inf}, "infinity"),
        ({"features": np.zeros((200, 16), np.float32)}, "zeros"),
        ({"features": np.ones((200, 16), np.int64)}, "int64"),
        ({"text_features": np.ones((4, 12), np.float32)}, "16"),
        ({"text_features": np.ones((3, 16), np.float32)}, "3 rows for 4 classes"),
        ({"labels": None}, "labels"),
        ({"labels": np.full(200, 9)}, "9"),
        ({"labels": np.zeros(5, int)}, "(5,)"),
        ({"split": np.array(["exam"] * 200)}, "exam"),
        ({"class_names": np.array(["a", "a", "b", "c"])}, "twice"),
        ({"class_names": np.array(["a", None, "b", "c"], dtype=object)}, "objects"),
    ],
)
def test_import_features__bad_arrays(ulfine_here, changed_file, tmp_path, changes, words):
    file = changed_file(**changes)
    line = ulfine_here("import-features", file, "--out", tmp_path / "cache").failed(1)
    assert str(file) in line
    assert words in line


def test_import_features__not_an_npz(ulfine_here, tmp_path):
    (tmp_path / "text.npz").write_text("no arrays here")
    assert "text.npz" in ulfine_here("import-features", tmp_path / "text.npz", "--out", tmp_path / "cache").failed(1)
    assert "gone.npz" in ulfine_here("import-features", tmp_path / "gone.npz", "--out", tmp_path / "cache").failed(1)


# Splits and fits


def test_split__one_class_only(ulfine_here, changed_file, tmp_path):
    one = changed_file(
        labels=np.zeros(200, int), class_names=np.array(["oak"]), text_features=np.ones((1, 16), np.float32)
    )
    ulfine_here("import-features", one, "--out", tmp_path / "cache").succeeded()
    protocol = ("--name", "lt", "--labelled-max", 8, "--imbalance", 2)
    assert "two classes" in ulfine_here("split", tmp_path / "cache", *protocol).failed(1)
    for method in ("zero-shot", "lp", "ulfine"):
        line = ulfine_here("fit", tmp_path / "cache", "--method", method, "--out", tmp_path / "run").failed(1)
        assert "class" in line
    assert not (tmp_path / "run").exists()


def test_fit__class_without_labelled_images(ulfine_here, feature_file, changed_file, tmp_path):
    labels = np.load(feature_file)["labels"].copy()
    labels[:160][labels[:160] == 2] = -1
    for name, changes in (("text", {}), ("no-text", {"text_features": None})):
        file = changed_file(labels=labels, **changes)
        ulfine_here("import-features", file, "--out", tmp_path / name).succeeded()
        arguments = ("fit", tmp_path / name, "--method", "lp", "--out", tmp_path / f"run-{name}")
        assert "cedar" in ulfine_here(*arguments).failed(1)
        # A class may live on its text alone where that is wanted; without text nothing is known of it.
        wanted = ulfine_here(*arguments, "--text-only-classes")
        if name == "text":
            wanted.succeeded()
        else:
            assert "cedar" in wanted.failed(1)


@pytest.mark.parametrize(
    ("change", "exit_code", "words"),
    [
        (("--labelled-max", 0), 2, "0"),
        (("--imbalance", 0.5), 2, "0.5"),
        (("--imbalance", "nan"), 2, "nan"),
        (("--imbalance", 100), 1, "imbalance"),
        (("--test-per-class", 5), 2, "test"),
        (("--name", "../up"), 2, "../up"),
        (("--seed", -1), 2, "-1"),
    ],
)
def test_split__bad_protocol(ulfine_here, cache, change, exit_code, words):
    arguments = dict(zip(("--name", "--labelled-max", "--imbalance"), ("bad", 8, 2), strict=True)) | dict([change])
    flat = [item for pair in arguments.items() for item in pair]
    assert words in ulfine_here("split", cache, *flat).failed(exit_code)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("--method", "magic"), 2, "zero-shot"),
        (("--method", "zero-shot", "--set", "colour=red"), 2, "colour"),
        (("--method", "zero-shot", "--set", "scale"), 2, "key=value"),
        (("--method", "zero-shot", "--set", "scale=loud"), 2, "loud"),
        (("--method", "zero-shot", "--config", "gone.yaml"), 1, "gone.yaml"),
        (("--split", "gone"), 1, "gone"),
        (("--device", "abacus"), 2, "abacus"),
    ],
)
def test_fit__bad_options(ulfine_here, cache, tmp_path, arguments, exit_code, words):
    assert words in ulfine_here("fit", cache, "--out", tmp_path / "run", *arguments).failed(exit_code)
    assert not (tmp_path / "run").exists()


def test_fit__a_run_is_not_overwritten_unasked(ulfine_here, cache, run):
    line = ulfine_here("fit", cache, "--method", "zero-shot", "--out", run).failed(1)
    assert "--overwrite" in line
    ulfine_here("fit", cache, "--method", "zero-shot", "--out", run, "--overwrite").succeeded()


def test_compare__bad_requests(ulfine_here, cache):
    assert "magic" in ulfine_here("compare", cache, "--split", "lt", "--methods", "zero-shot,magic").failed(2)
    assert "gone" in ulfine_here("compare", cache, "--split", "gone", "--methods", "zero-shot").failed(1)


# Things that are not what they should be


@pytest.mark.parametrize("command", ["info", "verify", "evaluate", "predict", "fit", "export", "split", "compare"])
@pytest.mark.parametrize("what", ["missing", "empty folder", "text file"])
def test_target__is_something_else(ulfine_here, tmp_path, command, what):
    target = tmp_path / "target"
    if what == "empty folder":
        target.mkdir()
    if what == "text file":
        target.write_text("hello")
    more = {
        "predict": (tmp_path / "image.png",),
        "fit": ("--method", "zero-shot", "--out", tmp_path / "run"),
        "export": ("--onnx", tmp_path / "x.onnx"),
        "split": ("--name", "lt", "--labelled-max", 8, "--imbalance", 2),
        "compare": ("--split", "lt", "--methods", "zero-shot"),
    }
    line = ulfine_here(command, target, *more.get(command, ())).failed(1)
    assert str(target) in line


def test_predict__damaged_onnx(ulfine_here, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\x08\x07\x12\x04junk")
    line = ulfine_here("predict", tmp_path / "model.onnx", tmp_path / "a.png").failed(1)
    assert "model.onnx" in line


def test_evaluate__cache_of_another_model(ulfine_here, feature_file, changed_file, run, tmp_path):
    wider = changed_file(features=np.tile(np.load(feature_file)["features"], 2), text_features=None)
    ulfine_here("import-features", wider, "--out", tmp_path / "wider").succeeded()
    line = ulfine_here("evaluate", run, "--cache", tmp_path / "wider").failed(1)
    assert "another model" in line
    assert str(tmp_path / "wider") in line


def test_export__unsupported_values(ulfine_here, run, tmp_path):
    onnx = tmp_path / "x.onnx"
    assert "int3" in ulfine_here("export", run, "--onnx", onnx, "--precision", "int3").failed(2)
    assert "voxels" in ulfine_here("export", run, "--onnx", onnx, "--input", "voxels").failed(2)
    assert "encoder" in ulfine_here("export", run, "--onnx", onnx, "--input", "pixels").failed(1)
    assert not onnx.exists()


# Places that cannot be written: the superuser may write everywhere, but nobody can write below a file


@pytest.fixture
def below_a_file(tmp_path) -> Path:
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "below"


def test_unwritable__out(ulfine_here, cache, run, feature_file, photographs, below_a_file):
    for arguments in (
        ("import-features", feature_file, "--out", below_a_file),
        ("cache-features", photographs, "--out", below_a_file, *TINY),
        ("fit", cache, "--method", "zero-shot", "--out", below_a_file),
        ("export", run, "--onnx", below_a_file.with_name("below.onnx")),
        ("quickstart", "--out", below_a_file),
        ("predict", run, cache, "--out", below_a_file.with_name("below.csv")),
    ):
        assert "file" in ulfine_here(*arguments).failed(1)


def test_unwritable__json_is_noticed_before_the_work(ulfine_here, cache, below_a_file, tmp_path):
    arguments = ("--method", "zero-shot", "--out", tmp_path / "run")
    line = ulfine_here("fit", cache, *arguments, "--json", below_a_file).failed(1)
    assert str(below_a_file) in line
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_unwritable__full_disk(ulfine_here, cache):
    assert (
        ulfine_here("info", cache, "--json", "/dev/full")
        .failed(1)
        .startswith("error: /dev/full: no space left on device")
    )


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc, where even the superuser may not write")
def test_unwritable__file_system_that_refuses(ulfine_here, feature_file):
    assert "/proc/cache" in ulfine_here("import-features", feature_file, "--out", "/proc/cache").failed(1)
