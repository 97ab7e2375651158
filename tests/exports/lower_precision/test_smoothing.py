"""Channels of outliers: evened out without changing what the graph computes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ulfine_exports.inference.providers import open_session
from ulfine_exports.lower_precision.quantise import quantise
from ulfine_exports.lower_precision.smoothing import measure, smooth

WIDTH, HIDDEN, CLASSES = 32, 64, 40


def block(outlier=1.0, hidden_outlier=1.0, turned=False):
    """LayerNormalization, MatMul, Relu, MatMul, mean over tokens: float32 (batch, 5, 32) to (batch, 40)."""
    generator = np.random.default_rng(0)
    gain = generator.uniform(0.8, 1.2, WIDTH)
    gain[3] *= outlier
    first = generator.normal(size=(WIDTH, HIDDEN)) / np.sqrt(WIDTH)
    first[3] /= outlier
    first[:, 7] *= hidden_outlier
    second = generator.normal(size=(HIDDEN, CLASSES)) / np.sqrt(HIDDEN)
    second[7] /= hidden_outlier
    values = {
        "patch": np.eye(WIDTH),
        "gain": gain,
        "bias": generator.normal(size=WIDTH) * 0.1 * gain,
        "first": first,
        "second": second,
    }
    weights = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
    weights.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    turn = [helper.make_node("Transpose", ["normed"], ["turned"], name="turn", perm=[1, 0, 2])] if turned else []
    back = [helper.make_node("Transpose", ["output"], ["back"], name="back", perm=[1, 0, 2])] if turned else []
    nodes = [
        helper.make_node("MatMul", ["pixels", "patch"], ["patches"], name="patches"),
        helper.make_node("LayerNormalization", ["patches", "gain", "bias"], ["normed"], name="norm", axis=-1),
        *turn,
        helper.make_node("MatMul", ["turned" if turned else "normed", "first"], ["hidden"], name="first"),
        helper.make_node("Relu", ["hidden"], ["active"], name="relu"),
        helper.make_node("MatMul", ["active", "second"], ["output"], name="second"),
        *back,
        helper.make_node("ReduceMean", ["back" if turned else "output", "axis"], ["logits"], name="mean", keepdims=0),
        helper.make_node("Softmax", ["logits"], ["probabilities"], name="softmax", axis=-1),
    ]
    infos = [
        helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 5, WIDTH]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", CLASSES]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES]),
    ]
    graph = helper.make_graph(nodes, "main", infos[:1], infos[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


ROWS = np.random.default_rng(4).normal(size=(40, 5, WIDTH)).astype(np.float32)
LAYERS = ["first", "second"]


def logits(model):
    return open_session(model.SerializeToString(), "cpu").run(ROWS)[1]


def test_smooth__leaves_even_activations_alone():
    model = block()
    before = model.SerializeToString()
    assert smooth(model, LAYERS, [ROWS]) == 0
    assert model.SerializeToString() == before


@pytest.mark.parametrize("turned", [False, True])
def test_smooth__changes_no_answer(turned):
    model = block(outlier=200.0, hidden_outlier=200.0, turned=turned)
    before = logits(model)
    assert smooth(model, LAYERS, [ROWS[:20], ROWS[20:]]) == 2
    onnx.checker.check_model(model, full_check=True)
    assert np.allclose(logits(model), before, rtol=1e-4, atol=1e-5)
    # The normalisation takes the first division, a multiplication the second.
    assert [node.op_type for node in model.graph.node].count("Mul") == 1


def test_smooth__makes_activations_even():
    model = block(outlier=200.0, hidden_outlier=200.0)
    uneven = decibels(model)
    smooth(model, LAYERS, [ROWS])
    assert max(uneven) < 25  # decibels
    assert min(now - before for now, before in zip(decibels(model), uneven, strict=True)) > 10


def decibels(model):
    nodes = [next(node for node in model.graph.node if node.name == name) for name in LAYERS]
    return [
        activations.decibels
        for activations in measure(model, {node.input[0]: [node] for node in nodes}, [ROWS]).values()
    ]


def test_smooth__a_result_that_others_read_keeps_its_normalisation():
    model = block(outlier=200.0)
    model.graph.node[-2].input[0] = "sum"
    model.graph.initializer.append(numpy_helper.from_array(np.ones((WIDTH, CLASSES), np.float32), "side"))
    model.graph.node.insert(5, helper.make_node("MatMul", ["normed", "side"], ["skipped"], name="skip"))
    model.graph.node.insert(6, helper.make_node("Add", ["skipped", "output"], ["sum"], name="add"))
    before = logits(model)
    assert smooth(model, LAYERS, [ROWS]) == 1
    assert np.allclose(logits(model), before, rtol=1e-4, atol=1e-3)


def test_measure__equal_numpy():
    model = block(outlier=5.0)
    nodes = [next(node for node in model.graph.node if node.name == name) for name in LAYERS]
    found = measure(model, {node.input[0]: [node] for node in nodes}, [ROWS[:20], ROWS[20:]])["normed"]
    weights = {tensor.name: numpy_helper.to_array(tensor).astype(np.float64) for tensor in model.graph.initializer}
    rows = ROWS.astype(np.float64)
    normed = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + 1e-5)
    normed = normed * weights["gain"] + weights["bias"]
    assert np.allclose(found.largest, np.abs(normed).max(axis=(0, 1)), rtol=1e-4)
    assert np.allclose(found.power, (normed**2).mean(axis=(0, 1)), rtol=1e-4)
    step = 2 * np.abs(normed).max() / 255
    expected = 10 * np.log10(np.median((normed**2).mean(axis=(0, 1))) / (step**2 / 12))
    assert found.decibels == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("variant", ["static", "dynamic"])
def test_quantise__survives_outliers(variant):
    """Without smoothing the outliers leave one bit of 8 to the other channels."""
    errors = []
    for outlier in (1.0, 200.0):
        model = block(outlier=outlier, hidden_outlier=outlier)
        found = logits(quantise(model, [variant], lambda: [ROWS])[variant])
        errors.append(np.abs(found - logits(model)).mean())
    assert errors[1] < 4 * errors[0]
