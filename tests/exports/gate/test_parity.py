"""The gate lets equal models through and stops everything else."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ulfine_cache.errors import UlfineError
from ulfine_exports.gate.parity import check_parity, round_up

WEIGHTS = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
ROWS = np.random.default_rng(1).standard_normal((40, 6)).astype(np.float32)


def softmax_model(weights, batch="batch"):
    """`softmax(features @ weights)`, built node by node."""
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [batch, 6])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 4]) for name in ("probabilities", "logits")],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def reference(batch):
    logits = batch.astype(np.float64) @ WEIGHTS
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32), logits.astype(np.float32)


def check(model, rows=ROWS):
    return check_parity(model, reference, rows, tolerance=1e-4, source="test rows")


def test_check_parity__equal():
    parity = check(softmax_model(WEIGHTS))
    assert parity.largest_difference < 1e-6
    assert parity.largest_difference <= parity.rounded
    assert (parity.rows, parity.source, parity.tolerance) == (40, "test rows", 1e-4)
    assert {1, 2, 7} <= set(parity.batches)


def test_check_parity__few_rows_still_see_every_batch_size():
    assert check(softmax_model(WEIGHTS), ROWS[:1]).batches == (1, 2, 7)


def test_check_parity__slightly_other_weights():
    other = WEIGHTS.copy()
    other[2, 1] += 0.01
    with pytest.raises(UlfineError, match=r"nothing was written: onnxruntime and torch differ by 0\.0"):
        check(softmax_model(other))


def test_check_parity__difference_is_found_in_whichever_row():
    rows = np.zeros((40, 6), np.float32)
    rows[-1] = ROWS[0]
    other = WEIGHTS.copy()
    other[2, 1] += 0.01
    with pytest.raises(UlfineError, match="differ by"):
        check(softmax_model(other), rows)


def test_check_parity__nan_does_not_slip_through():
    other = WEIGHTS.copy()
    other[0, 0] = np.nan
    with pytest.raises(UlfineError, match="nothing was written"):
        check(softmax_model(other))


def test_check_parity__fixed_batch():
    with pytest.raises(UlfineError, match="nothing was written") as caught:
        check(softmax_model(WEIGHTS, batch=2))
    assert "\n" not in str(caught.value)


def test_check_parity__not_a_model():
    with pytest.raises(UlfineError, match="cannot load"):
        check(b"nonsense")


def test_check_parity__other_width():
    model = onnx.load_model_from_string(softmax_model(WEIGHTS))
    model.graph.node[1].input[0] = "half"
    half = helper.make_node("Slice", ["logits", "zero", "three", "one"], ["half"])
    model.graph.node.insert(1, half)
    for name, value in (("zero", 0), ("three", 3), ("one", 1)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([value]), name))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3
    with pytest.raises(UlfineError):
        check(model.SerializeToString())


@pytest.mark.parametrize(("value", "rounded"), [(0.0, 0.0), (1.2e-7, 1.2e-7), (1.21e-7, 1.3e-7), (9.91e-5, 1e-4)])
def test_round_up__still_bounds(value, rounded):
    assert round_up(value) == rounded >= value
