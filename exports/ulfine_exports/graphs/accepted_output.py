"""A graph that says itself which of its answers are sure enough: one output more, ``accepted``."""

from typing import TYPE_CHECKING

from ulfine_exports.metadata import ACCEPTED
from ulfine_fast.judging.accepted_rows import Thresholds

if TYPE_CHECKING:
    from onnx import ModelProto


def add_accepted(model: "ModelProto", thresholds: Thresholds) -> "ModelProto":
    """Compare the largest probability of every row with a threshold, in place.

    The same as `ulfine_fast.judging.accepted_rows.accepted_rows`.

    Args:
        model: A graph with the output ``probabilities``, float32 (N, C).
        thresholds: Least probability of an accepted answer, for all or C, of which that of the answered class counts.

    Returns:
        The same model, with the output `ACCEPTED`.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    probabilities = next(item for item in graph.output if item.name == "probabilities")
    batch = probabilities.type.tensor_type.shape.dim[0]
    least = np.array(thresholds, np.float32)
    for name, values in (("accepted_axis", np.array([1], np.int64)), ("accepted_from", least)):
        graph.initializer.append(numpy_helper.from_array(values, name))
    reached = "accepted_from"
    if least.ndim:
        reached = "accepted_from_class"
        graph.node.append(helper.make_node("ArgMax", ["probabilities"], ["accepted_class"], axis=1, keepdims=0))
        graph.node.append(helper.make_node("Gather", ["accepted_from", "accepted_class"], [reached], axis=0))
    graph.node.append(
        helper.make_node("ReduceMax", ["probabilities", "accepted_axis"], ["accepted_confidence"], keepdims=0)
    )
    graph.node.append(helper.make_node("GreaterOrEqual", ["accepted_confidence", reached], [ACCEPTED]))
    size = batch.dim_param or (batch.dim_value if batch.HasField("dim_value") else None)
    graph.output.append(helper.make_tensor_value_info(ACCEPTED, TensorProto.BOOL, [size]))
    return model
