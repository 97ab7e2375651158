import numpy as np
import pytest
import torch

from ulfine_fast.models.model_under_test_prior import ModelUnderTestPrior
from ulfine_fast.models.neighbour_vote import NeighbourVote

SHIFT = np.array([0.5, -1.0, 0.0])


@pytest.fixture
def model():
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.rand(9, 4, generator=generator), dim=-1)
    return NeighbourVote.of(rows, torch.eye(3).repeat(3, 1), 5, 0.07)


def test_model_under_test_prior__logits_and_probabilities_agree(model):
    moved, features = ModelUnderTestPrior(model, SHIFT), torch.rand(20, 4, generator=torch.Generator().manual_seed(1))
    expected = torch.softmax(model(features) + torch.tensor(SHIFT), dim=-1).float()
    torch.testing.assert_close(torch.softmax(moved(features), dim=-1), expected)
    for batch_size in (None, 3):
        torch.testing.assert_close(moved.probabilities(features, batch_size), expected, rtol=1e-4, atol=1e-6)
    assert not moved.training
    assert moved.parts(features) == {}


def test_model_under_test_prior__is_not_kept(model):
    with pytest.raises(TypeError, match="cannot be kept in a run"):
        ModelUnderTestPrior(model, SHIFT).architecture()
