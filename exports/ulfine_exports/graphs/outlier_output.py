"""A graph that says itself how unlike every class its input is: one output more, ``outlier_score``."""

from typing import TYPE_CHECKING

from ulfine_exports.metadata import OUTLIER_SCORE
from ulfine_fast.judging.outlier_score import OutlierScale

if TYPE_CHECKING:
    from onnx import ModelProto


def add_outlier_score(model: "ModelProto", scale: OutlierScale) -> "ModelProto":
    """Measure the energy of every row's logits, in place.

    The same as `ulfine_fast.judging.outlier_score.outlier_scores`.

    Args:
        model: A graph with the output ``logits``, float32 (N, C), as the run was fitted.
        scale: Of the run.

    Returns:
        The same model, with the output `OUTLIER_SCORE`, float32 (N,).
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    logits = next(item for item in graph.output if item.name == "logits")
    batch = logits.type.tensor_type.shape.dim[0]
    spread = scale.threshold - scale.middle
    constants = {
        "outlier_axis": np.array([1], np.int64),
        "outlier_factor": np.array(-1 / spread, np.float32),
        "outlier_middle": np.array(-scale.middle / spread, np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in constants.items())
    graph.node.extend(
        [
            helper.make_node("ReduceLogSumExp", ["logits", "outlier_axis"], ["outlier_likely"], keepdims=0),
            helper.make_node("Mul", ["outlier_likely", "outlier_factor"], ["outlier_energy"]),
            helper.make_node("Add", ["outlier_energy", "outlier_middle"], [OUTLIER_SCORE]),
        ]
    )
    size = batch.dim_param or (batch.dim_value if batch.HasField("dim_value") else None)
    graph.output.append(helper.make_tensor_value_info(OUTLIER_SCORE, TensorProto.FLOAT, [size]))
    return model
