import numpy as np
import pytest
import torch

from ulfine_cache.progress import Silent
from ulfine_fast.methods.zero_shot import METHOD, ZeroShotSettings
from ulfine_fast.rows.training_data import make_training_data


def data(text=None):
    features = np.array([[3.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    return make_training_data(
        features=features, labels=np.array([0, 0, 1]), unlabelled=np.empty((0, 2)), text=text, class_names=("a", "b")
    )


def test_fit__text_prototypes_by_hand():
    result = METHOD.fit(data(np.array([[2.0, 0.0], [3.0, 4.0]])), ZeroShotSettings(scale=10.0), 0, Silent())
    logits = result.model(torch.tensor([[0.0, 5.0], [7.0, 0.0]]))
    assert logits == pytest.approx(torch.tensor([[0.0, 8.0], [10.0, 6.0]]), abs=1e-5)
    assert result.diagnostics == {"prototypes": "text"}


def test_fit__the_scale_is_the_one_that_clip_learnt():
    """100, where CLIP clips its temperature (Radford et al., 2021, section 2.5)."""
    exact = METHOD.fit(data(np.eye(2)), ZeroShotSettings(), 0, Silent()).model(torch.eye(2))
    assert exact == pytest.approx(100 * torch.eye(2))


def test_fit__at_that_scale_the_softmax_means_something(shared_data):
    with np.load(shared_data / "clip-features" / "whurs19_vit-b-32.npz") as arrays:
        rows, labels, text = arrays["image_features"], arrays["labels"], arrays["text_features"]
    photographs = make_training_data(
        features=rows, labels=labels, unlabelled=rows[:0], text=text, class_names=tuple(map(str, range(19)))
    )

    def loss(**settings):
        logits = METHOD.fit(photographs, ZeroShotSettings(**settings), 0, Silent()).model(photographs.features)
        return float(torch.nn.functional.cross_entropy(logits, photographs.labels))

    assert loss() < 0.7 * loss(scale=50.0)
    assert loss() < 0.7 * loss(scale=400.0)


def test_fit__without_text_the_prototypes_are_class_means():
    result = METHOD.fit(data(), ZeroShotSettings(scale=1.0), 0, Silent())
    mean = (np.array([1.0, 0.0]) + np.array([1.0, 1.0]) / np.sqrt(2)) / 2
    expected = np.array([mean / np.linalg.norm(mean), [0.0, 1.0]])
    assert result.model.prototypes.numpy() == pytest.approx(expected, abs=1e-6)


def test_build__gives_the_same_model():
    model = METHOD.fit(data(), ZeroShotSettings(), 0, Silent()).model
    other = METHOD.build(model.architecture())
    other.load_state_dict(model.state_dict())
    features = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(features), other(features))
