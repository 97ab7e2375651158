"""Exports go through the tools that people use on ONNX files, unchanged, and the answers stay."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import version_converter
from onnxruntime.quantization import quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from ulfine_exports.export import export_onnx
from ulfine_exports.lower_precision.comparison import PRECISIONS
from ulfine_fast.fitting import fit

# Optimisers add the same numbers in another order; `fp16` sums in half precision where they join nodes.
TOLERANCE = {"fp32": 1e-5, "fp16": 1e-3, "int8": 1e-5}
# Eight bits for weights and activations, on noise, which lies where the classes meet.
QUANTISED = 0.1

KINDS = [
    ("ulfine", "features", "center"),
    ("lift", "features", "center"),
    ("ulfine", "pixels", "center"),
    ("knn", "pixels", "center"),
    ("ulfine", "image", "center"),
    ("ulfine", "image", "five-crop"),
]


@pytest.fixture(scope="module")
def runs(pixel_run, tmp_path_factory):
    cache, folder = pixel_run.parent / "cache", tmp_path_factory.mktemp("tools-runs")
    return {method: fit(cache=cache, out=folder / method, method=method).path for method in ("ulfine", "lift", "knn")}


@pytest.fixture(
    scope="module",
    params=[(*kind, precision) for kind in KINDS for precision in PRECISIONS],
    ids=lambda kind: "-".join(kind),
)
def export(request, runs, tmp_path_factory):
    """The file, what it answers, and its precision."""
    method, kind, views, precision = request.param
    path = tmp_path_factory.mktemp("tools") / "model.onnx"
    export_onnx(run=runs[method], onnx=path, input=kind, views=views, precision=precision, max_drop=100)
    return path, *answers(path), precision


def answers(path):
    """Probabilities of fixed noise, and the metadata."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    taken = session.get_inputs()[0]
    generator = np.random.default_rng(0)
    if taken.name == "image":
        rows = generator.integers(0, 256, (3, 50, 70, 3), dtype=np.uint8)
    else:
        rows = generator.normal(size=(3, *taken.shape[1:])).astype(np.float32)
    probabilities, logits = session.run(["probabilities", "logits"], {taken.name: rows})
    assert np.isfinite(logits).all()
    return probabilities, session.get_modelmeta().custom_metadata_map


def check(export, path, *, tolerance=None, metadata=True):
    _, expected, props, precision = export
    found, kept = answers(path)
    assert np.abs(found - expected).max() <= (tolerance or TOLERANCE[precision])
    # A tool may add keys of its own.
    assert not metadata or {key: kept.get(key) for key in props} == props


def test_export_onnx__says_everything_once(export):
    model = onnx.load(export[0])
    assert [item.domain for item in model.opset_import] == [""]
    assert not model.graph.value_info
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def test_quantize_dynamic(export, tmp_path):
    operators = {node.op_type for node in onnx.load(export[0]).graph.node}
    # A file with convolutions of 8 bits is refused by its convolutions: it is what the tool would make of it already.
    chosen = ["MatMul"] if {"Conv", "QuantizeLinear"} <= operators else None
    quantize_dynamic(export[0], tmp_path / "q.onnx", op_types_to_quantize=chosen)
    check(export, tmp_path / "q.onnx", tolerance=QUANTISED)


def test_quant_pre_process(export, tmp_path):
    quant_pre_process(str(export[0]), str(tmp_path / "p.onnx"))
    check(export, tmp_path / "p.onnx")


@pytest.mark.parametrize("opset", [19, 21, 22, 23])
def test_version_converter(export, tmp_path, opset):
    onnx.save(version_converter.convert_version(onnx.load(export[0]), opset), tmp_path / "v.onnx")
    check(export, tmp_path / "v.onnx")


def test_onnxslim(export, tmp_path):
    onnxslim = pytest.importorskip("onnxslim")
    onnxslim.slim(str(export[0]), str(tmp_path / "s.onnx"))
    check(export, tmp_path / "s.onnx")


def test_onnxsim(export, tmp_path):
    onnxsim = pytest.importorskip("onnxsim")
    simplified, holds = onnxsim.simplify(onnx.load(export[0]))
    assert holds
    onnx.save(simplified, tmp_path / "s.onnx")
    check(export, tmp_path / "s.onnx")


def test_polygraphy(export, tmp_path):
    pytest.importorskip("onnx_graphsurgeon")
    polygraphy = pytest.importorskip("polygraphy.backend.onnx")
    # It writes no metadata; as `exports/README.md` says, they are put back.
    folded = polygraphy.fold_constants(polygraphy.onnx_from_path(str(export[0])))
    onnx.helper.set_model_props(folded, export[2])
    onnx.save(folded, tmp_path / "p.onnx")
    check(export, tmp_path / "p.onnx")


@pytest.mark.parametrize("opset", [18, 22])
@pytest.mark.parametrize("views", ["center", "five-crop"])
def test_quant_pre_process__other_opsets(runs, tmp_path, opset, views):
    path = tmp_path / "model.onnx"
    export_onnx(run=runs["ulfine"], onnx=path, input="image", views=views, opset=opset)
    quant_pre_process(str(path), str(tmp_path / "p.onnx"))
    assert np.abs(answers(tmp_path / "p.onnx")[0] - answers(path)[0]).max() <= TOLERANCE["fp32"]
