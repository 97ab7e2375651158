import pytest
import torch

from ulfine_fast.models.logit_model import LogitModel


class Sum(LogitModel):
    def logits(self, features):
        return features * 2

    def part_logits(self, features):
        return {"one": features, "other": features}

    def architecture(self):
        return {}


def test_forward__brings_features_to_unit_length():
    model = Sum()
    assert model(torch.tensor([[3.0, 4.0]])) == pytest.approx(torch.tensor([[1.2, 1.6]]))
    assert torch.allclose(sum(model.parts(torch.tensor([[3.0, 4.0]])).values()), model(torch.tensor([[30.0, 40.0]])))


def test_probabilities__blocks_give_the_same_rows():
    features = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Sum().probabilities(features, batch_size=2), Sum().probabilities(features))
    assert Sum().probabilities(features).sum(1) == pytest.approx(torch.ones(7))
    assert Sum().probabilities(features[:0]).shape == (0, 3)


def test_logit_model__is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        LogitModel()  # pyright: ignore[reportAbstractUsage]
