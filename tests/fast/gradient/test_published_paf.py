import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ulfine_fast.gradient.published_paf import (
    across_gap,
    move_prototypes,
    movement_rates,
    orthogonality,
    pseudo_label_distribution,
    separate,
    visual_prototypes,
)


def test_paf__one_update_by_hand():
    """All published rules in a row, in two dimensions, with the numbers written out."""
    # Class 0 was at (1, 0) and is seen at (0, 1) and (0, 3), mean (0, 2); class 1 is new, at (2, 0); class 2 is absent.
    before = torch.tensor([[1.0, 0.0], [9.0, 9.0], [0.0, 5.0]])
    rows = torch.tensor([[0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    visual, seen = visual_prototypes(before, torch.tensor([True, False, True]), rows, torch.tensor([0, 1, 0]), 0.75)
    assert visual.tolist() == [[0.75, 0.5], [2.0, 0.0], [0.0, 5.0]]  # 0.75 (1, 0) + 0.25 (0, 2)
    assert seen.tolist() == [True, True, True]
    # Pseudo-labels 0, 0, 0, 0, 1, 1, 0, 0: six of class 0, two of class 1, none of class 2.
    distribution = pseudo_label_distribution(torch.tensor([0, 0, 0, 0, 1, 1, 0, 0]), 3)
    assert distribution.tolist() == [0.75, 0.25, 0.0]
    rates = movement_rates(distribution, 0.6)
    assert rates.tolist() == pytest.approx([0.6, 0.2, 0.0])
    # 0.4 (0, 1) + 0.6 (0.75, 0.5) = (0.45, 0.7); 0.8 (0.6, 0.8) + 0.2 (2, 0) = (0.88, 0.64); the third stays.
    text = torch.tensor([[0.0, 1.0], [0.6, 0.8], [1.0, 0.0]])
    moved = move_prototypes(text, visual, rates)
    lengths = np.hypot([0.45, 0.88], [0.7, 0.64])
    expected = [[0.45 / lengths[0], 0.7 / lengths[0]], [0.88 / lengths[1], 0.64 / lengths[1]], [1.0, 0.0]]
    assert moved.numpy() == pytest.approx(np.array(expected), abs=1e-6)


def test_visual_prototypes__a_class_unseen_stays_unseen():
    _, seen = visual_prototypes(
        torch.zeros(3, 2), torch.zeros(3, dtype=torch.bool), torch.ones(2, 2), torch.tensor([2, 2]), 0.9
    )
    assert seen.tolist() == [False, False, True]


@given(
    counts=st.lists(st.integers(0, 50), min_size=2, max_size=8).filter(any),
    mu=st.floats(0.0, 1.0, allow_subnormal=False),
)
def test_movement_rates__order_of_the_classes_and_range(counts, mu):
    distribution = torch.tensor(counts, dtype=torch.float64) / sum(counts)
    rates = movement_rates(distribution, mu)
    assert float(rates.max()) == pytest.approx(mu)
    assert rates.numpy() == pytest.approx(mu * np.array(counts) / max(counts))


def test_across_gap__moves_the_centre_and_keeps_the_shape():
    visual = torch.tensor([[10.0, 0.0], [12.0, 2.0], [99.0, 99.0]])
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    moved = across_gap(visual, torch.tensor([True, True, False]), text)
    # Centre (11, 1) of the seen goes to (0.5, 0.5), the centre of their texts.
    assert moved[:2].tolist() == [[-0.5, -0.5], [1.5, 1.5]]


def test_orthogonality__by_hand():
    assert float(orthogonality(torch.eye(3))) == 0.0
    assert float(orthogonality(torch.ones(4, 2))) == pytest.approx(1.0)
    # Cosines 0.6, 0 and 0.8 of three pairs.
    prototypes = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 2.0]])
    assert float(orthogonality(prototypes)) == pytest.approx((0.36 + 0.0 + 0.64) / 3)


def test_separate__is_a_gradient_step():
    generator = np.random.default_rng(0)
    prototypes = generator.normal(size=(4, 6)) + 1.0
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)

    def term(flat):
        unit = flat.reshape(4, 6) / np.linalg.norm(flat.reshape(4, 6), axis=1, keepdims=True)
        cosines = unit @ unit.T
        return 4 * (cosines[~np.eye(4, dtype=bool)] ** 2).mean()

    gradient = np.array(
        [(term(prototypes.ravel() + h) - term(prototypes.ravel() - h)) / 2e-6 for h in 1e-6 * np.eye(24)]
    )
    expected = prototypes - 0.1 * gradient.reshape(4, 6)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = separate(torch.tensor(prototypes), 0.1)
    assert found.numpy() == pytest.approx(expected, abs=1e-7)
    assert float(orthogonality(found)) < float(orthogonality(torch.tensor(prototypes)))
    assert separate(torch.tensor(prototypes), 0.0).numpy() == pytest.approx(prototypes, abs=1e-12)
