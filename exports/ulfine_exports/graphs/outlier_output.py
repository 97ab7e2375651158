"""The outlier score of a graph that is written by hand: one output more, six nodes and one matrix."""

from typing import TYPE_CHECKING

from ulfine_exports.metadata import OUTLIER_SCORE

if TYPE_CHECKING:
    from onnx import ModelProto

    from ulfine_fast.models.outlier_score import OutlierScore

_NODES = """
    outlier_similarities = MatMul (unit, outlier_means)
    outlier_nearest = ReduceMax <keepdims = 0> (outlier_similarities, outlier_axis)
    outlier_likely = ReduceLogSumExp <keepdims = 0> (logits, outlier_axis)
    outlier_near = Mul (outlier_nearest, outlier_distance)
    outlier_known = Mul (outlier_likely, outlier_energy)
    outlier_alike = Add (outlier_near, outlier_known)
    outlier_score = Sub (outlier_offset, outlier_alike)
"""


def add_outlier_score(model: "ModelProto", score: "OutlierScore") -> "ModelProto":
    """Write `OutlierScore` behind an affine graph, in place: `c + b - (b max_k cos(x, m_k) + a log sum_k exp z_k)`.

    Args:
        model: Of `ulfine_exports.graphs.affine_graph.affine_graph`, with the tensors ``unit`` (N, D) and ``logits``.
        score: Of the run.

    Returns:
        The same model, with the output `OUTLIER_SCORE`, float32 (N,).
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper, parser

    energy, distance, offset = score.scale.tolist()
    constants = {
        "outlier_means": score.class_means.T.contiguous().numpy(),
        "outlier_axis": np.array([1], np.int64),
        "outlier_energy": np.array(energy, np.float32),
        "outlier_distance": np.array(distance, np.float32),
        "outlier_offset": np.array(offset + distance, np.float32),
    }
    graph = model.graph
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in constants.items())
    graph.node.extend(parser.parse_node(line) for line in _NODES.strip().splitlines())
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    graph.output.append(helper.make_tensor_value_info(OUTLIER_SCORE, TensorProto.FLOAT, [batch]))
    return model
