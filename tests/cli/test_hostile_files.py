"""Files that are made to break what reads them: one line that names the file, in bounded time and memory."""

import json
import os
import shutil
import socket

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.attacks.arrays import KINDS, write_hostile_npz
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


@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000 + "]" * 5000,
        "{a: " * 3000 + "1" + "}" * 3000,
        "a: &a [1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)),
        "a: &a [*a]",
        "a: 1\n" * 300_000,
        "? [1, 2]\n: 3",
        "!!python/object/apply:os.system ['id']",
    ],
    ids=["deep list", "deep mapping", "aliases", "itself", "long", "key of a list", "code"],
)
def test_settings__made_to_break(ulfine_here, made, tmp_path, text):
    (tmp_path / "s.yaml").write_text(text)
    ended = ulfine_here("fit", made / "cache", "--out", tmp_path / "r", "--settings", tmp_path / "s.yaml")
    assert "internal error" not in ended.err
    assert ended.exit_code in (1, 2)


@pytest.mark.parametrize(
    ("method", "setting"),
    [
        ("lift", "steps=1e20"),
        ("lift", "steps=100000000000000000000"),
        ("lift", f"steps={'9' * 5000}"),
        ("lift", "batch_size=10000000000"),
        ("ulfine", "rounds=1e20"),
        ("ulfine", "rounds=100000000000"),
        ("knn", "k=1e20"),
        ("lp", "penalty=1e300"),
    ],
    ids=lambda value: value[:24],
)
def test_settings__absurd_numbers(ulfine_here, made, tmp_path, method, setting):
    line = ulfine_here("fit", made / "cache", "--out", tmp_path / "r", "--method", method, "--set", setting).failed(2)
    assert setting.partition("=")[0] in line


def endless(metadata):
    """A file whose loop never ends."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Identity", ["x"], ["y"])],
        "body",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("x", TensorProto.FLOAT, None)],
        [value("go_on", TensorProto.BOOL, []), value("y", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Loop", ["", "yes", "features"], ["looped"], body=body),
        helper.make_node("MatMul", ["looped", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    tensors = [numpy_helper.from_array(np.array(True), "yes"), weights(metadata)]
    return written(nodes, tensors, metadata)


def weights(metadata):
    width, classes = int(metadata["n_features"]), len(json.loads(metadata["class_names"]))
    return numpy_helper.from_array(np.ones((width, classes), np.float32), "w")


def written(nodes, tensors, metadata):
    value, width = helper.make_tensor_value_info, int(metadata["n_features"])
    outputs = [value(name, TensorProto.FLOAT, None) for name in ("probabilities", "logits")]
    graph = helper.make_graph(nodes, "main", [value("features", TensorProto.FLOAT, ["batch", width])], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {key: text for key, text in metadata.items() if "sha256" not in key})
    return model


def huge(metadata, operator):
    """A file with a constant of four terabytes."""
    shape = numpy_helper.from_array(np.array([10**6, 10**6], np.int64), "shape")
    one = numpy_helper.from_array(np.ones((1, 1), np.float32), "one")
    inputs = {"ConstantOfShape": ["shape"], "Expand": ["one", "shape"], "Tile": ["one", "shape"]}[operator]
    nodes = [
        helper.make_node(operator, inputs, ["large"]),
        helper.make_node("ReduceMax", ["large"], ["most"], keepdims=0),
        helper.make_node("MatMul", ["features", "w"], ["product"]),
        helper.make_node("Add", ["product", "most"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    return written(nodes, [shape, one, weights(metadata)], metadata)


def metadata_of(path):
    return {item.key: item.value for item in onnx.load(path).metadata_props}


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


def fifo(path):
    os.mkfifo(path)


def unix_socket(path):
    with socket.socket(socket.AF_UNIX) as opened:
        # The path of a socket is short: it is bound where the test is.
        opened.bind(path.name)


def device(path):
    path.symlink_to("/dev/zero")


def directory(path):
    path.mkdir()


CALLS = {
    "predict model": ("predict", "x.onnx", "features.npz"),
    "predict images": ("predict", "run", "x.png"),
    "predict features": ("predict", "run", "x.npz"),
    "predict prior": ("predict", "run", "features.npz", "--test-prior", "x.csv"),
    "info": ("info", "x.onnx"),
    "serve": ("serve", "x.onnx", "--port", "0"),
    "fit settings": ("fit", "cache", "--out", "new", "--settings", "x.yaml"),
    "import-features": ("import-features", "x.npz", "--out", "new"),
    "table": ("cache-features", "x.csv", "--out", "new", "--model", "builtin:tiny"),
    "tar": ("cache-features", "x.tar", "--out", "new", "--model", "builtin:tiny"),
    "zip": ("cache-features", "x.zip", "--out", "new", "--model", "builtin:tiny"),
    "classes": ("cache-features", "photos", "--out", "new", "--model", "builtin:tiny", "--classes", "x.txt"),
    "templates": ("cache-features", "photos", "--out", "new", "--model", "builtin:tiny", "--templates", "x.txt"),
    "pretrained": ("cache-features", "photos", "--out", "new", "--model", "ViT-B-16", "--pretrained", "x.pt"),
    "neighbours": ("neighbours", "cache", "x.png"),
    "keys": ("serve", "m.onnx", "--port", "0", "--api-key-file", "x.keys"),
}


@pytest.mark.skipif(os.name == "nt", reason="pipes and sockets among files are POSIX")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", [fifo, unix_socket, device, directory], ids=lambda kind: kind.__name__)
def test_input_files__that_are_no_files(ulfine_here, made, photos, feature_file, tmp_path, monkeypatch, kind, call):
    monkeypatch.chdir(tmp_path)
    for name in ("cache", "run", "m.onnx"):
        (tmp_path / name).symlink_to(made / name)
    (tmp_path / "photos").symlink_to(photos)
    shutil.copy(feature_file, tmp_path / "features.npz")
    name = next(word for word in CALLS[call] if word.startswith("x."))
    kind(tmp_path / name)
    ended = ulfine_here(*CALLS[call])
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
