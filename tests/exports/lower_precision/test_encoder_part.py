"""Where an encoder begins and ends in graphs of several shapes."""

import numpy as np
import onnx
import pytest

from ulfine_exports.lower_precision.encoder_part import encoder_nodes, large_weights

WEIGHTS = (
    "float[3, 32] patch, float[32, 32] first, float[32, 32] second, float[32, 32] projection, float[32, 9] classes"
)
"""4 tokens an image, 32 wide; 9 classes."""

HEAD = """
  vector = MatMul(pooled, projection)
  norm = ReduceL2 <keepdims = 1> (vector, axis)
  unit = Div(vector, norm)
  {logits}
  probabilities = Softmax <axis = -1> (logits)
"""

BLOCKS = {
    "tokens stay apart": """
  tokens = MatMul(pixels, patch)
  hidden = MatMul(tokens, first)
  turned = Transpose <perm = [0, 2, 1]> (hidden)
  scores = MatMul(hidden, turned)
  attention = Softmax <axis = -1> (scores)
  mixed = MatMul(attention, hidden)
  out = MatMul(mixed, second)
  pooled = ReduceMean <keepdims = 0> (out, axis_tokens)
""",
    "tokens one below the other": """
  tokens = MatMul(pixels, patch)
  flat = Reshape(tokens, rows)
  hidden = MatMul(flat, first)
  apart = Reshape(hidden, tokens_shape)
  turned = Transpose <perm = [0, 2, 1]> (apart)
  scores = MatMul(apart, turned)
  attention = Softmax <axis = -1> (scores)
  mixed = MatMul(attention, apart)
  again = Reshape(mixed, rows)
  out = MatMul(again, second)
  out_apart = Reshape(out, tokens_shape)
  pooled = ReduceMean <keepdims = 0> (out_apart, axis_tokens)
""",
}
ENDS = {
    "one view": "logits = MatMul(unit, classes)",
    "mean over views": """views = MatMul(unit, classes)
  by_view = Reshape(views, views_shape)
  logits = ReduceMean <keepdims = 0> (by_view, axis_views)""",
}


def graph(block, end):
    text = f"""<ir_version: 10, opset_import: ["" : 20]>
main (float[batch, 4, 3] pixels) => (float[images, 9] probabilities, float[images, 9] logits)
<{WEIGHTS}, int64[1] axis = {{-1}}, int64[1] axis_tokens = {{1}}, int64[1] axis_views = {{1}},
 int64[2] rows = {{-1, 32}}, int64[3] tokens_shape = {{-1, 4, 32}}, int64[3] views_shape = {{-1, 5, 9}}>
{{{BLOCKS[block]}{HEAD.format(logits=ENDS[end])}}}"""
    model = onnx.parser.parse_model(text)
    declared = {item.name: item for item in model.graph.initializer}
    generator = np.random.default_rng(0)
    for part in WEIGHTS.split(", float"):
        name, sizes = part.split()[-1], part[part.index("[") + 1 : part.index("]")]
        if name not in declared:
            values = generator.normal(size=[int(size) for size in sizes.split(",")]).astype(np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    for number, node in enumerate(model.graph.node):
        node.name = f"node-{number}"
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("end", ENDS)
def test_encoder_nodes__from_the_first_layer_to_the_pooled_vector(block, end):
    model = graph(block, end)
    made = [node.output[0] for node in encoder_nodes(model)]
    everything = [node.output[0] for node in model.graph.node]
    assert made == everything[: everything.index("pooled") + 1]


def test_encoder_nodes__shape_arithmetic_beside_the_image_does_not_matter():
    model = graph("tokens stay apart", "one view")
    model.graph.node.insert(0, onnx.helper.make_node("Shape", ["pixels"], ["sizes"], name="sizes"))
    model.graph.node.append(onnx.helper.make_node("Identity", ["sizes"], ["late"], name="late"))
    assert encoder_nodes(model)[-1].output[0] == "pooled"


def test_large_weights__have_two_axes_and_many_elements():
    model = graph("tokens stay apart", "one view")
    assert large_weights(model) == {"first", "second", "projection"}
    assert large_weights(model, 0) == {"patch", "first", "second", "projection", "classes"}
