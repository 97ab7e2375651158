"""Classifiers that are affine in the unit feature become three nodes with the same answers; others do not."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from ulfine_exports.graphs.affine_graph import affine_graph, fold
from ulfine_fast.gradient.heads import LinearHeadModel
from ulfine_fast.models.dual_logit_model import DualLogitModel
from ulfine_fast.models.fused_model import FusedModel
from ulfine_fast.models.logit_model import LogitModel

WIDTH, CLASSES = 12, 5


def filled(model):
    """Weights that are not the initial ones."""
    generator = torch.Generator().manual_seed(0)
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = torch.randn(tensor.shape, generator=generator)
    return model.eval()


def fused(has_text=True):
    return filled(FusedModel(n_features=WIDTH, n_classes=CLASSES, has_text=has_text))


def head(adapter_width=0):
    return filled(
        LinearHeadModel(n_features=WIDTH, n_classes=CLASSES, scale=25.0, cosine=True, adapter_width=adapter_width)
    )


def run(model, features):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["probabilities", "logits"], {"features": features})


@pytest.mark.parametrize("model", [fused(), fused(has_text=False), head()], ids=["fused", "no text", "linear"])
def test_fold__same_probabilities_in_three_nodes(model):
    graph = affine_graph(*fold(model, WIDTH), 20)
    onnx.checker.check_model(graph, full_check=True)
    assert [node.op_type for node in graph.graph.node] == ["LpNormalization", "Gemm", "Softmax"]
    features = np.random.default_rng(0).standard_normal((40, WIDTH)).astype(np.float32)
    with torch.no_grad():
        logits = model(torch.from_numpy(features))
    found = run(graph, features)
    assert np.abs(found[0] - logits.softmax(dim=-1).numpy()).max() < 1e-5
    assert np.abs(found[1] - logits.numpy()).max() < 1e-4


def test_fold__not_what_is_not_affine():
    assert fold(head(adapter_width=3), WIDTH) is None
    dual = DualLogitModel(n_features=WIDTH, n_classes=CLASSES, scale=25.0, text_weight=0.5, adapter_width=3)
    assert fold(filled(dual), WIDTH) is None


class AlmostAffine(LogitModel):
    """Affine on all axes and only there."""

    def logits(self, features):
        return features[:, :CLASSES] + 1e-3 * features[:, :1] * features[:, 1:2]

    def architecture(self):
        return {}


def test_fold__sees_what_the_axes_do_not_show():
    assert fold(AlmostAffine(), WIDTH) is None


def test_fold__leaves_the_model_alone():
    model = fused()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fold(model, WIDTH)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("opset", [18, 20, 23])
def test_affine_graph__zeros_give_finite_probabilities(opset):
    weight = np.random.default_rng(0).standard_normal((WIDTH, CLASSES)).astype(np.float32)
    bias = np.arange(CLASSES, dtype=np.float32)
    probabilities, logits = run(affine_graph(weight, bias, opset), np.zeros((3, WIDTH), np.float32))
    assert np.allclose(logits, bias)
    assert np.allclose(probabilities.sum(axis=1), 1)
