"""Graph building: dynamic batch, nothing machine-made inside, the fallback exporter, the size limit."""

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from ulfine_cache.errors import UlfineError
from ulfine_exports.graphs import graph


class Attention(nn.Module):
    """A small encoder with the attention block that exporters stumble over (its fast path has no ONNX operator)."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.patches = nn.Conv2d(3, 16, 8, stride=8)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)

    def forward(self, pixels):
        tokens = self.patches(pixels).flatten(2).transpose(1, 2)
        return nn.functional.normalize(self.block(tokens).mean(dim=1), dim=-1)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weights", torch.randn(5, 16, generator=torch.Generator().manual_seed(1)))

    def forward(self, features):
        return 20 * features @ self.weights.T


@pytest.fixture(scope="module")
def module():
    return graph.PixelGraph(Attention(), Scaled()).eval()


def largest_difference(module, model, count):
    pixels = torch.randn(count, 3, 24, 24, generator=torch.Generator().manual_seed(count))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(["probabilities", "logits"], {"pixels": pixels.numpy()})
    with torch.no_grad():
        expected = module(pixels)
    assert found[0].shape == (count, 5)
    assert found[0].std() > 0.1  # probabilities that all look alike would agree whatever the graph does
    return max(abs(a.numpy() - b).max() for a, b in zip(expected, found, strict=True))


def test_build_graph__any_batch(module):
    model, exporter = graph.build_graph(module, "pixels", (3, 24, 24), 20)
    assert exporter == "dynamo"
    onnx.checker.check_model(model, full_check=True)
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [value.name for value in model.graph.output] == ["probabilities", "logits"]
    for count in (1, 2, 7):
        assert largest_difference(module, model, count) < 1e-4


def test_build_graph__falls_back_to_torchscript(module, monkeypatch):
    def fail(*_):
        raise RuntimeError("cannot trace")

    monkeypatch.setattr(graph, "with_dynamo", fail)
    model, exporter = graph.build_graph(module, "pixels", (3, 24, 24), 20)
    assert exporter == "torchscript"
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    for count in (1, 2, 7):
        assert largest_difference(module, model, count) < 1e-4
    assert torch.backends.mha.get_fastpath_enabled()


def test_build_graph__neither_exporter(module, monkeypatch):
    def fail(*_):
        raise RuntimeError("cannot trace\nsecond line")

    monkeypatch.setattr(graph, "with_dynamo", fail)
    monkeypatch.setattr(graph, "with_torchscript", fail)
    with pytest.raises(UlfineError, match=r"opset 20 \(cannot trace\): try another"):
        graph.build_graph(module, "pixels", (3, 24, 24), 20)


def test_build_graph__over_two_gigabytes(module, monkeypatch):
    monkeypatch.setattr(graph, "MAX_BYTES", 1000)
    with pytest.raises(UlfineError, match="--input features"):
        graph.build_graph(module, "pixels", (3, 24, 24), 20)


def test_build_graph__says_nothing_about_this_machine(module):
    model, _ = graph.build_graph(module, "pixels", (3, 24, 24), 18)
    content = model.SerializeToString()
    assert b".py" not in content
    assert b"stack_trace" not in content
    assert all(not node.metadata_props and not node.doc_string for node in model.graph.node)


def test_build_graph__same_bytes_again_and_no_trace_in_the_global_generator(module):
    state = torch.get_rng_state()
    first, second = (graph.build_graph(module, "pixels", (3, 24, 24), 20)[0] for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert torch.equal(torch.get_rng_state(), state)


def test_canonical__reaches_into_subgraphs():
    inner = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["a"], ["b"], doc_string="inner")], "then", [], []
    )
    node = onnx.helper.make_node("If", ["c"], ["b"], then_branch=inner, else_branch=inner)
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "main", [], []), doc_string="made here")
    onnx.helper.set_model_props(model, {"made": "here"})
    graph.canonical(model)
    assert b"inner" not in model.SerializeToString()
    assert b"here" not in model.SerializeToString()
