"""The preprocessing of several encoders in one graph: one picture in, a row with what each of them takes out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto


def several_preprocesses(graphs: "Sequence[ModelProto]", *, five_crops: bool = False) -> "ModelProto":
    """Put preprocessing graphs of one input side by side.

    Args:
        graphs: As `ulfine_exports.graphs.image_graph.preprocess_graph` gives them, of the same opset.
        five_crops: Whether they give five crops each.

    Returns:
        A model with their input ``image`` and the output ``prepared``, float32 (batch, L) or (batch, 5, L): what each
        gives of a picture, flattened, one behind the other.
    """
    from math import prod

    from onnx import ModelProto, TensorProto, compose, helper

    leading = 2 if five_crops else 1
    joined = ModelProto()
    joined.ir_version, joined.graph.name = graphs[0].ir_version, graphs[0].graph.name
    joined.opset_import.extend(graphs[0].opset_import)
    joined.graph.input.extend(graphs[0].graph.input)
    rows: list[str] = []
    length = 0
    for number, graph in enumerate(graphs):
        part = ModelProto()
        part.CopyFrom(compose.add_prefix(graph, f"{number}/", rename_inputs=False))
        joined.graph.node.extend(part.graph.node)
        joined.graph.initializer.extend(part.graph.initializer)
        sizes = [axis.dim_value for axis in graph.graph.output[0].type.tensor_type.shape.dim[leading:]]
        length += prod(sizes)
        shape = helper.make_tensor(f"{number}/row", TensorProto.INT64, [leading + 1], [*[0] * leading, prod(sizes)])
        joined.graph.initializer.append(shape)
        rows.append(f"{number}/flat")
        flat = helper.make_node("Reshape", [f"{number}/prepared", shape.name], [rows[-1]], name=f"{number}/flatten")
        joined.graph.node.append(flat)
    joined.graph.node.append(helper.make_node("Concat", rows, ["prepared"], name="side_by_side", axis=leading))
    axes = ["batch", *([5] if five_crops else []), length]
    joined.graph.output.append(helper.make_tensor_value_info("prepared", TensorProto.FLOAT, axes))
    return joined
