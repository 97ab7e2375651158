"""Triton model repositories: read back with Triton's own schema where it is installed."""

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_exports.export import export_onnx
from ulfine_exports.onnx_classifier import OnnxClassifier
from ulfine_exports.publishing.triton import triton_config, triton_name, write_triton


@pytest.fixture(scope="module")
def model_config():
    """Triton's ModelConfig. Its module lies in a package that insists on grpc, which it does not need."""
    spec = importlib.util.find_spec("tritonclient")
    if spec is None:
        pytest.skip("tritonclient is not installed")
    path = Path(next(iter(spec.submodule_search_locations))) / "grpc" / "model_config_pb2.py"
    module_spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return module


def parse(model_config, text):
    from google.protobuf import text_format

    return text_format.Parse(text, model_config.ModelConfig())


@pytest.fixture(scope="module")
def repository(feature_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("triton") / "models"
    figures = export_onnx(run=feature_run, triton=folder)
    assert figures["triton"] == str(folder / "features-run")
    assert figures["onnx"] is None
    return folder


def test_triton__layout(repository, feature_onnx):
    model = repository / "features-run"
    found = sorted(path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file())
    assert found == ["1/model.onnx", "config.pbtxt", "labels.txt"]
    assert (model / "1" / "model.onnx").read_bytes() == feature_onnx.read_bytes()
    assert (model / "labels.txt").read_text() == "ash\nbirch\ncedar\ndate palm\n"


def test_triton__configuration(repository, model_config):
    config = parse(model_config, (repository / "features-run" / "config.pbtxt").read_text())
    assert (config.name, config.backend) == ("features-run", "onnxruntime")
    (features,) = config.input
    assert (features.name, features.data_type, list(features.dims)) == ("features", model_config.TYPE_FP32, [16])
    outputs = {item.name: (item.data_type, list(item.dims), item.label_filename) for item in config.output}
    fp32 = model_config.TYPE_FP32
    assert outputs == {"probabilities": (fp32, [4], "labels.txt"), "logits": (fp32, [4], "")}
    preferred = config.dynamic_batching.preferred_batch_size
    assert 1 < max(preferred) <= config.max_batch_size
    assert 0 < config.dynamic_batching.max_queue_delay_microseconds <= 10_000


def test_triton__onnx_file_names_the_model(feature_run, tmp_path):
    figures = export_onnx(run=feature_run, onnx=tmp_path / "trees v2.onnx", triton=tmp_path / "models")
    model = tmp_path / "models" / "trees-v2" / "1" / "model.onnx"
    assert figures["triton"] == str(model.parent.parent)
    assert model.read_bytes() == (tmp_path / "trees v2.onnx").read_bytes()
    assert OnnxClassifier(model, device="cpu").predict(np.ones((1, 16), np.float32))


def test_triton_config__images_of_any_size(model_config):
    shapes = {"image": ["batch", "height", "width", 3], "probabilities": ["batch", 5], "logits": ["batch", 5]}
    infos = [
        helper.make_tensor_value_info(name, TensorProto.UINT8 if name == "image" else TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    graph = helper.make_graph([], "main", infos[:1], infos[1:])
    config = parse(model_config, triton_config(onnx.helper.make_model(graph), 'a "quoted" name'))
    (image,) = config.input
    assert (image.data_type, list(image.dims)) == (model_config.TYPE_UINT8, [-1, -1, 3])
    assert config.name == 'a "quoted" name'


def test_write_triton__replaces_its_own_and_leaves_others(feature_onnx, tmp_path):
    other = tmp_path / "other" / "config.pbtxt"
    other.parent.mkdir()
    other.write_text("name: 'other'")
    content = feature_onnx.read_bytes()
    write_triton(tmp_path, "trees", content, ["a", "b", "c", "d"])
    written = write_triton(tmp_path, "trees", content, ["a", "b", "c", "two\nlines"])
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        *("trees/1/model.onnx", "trees/labels.txt", "trees/config.pbtxt")
    ]
    assert (tmp_path / "trees" / "labels.txt").read_text() == "a\nb\nc\ntwo\\nlines\n"
    assert other.read_text() == "name: 'other'"


def test_export__refuses_a_model_of_someone_else(feature_run, tmp_path):
    config = tmp_path / "models" / "features-run" / "config.pbtxt"
    config.parent.mkdir(parents=True)
    config.write_text('name: "features-run"')
    with pytest.raises(UlfineError, match=r"features-run holds a model that `ulfine export` did not write"):
        export_onnx(run=feature_run, onnx=tmp_path / "features-run.onnx", triton=tmp_path / "models")
    assert config.read_text() == 'name: "features-run"'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UlfineError, match="is a file"):
        export_onnx(run=feature_run, triton=tmp_path / "file")


def test_export__nowhere_to_write(feature_run):
    with pytest.raises(UsageError, match="--onnx FILE, --triton DIR or --to-hub DIR"):
        export_onnx(run=feature_run)


@pytest.mark.parametrize(
    ("text", "name"),
    [("birds", "birds"), ("a/b\\c", "a-b-c"), ("..", "model"), ("", "model"), ("Vögel 2.0", "V-gel-2.0")],
)
def test_triton_name(text, name):
    assert triton_name(text) == name


def test_write_triton__names_that_readers_trim_stay_different(feature_onnx, tmp_path):
    names = ["a", " a", "a ", "a\n", "\ta", "a\\n", "a\u2028"]
    write_triton(tmp_path, "trees", feature_onnx.read_bytes(), names)
    lines = (tmp_path / "trees" / "labels.txt").read_text("utf-8").splitlines()
    assert len({line.strip() for line in lines}) == len(lines) == len(names)
