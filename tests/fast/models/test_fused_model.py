import numpy as np
import pytest
import torch

from ulfine_fast.models.fused_model import FusedModel


def filled(has_text):
    model = FusedModel(n_features=6, n_classes=4, has_text=has_text)
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.randn(value.shape, generator=generator) for name, value in model.state_dict().items()}
    state["weights"] = state["weights"].abs()
    model.load_state_dict(state)
    return model, {name: value.numpy().astype(np.float64) for name, value in state.items()}


@pytest.mark.parametrize("has_text", [True, False])
def test_logits__are_a_plain_linear_form(has_text):
    """The view with an adapter equals `x . W + b`, up to what all classes share."""
    model, s = filled(has_text)
    weight = s["weights"][0] * s["prototypes"] @ s["adapter"].T + s["weights"][1] * s["probe"]
    bias = -s["weights"][0] * (s["prototypes"] @ s["adapter"].T @ s["centre"] + 0.5 * (s["prototypes"] ** 2).sum(1))
    if has_text:
        weight = weight + s["weights"][2] * s["text"]
    rows = np.random.default_rng(1).normal(size=(9, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = model(torch.tensor(rows).float() * 3.0).numpy()
    assert found == pytest.approx(rows @ weight.T + bias, abs=1e-4)


@pytest.mark.parametrize("has_text", [True, False])
def test_parts__sum_to_the_logits(has_text):
    model, _ = filled(has_text)
    rows = torch.randn(9, 6, generator=torch.Generator().manual_seed(2))
    parts = model.parts(rows)
    assert list(parts) == ["text", "probe"]
    assert (parts["text"] + parts["probe"]).numpy() == pytest.approx(model(rows).numpy(), abs=1e-5)


@pytest.mark.parametrize("has_text", [True, False])
def test_architecture__builds_the_same_model(has_text):
    model, _ = filled(has_text)
    other = FusedModel(**model.architecture())
    other.load_state_dict(model.state_dict())
    rows = torch.randn(9, 6, generator=torch.Generator().manual_seed(2))
    assert torch.equal(model(rows), other(rows))
