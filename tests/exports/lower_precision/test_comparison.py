"""fp16 and int8 exports: what is converted, what is not, what it costs, and when nothing is written."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.import_features import import_features
from ulfine_exports.export import export_onnx
from ulfine_exports.inference.providers import open_session
from ulfine_exports.inference.untrusted_model import read_model
from ulfine_exports.lower_precision.encoder_part import encoder_nodes
from ulfine_exports.lower_precision.half_precision import to_half
from ulfine_exports.lower_precision.quantise import VARIANTS, quantise, quantised_nodes, variants_for
from ulfine_exports.onnx_classifier import OnnxClassifier
from ulfine_fast.fitting import fit


def write_features(path, *, offset=0.0, test=True):
    """12 classes in 128 dimensions; all of them lie `offset` from the origin in every dimension."""
    generator = np.random.default_rng(11)
    centres = generator.normal(size=(12, 128))
    labels = np.concatenate([np.repeat(np.arange(12), 16), np.repeat(np.arange(12), 10)])
    features = centres[labels] + 0.8 * generator.normal(size=(len(labels), 128))
    features += offset * np.sign(generator.normal(size=128))
    sets = ["train"] * (12 * 16) + (["test"] if test else ["train"]) * (12 * 10)
    names = np.array([f"class {index}" for index in range(12)])
    np.savez(path, features=features.astype(np.float32), labels=labels, class_names=names, split=np.array(sets))
    return path


def wide_run(folder, method="lp", **options):
    import_features(file=write_features(folder / "wide.npz", **options), out=folder / "cache", index="none")
    return fit(cache=folder / "cache", out=folder / "run", method=method).path


@pytest.fixture(scope="module")
def run_on_features(tmp_path_factory):
    return wide_run(tmp_path_factory.mktemp("wide"))


@pytest.fixture(scope="module")
def exported(pixel_run, tmp_path_factory):
    """The run on photographs at the lower precisions: its file and its figures."""
    folder = tmp_path_factory.mktemp("precisions")
    return {
        precision: (
            folder / f"{precision}.onnx",
            export_onnx(run=pixel_run, onnx=folder / f"{precision}.onnx", input="pixels", precision=precision),
        )
        for precision in ("fp16", "int8")
    }


def types_of(model):
    """Element type of every tensor."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    items = (*graph.input, *graph.value_info, *graph.output)
    types = {item.name: item.type.tensor_type.elem_type for item in items}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


@pytest.mark.parametrize(("precision", "share"), [("fp16", 0.55), ("int8", 0.65)])
def test_export__lower_precision_is_smaller_and_close(exported, pixel_onnx, photographs, precision, share):
    path, figures = exported[precision]
    assert path.stat().st_size == figures["bytes"] < share * pixel_onnx.stat().st_size
    files = sorted((photographs / "test").rglob("*.png"))
    expected = OnnxClassifier(pixel_onnx, device="cpu").predict_proba(files)
    found = OnnxClassifier(path, device="cpu").predict_proba(files)
    assert 0 < np.abs(expected - found).max() < 0.1
    tried = [row for row in figures["comparison"]["versions"] if row["precision"] == precision]
    version = next(row for row in tried if row["variant"] == figures["comparison"]["variant"])
    assert version["largest_difference"] == pytest.approx(np.abs(expected - found).max(), abs=1e-3)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_export__lower_precision_keeps_the_interface_and_standard_operators(exported, precision):
    path, figures = exported[precision]
    model = read_model(path)  # refuses what is not of the standard
    onnx.checker.check_model(model, full_check=True)
    assert [item.domain for item in model.opset_import] == [""]
    interface = (*model.graph.input, *model.graph.output)
    assert {item.type.tensor_type.elem_type for item in interface} == {TensorProto.FLOAT}
    assert [item.name for item in interface] == ["pixels", "probabilities", "logits"]
    metadata = OnnxClassifier(path, device="cpu").metadata
    assert (metadata.precision, metadata.variant) == (precision, figures["comparison"]["variant"])
    assert metadata.parity_largest_difference >= figures["parity"]["largest_difference"] > 1e-6


def test_export__figures_are_those_of_the_files(exported, pixel_onnx, photographs):
    """Accuracies before and after equal what scikit-learn finds for the written files."""
    files = sorted((photographs / "test").rglob("*.png"))
    truth = [file.parent.name for file in files]
    _, figures = exported["int8"]
    comparison = figures["comparison"]
    assert (comparison["source"], comparison["rows"]) == ("test rows", len(files))
    written = {"fp32": pixel_onnx, f"int8 {comparison['variant']}": exported["int8"][0]}
    versions = {f"{row['precision']} {row['variant']}".strip(): row for row in comparison["versions"]}
    for name, path in written.items():
        predicted = OnnxClassifier(path, device="cpu").predict(files)
        assert versions[name]["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
        assert versions[name]["macro_accuracy"] == pytest.approx(balanced_accuracy_score(truth, predicted))
        assert versions[name]["rows_per_second"] > 0
        assert 0 <= versions[name]["ece"] <= 1
    assert set(versions) == {"fp32", "int8 static", "int8 dynamic"}
    closest = min((row for row in comparison["versions"][1:]), key=lambda row: row["mean_difference"])
    assert closest["variant"] == comparison["variant"]


def test_to_half__arithmetic_that_decides_stays_in_fp32(pixel_onnx):
    half = to_half(onnx.load(pixel_onnx))
    types = types_of(half)
    seen = set()
    for node in half.graph.node:
        if node.op_type == "Constant":
            continue
        seen.add((node.op_type, types[node.input[0]]))
        if node.op_type in ("Conv", "LayerNormalization", "Softmax", "Sqrt", "Div"):
            assert types[node.input[0]] == TensorProto.FLOAT
    assert ("MatMul", TensorProto.FLOAT16) in seen
    assert ("MatMul", TensorProto.FLOAT) in seen, "the classifier is fp32"
    stored = [tensor for tensor in half.graph.initializer if np.prod(tensor.dims) >= 1024 and len(tensor.dims) > 1]
    assert {tensor.data_type for tensor in stored} == {TensorProto.FLOAT16}


def test_to_half__weights_beyond_its_range_stay_finite():
    half = to_half(layer_model(FORMS["no bias"], np.full((64, 32), 1e6, np.float32), np.zeros(32, np.float32)))
    assert np.isfinite(open_session(half.SerializeToString(), "cpu").run(np.ones((2, 64), np.float32))[1]).all()


def test_quantise__first_layer_and_classifier_stay_in_fp32(pixel_onnx, photographs):
    model = onnx.load(pixel_onnx)
    static = quantised(model, "static", pixels_of(photographs))
    weights = {tensor.name: tensor for tensor in static.graph.initializer}
    first = next(node for node in static.graph.node if node.op_type == "Conv")
    assert weights[first.input[1]].data_type == TensorProto.FLOAT
    products = [node for node in static.graph.node if node.op_type == "MatMul"]
    assert {weights[node.input[1]].data_type for node in products[-1:]} == {TensorProto.FLOAT}
    layers = [tensor for tensor in weights.values() if tensor.data_type == TensorProto.INT8 and len(tensor.dims) == 2]
    assert len(layers) >= 3
    for tensor in layers:
        values = numpy_helper.to_array(tensor)
        # One scale for each column: every column uses the full range, which reduce_range would halve.
        assert (np.abs(values.astype(int)).max(axis=0) == 127).all()


def test_quantise__static_answers_do_not_depend_on_the_batch(pixel_onnx, photographs):
    pixels = pixels_of(photographs)
    static = open_session(quantised(onnx.load(pixel_onnx), "static", pixels).SerializeToString(), "cpu")
    loud = np.concatenate([pixels[:1], 5 * pixels[1:2]])
    assert np.allclose(static.run(pixels[:1])[0], static.run(loud)[0][:1], atol=1e-5)


FORMS = {
    "Gemm": "logits = Gemm(features, weights, bias)",
    "transposed Gemm": "logits = Gemm <transB = 1> (features, turned, bias)",
    "matrices": "product = MatMul(features, weights)\n logits = Add(bias, product)",
    "turned constant": """w = Transpose <perm = [1, 0]> (turned)
 product = MatMul(features, w)
 logits = Add(product, bias)""",
    "no bias": "logits = MatMul(features, weights)",
    "three axes": """apart = Unsqueeze(features, axis)
 product = MatMul(apart, weights)
 added = Add(product, bias)
 logits = Squeeze(added, axis)""",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("variant", ["static", "dynamic"])
def test_quantise__every_form_of_a_layer_runs_on_integers(form, variant, tmp_path):
    generator = np.random.default_rng(2)
    weights = generator.normal(size=(64, 32)).astype(np.float32)
    rows = generator.normal(size=(50, 64)).astype(np.float32)
    bias = np.arange(32, dtype=np.float32) * (form != "no bias")
    converted = quantised(layer_model(FORMS[form], weights, bias), variant, rows)
    operators = {node.op_type for node in converted.graph.node}
    assert ("MatMulInteger" in operators) == (variant == "dynamic")
    assert ("QuantizeLinear" in operators) == (variant == "static")
    expected = rows @ weights + bias
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "as-it-runs.onnx")
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(converted.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {"features": rows})[0]
    assert 0 < np.abs(found - expected).max() < 0.03 * np.abs(expected).max()
    fused = [node.op_type for node in onnx.load(tmp_path / "as-it-runs.onnx").graph.node]
    assert not {"MatMul", "Gemm", "FusedMatMul"} & set(fused), "a product in fp32: the layer is slow"


def layer_model(text, weights, bias):
    """`softmax(features @ weights + bias)` with the product written in some way."""
    model = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 20]>
main (float[batch, 64] features) => (float[batch, 32] probabilities, float[batch, 32] logits)
<int64[1] axis = {{1}}>
{{ {text}
 probabilities = Softmax <axis = -1> (logits) }}"""
    )
    tensors = {"weights": weights, "turned": np.ascontiguousarray(weights.T), "bias": bias}
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(tensors[name], name) for name in tensors if name in read)
    for number, node in enumerate(model.graph.node):
        node.name = f"node-{number}"
    return model


def quantised(model, variant, rows):
    return quantise(model, [variant], lambda: [rows])[variant]


def test_variants__a_convolutional_encoder_is_not_left_whole():
    nodes, weights, last = [], [], "pixels"
    for number in range(3):
        kernel = 0.05 * np.random.default_rng(number).normal(size=(64, 3 if number == 0 else 64, 3, 3))
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"kernel{number}"))
        nodes.append(
            helper.make_node("Conv", [last, f"kernel{number}"], [f"c{number}"], name=f"conv{number}", pads=[1] * 4)
        )
        last = f"c{number}"
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["logits"], name="flatten"),
        helper.make_node("Softmax", ["logits"], ["probabilities"], name="softmax", axis=-1),
    ]
    shapes = {"pixels": ["batch", 3, 8, 8], "probabilities": ["batch", 64], "logits": ["batch", 64]}
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "main", infos[:1], infos[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    assert variants_for(model) == ("static",)
    # The first of the three is large enough, but it reads pixels.
    assert [node.name for node in quantised_nodes(model)] == ["conv1", "conv2"]
    rows = np.random.default_rng(5).normal(size=(6, 3, 8, 8)).astype(np.float32)
    expected = open_session(model.SerializeToString(), "cpu").run(rows)[1]
    found = open_session(quantised(model, "static", rows).SerializeToString(), "cpu").run(rows)[1]
    assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def test_encoder_nodes__end_where_the_image_is_one_vector(pixel_onnx, feature_onnx):
    model = onnx.load(pixel_onnx)
    encoder = encoder_nodes(model)
    shapes = {
        item.name: item.type.tensor_type.shape for item in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    assert encoder[0].op_type == "Conv"
    assert len(shapes[encoder[-1].output[0]].dim) == 2
    names = {node.name for node in encoder}
    rest = [node.op_type for node in model.graph.node if node.name not in names]
    assert {"Sqrt", "Softmax"} <= set(rest)
    assert "Conv" not in rest
    assert encoder_nodes(onnx.load(feature_onnx)) == []


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_export__features(run_on_features, tmp_path, precision):
    export_onnx(run=run_on_features, onnx=tmp_path / "fp32.onnx")
    figures = export_onnx(run=run_on_features, onnx=tmp_path / "low.onnx", precision=precision)
    assert figures["comparison"]["rows"] == 120
    assert figures["bytes"] < (tmp_path / "fp32.onnx").stat().st_size
    rows = np.random.default_rng(0).normal(size=(30, 128)).astype(np.float32)
    low, full = (
        OnnxClassifier(tmp_path / f"{name}.onnx", device="cpu").predict_proba(rows) for name in ("low", "fp32")
    )
    assert 0 < np.abs(low - full).max() < 0.05
    export_onnx(run=run_on_features, onnx=tmp_path / "again.onnx", precision=precision)
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "low.onnx").read_bytes()


def test_conversion__same_graph_same_bytes(pixel_onnx, photographs):
    model, pixels = onnx.load(pixel_onnx), pixels_of(photographs)
    first, second = (quantise(model, VARIANTS, lambda: [pixels]) for _ in range(2))
    assert set(first) == {"static", "dynamic"}
    for variant, converted in first.items():
        assert converted.SerializeToString() == second[variant].SerializeToString()
    assert to_half(model).SerializeToString() == to_half(model).SerializeToString()


def test_export__a_drop_beyond_the_bar_writes_nothing(tmp_path):
    """What all rows share takes the 8 bits; what tells the classes apart is lost in the rounding."""
    run = wide_run(tmp_path, method="gda", offset=50.0)
    with pytest.raises(
        UlfineError, match=r"macro accuracy falls by \d+\.\d\d points.*--max-drop allows 0\.5"
    ) as caught:
        export_onnx(run=run, onnx=tmp_path / "m.onnx", precision="int8")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.onnx*"))
    figures = export_onnx(run=run, onnx=tmp_path / "m.onnx", precision="int8", max_drop=100.0)
    assert figures["comparison"]["drop"] > 0.5


def test_export__labelled_rows_where_there_are_no_test_rows(tmp_path):
    notes = []

    class Notes:
        def update(self, stage, done, total, **figures):
            pass

        def note(self, message):
            notes.append(message)

    run = wide_run(tmp_path, test=False)
    figures = export_onnx(run=run, onnx=tmp_path / "m.onnx", precision="fp16", progress=Notes())
    assert figures["comparison"]["source"] == "labelled rows"
    assert any("labelled rows" in note for note in notes)


def test_export__photographs_gone(pixel_run, photographs, tmp_path):
    hidden = photographs.with_name("hidden")
    photographs.rename(hidden)
    try:
        with pytest.raises(UlfineError, match=r"are gone.*cannot be measured.*--precision fp32"):
            export_onnx(run=pixel_run, onnx=tmp_path / "m.onnx", input="pixels", precision="int8")
    finally:
        hidden.rename(photographs)
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("max_drop", [-0.1, 100.5, float("nan")])
def test_export__max_drop_out_of_range(feature_run, tmp_path, max_drop):
    with pytest.raises(UsageError, match="max_drop"):
        export_onnx(run=feature_run, onnx=tmp_path / "m.onnx", precision="fp16", max_drop=max_drop)


def test_command__shows_every_version_that_was_tried(run_on_features, tmp_path, monkeypatch, capsys):
    from ulfine_cli.main import main

    arguments = ["export", str(run_on_features), "--onnx", str(tmp_path / "m.onnx"), "--precision", "int8"]
    monkeypatch.setattr("sys.argv", ["ulfine", *arguments, "--max-drop", "100"])
    assert main() == 0
    shown = capsys.readouterr().out
    for words in ("int8 static", "int8 dynamic", "120 test rows", "100 are allowed"):
        assert words in shown


def pixels_of(photographs):
    """float32 (24, 3, H, W): photographs as `builtin:tiny` takes them."""
    from ulfine_cache.encoders.encoder import ClipEncoder

    preprocess = ClipEncoder.load("builtin:tiny", "", "cpu", "fp32").preprocess
    files = sorted(photographs.rglob("*.png"))[:24]
    return preprocess.normalise(np.stack([preprocess.to_pixels(Image.open(file).convert("RGB")) for file in files]))
