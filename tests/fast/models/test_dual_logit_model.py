import numpy as np
import pytest
import torch

from ulfine_fast.models.dual_logit_model import DualLogitModel, scale_ratio


def filled(width=2, text_weight=0.25):
    model = DualLogitModel(n_features=6, n_classes=4, scale=7.0, text_weight=text_weight, adapter_width=width)
    generator = torch.Generator().manual_seed(0)
    model.load_state_dict({k: torch.randn(v.shape, generator=generator).abs() for k, v in model.state_dict().items()})
    return model.requires_grad_(False)


@pytest.mark.parametrize("width", [0, 2])
def test_logits__by_hand(width):
    model = filled(width)
    s = {name: value.double().numpy() for name, value in model.state_dict().items()}
    rows = np.random.default_rng(1).normal(size=(9, 6))
    z = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    if width:
        z = z + np.maximum(z @ s["adapter.down"].T, 0) @ s["adapter.up"].T
        z /= np.linalg.norm(z, axis=1, keepdims=True)
    probe = s["weight"] / np.linalg.norm(s["weight"], axis=1, keepdims=True)
    text_part = 0.25 * s["text_scale"] * z @ s["prototypes"].T
    probe_part = 0.75 * 7.0 * z @ probe.T
    parts = model.parts(torch.tensor(rows).float())
    assert list(parts) == ["text", "probe"]
    assert parts["text"].numpy() == pytest.approx(text_part, abs=1e-5)
    assert parts["probe"].numpy() == pytest.approx(probe_part, abs=1e-5)
    assert model(torch.tensor(rows).float()).numpy() == pytest.approx(text_part + probe_part, abs=1e-5)


def test_architecture__builds_the_same_model():
    model = filled()
    other = DualLogitModel(**model.architecture())
    other.load_state_dict(model.state_dict())
    rows = torch.randn(9, 6, generator=torch.Generator().manual_seed(2))
    assert torch.equal(model(rows), other(rows))


def test_scale_ratio__gives_both_the_same_scale():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(20, 5)), 3 + 40 * generator.normal(size=(20, 5))
    ratio = float(scale_ratio(torch.tensor(first), torch.tensor(second)))
    assert ratio == pytest.approx(second.std(1, ddof=1).mean() / first.std(1, ddof=1).mean())
    # What all classes share does not matter.
    shifted = torch.tensor(first + generator.normal(size=(20, 1)))
    assert float(scale_ratio(shifted, torch.tensor(second))) == pytest.approx(ratio)
    assert torch.isfinite(scale_ratio(torch.zeros(3, 2), torch.ones(3, 2)))
