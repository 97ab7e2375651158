"""Files that are made to break what reads them: one line that names the file, in bounded time and memory."""

import os
import shutil

import onnx
import pytest
from onnx import helper

from tests.attacks import no_files
from tests.attacks.arrays import KINDS, write_hostile_npz
from tests.attacks.graphs import endless, huge, metadata_of
from tests.attacks.settings import ABSURD_SETTINGS, SETTINGS
from ulfine_cache.import_features import import_features
from ulfine_exports.export import export_onnx
from ulfine_fast.fitting import fit


@pytest.fixture(scope="module")
def made(feature_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile-files")
    import_features(file=feature_file, out=folder / "cache", index="none")
    fit(cache=folder / "cache", out=folder / "run", method="lp")
    export_onnx(run=folder / "run", onnx=folder / "m.onnx")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_npz__made_to_break(ulfine_here, made, tmp_path, kind):
    path = write_hostile_npz(tmp_path / "x.npz", kind)
    assert "x.npz" in ulfine_here("import-features", path, "--out", tmp_path / "c").failed(1)
    for model in ("run", "m.onnx"):
        ended = ulfine_here("predict", made / model, path)
        assert "x.npz" in ended.failed(1)
    assert "internal error" not in ulfine_here("cache-features", path, "--out", tmp_path / "d").err


@pytest.mark.parametrize("text", SETTINGS.values(), ids=SETTINGS)
def test_settings__made_to_break(ulfine_here, made, tmp_path, text):
    (tmp_path / "s.yaml").write_text(text)
    ended = ulfine_here("fit", made / "cache", "--out", tmp_path / "r", "--settings", tmp_path / "s.yaml")
    assert "internal error" not in ended.err
    assert ended.exit_code in (1, 2)


@pytest.mark.parametrize(("method", "setting"), ABSURD_SETTINGS, ids=lambda value: value[:24])
def test_settings__absurd_numbers(ulfine_here, made, tmp_path, method, setting):
    line = ulfine_here("fit", made / "cache", "--out", tmp_path / "r", "--method", method, "--set", setting).failed(2)
    assert setting.partition("=")[0] in line


def test_predict__a_loop_without_end(ulfine_here, made, feature_file, tmp_path):
    onnx.save(endless(metadata_of(made / "m.onnx")), tmp_path / "m.onnx")
    line = ulfine_here("predict", tmp_path / "m.onnx", feature_file, "--timeout", "1").failed(1)
    assert "takes longer than 1 seconds" in line
    assert "--timeout" in line


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Expand", "Tile"])
def test_predict__a_constant_of_terabytes(ulfine_here, made, feature_file, tmp_path, operator):
    onnx.save(huge(metadata_of(made / "m.onnx"), operator), tmp_path / "m.onnx")
    line = ulfine_here("predict", tmp_path / "m.onnx", feature_file).failed(1)
    assert f"({operator})" in line


def test_predict__nested_metadata(ulfine_here, made, feature_file, tmp_path):
    model = onnx.load(made / "m.onnx")
    props = {key: text for key, text in metadata_of(made / "m.onnx").items() if "sha256" not in key}
    helper.set_model_props(model, props | {"class_names": "[" * 100_000 + "]" * 100_000})
    onnx.save(model, tmp_path / "m.onnx")
    assert "m.onnx" in ulfine_here("predict", tmp_path / "m.onnx", feature_file).failed(1)
    assert "internal error" not in ulfine_here("info", tmp_path / "m.onnx").err


@pytest.mark.skipif(os.name == "nt", reason="pipes and sockets among files are POSIX")
@pytest.mark.parametrize("call", no_files.CALLS)
@pytest.mark.parametrize("kind", no_files.KINDS, ids=lambda kind: kind.__name__)
def test_input_files__that_are_no_files(ulfine_here, made, photos, feature_file, tmp_path, monkeypatch, kind, call):
    monkeypatch.chdir(tmp_path)
    for name in ("cache", "run", "m.onnx"):
        (tmp_path / name).symlink_to(made / name)
    (tmp_path / "photos").symlink_to(photos)
    shutil.copy(feature_file, tmp_path / "features.npz")
    name = next(word for word in no_files.CALLS[call] if word.startswith("x."))
    kind(tmp_path / name)
    ended = ulfine_here(*no_files.CALLS[call])
    assert ended.exit_code in (1, 2)
    assert "internal error" not in ended.err
    assert [line for line in ended.err.splitlines() if line.startswith("error: ")] == ended.err.splitlines()[-1:]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    from tests.cli.conftest import draw_shapes

    folder = tmp_path_factory.mktemp("photos")
    for number, shape in enumerate(("ellipse", "rectangle")):
        draw_shapes(folder / shape, shape, 2, number)
    return folder
