"""A graph that says itself which of its answers are sure enough: one output more, ``accepted``."""

from typing import TYPE_CHECKING

from ulfine_exports.metadata import ACCEPTED

if TYPE_CHECKING:
    from onnx import ModelProto


def add_accepted(model: "ModelProto", threshold: float) -> "ModelProto":
    """Compare the largest probability of every row with a threshold, in place.

    Args:
        model: A graph with the output ``probabilities``, float32 (N, C).
        threshold: Least probability of an accepted answer.

    Returns:
        The same model, with the output `ACCEPTED`.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    probabilities = next(item for item in graph.output if item.name == "probabilities")
    batch = probabilities.type.tensor_type.shape.dim[0]
    for name, values in (
        ("accepted_axis", np.array([1], np.int64)),
        ("accepted_from", np.array(threshold, np.float32)),
    ):
        graph.initializer.append(numpy_helper.from_array(values, name))
    graph.node.append(
        helper.make_node("ReduceMax", ["probabilities", "accepted_axis"], ["accepted_confidence"], keepdims=0)
    )
    graph.node.append(helper.make_node("GreaterOrEqual", ["accepted_confidence", "accepted_from"], [ACCEPTED]))
    size = batch.dim_param or (batch.dim_value if batch.HasField("dim_value") else None)
    graph.output.append(helper.make_tensor_value_info(ACCEPTED, TensorProto.BOOL, [size]))
    return model
