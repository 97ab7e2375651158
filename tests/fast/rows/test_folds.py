import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ulfine_fast.rows.folds import (
    balanced_weights,
    classes_to_leave_out,
    folds_to_leave_out,
    grouped_folds,
    stratified_folds,
)

COUNTS = st.lists(st.integers(0, 12), min_size=1, max_size=8).filter(lambda counts: sum(counts) > 0)


def rows_of(counts, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    return torch.as_tensor(np.random.default_rng(seed).permutation(labels))


@given(counts=COUNTS, n_folds=st.integers(2, 7), seed=st.integers(0, 99))
def test_stratified_folds__spread_of_classes_and_sizes(counts, n_folds, seed):
    labels = rows_of(counts, seed)
    folds = stratified_folds(labels, n_folds, torch.Generator().manual_seed(seed)).numpy()
    assert len(folds) == sum(counts)
    sizes = np.bincount(folds, minlength=n_folds)
    assert len(sizes) == n_folds
    assert np.ptp(sizes) <= 1
    for k in range(len(counts)):
        assert np.ptp(np.bincount(folds[labels.numpy() == k], minlength=n_folds)) <= 1


def test_stratified_folds__order_comes_from_the_generator():
    labels = rows_of([20, 10], 0)
    first, again, other = (stratified_folds(labels, 5, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@given(counts=COUNTS, n_folds=st.integers(2, 7), enough=st.integers(1, 60), seed=st.integers(0, 99))
def test_folds_to_leave_out__no_more_folds_than_needed(counts, n_folds, enough, seed):
    labels = rows_of(counts, seed)
    folds = stratified_folds(labels, n_folds, torch.Generator().manual_seed(seed)).numpy()
    chosen = folds_to_leave_out(labels, n_folds, enough, torch.Generator().manual_seed(seed)).numpy()
    left_out = chosen > 0
    # They are the first folds as `stratified_folds` deals them, whole ones.
    assert (chosen[left_out] == folds[left_out] + 1).all()
    assert not set(folds[left_out]) & set(folds[~left_out])
    assert left_out.sum() >= min(enough, len(labels))
    if chosen.max() > 1:
        assert (left_out & (chosen < chosen.max())).sum() < enough


def test_folds_to_leave_out__written_out():
    labels = torch.zeros(100, dtype=torch.int64)
    counts = [
        torch.bincount(folds_to_leave_out(labels, 5, enough, torch.Generator().manual_seed(0))).tolist()
        for enough in (1, 20, 21, 1000)
    ]
    assert counts == [[80, 20], [80, 20], [60, 20, 20], [0, 20, 20, 20, 20, 20]]


@given(counts=COUNTS, seed=st.integers(0, 99), data=st.data())
def test_balanced_weights__classes_count_the_same_and_sum_to_kish(counts, seed, data):
    labels = rows_of(counts, seed)
    usable = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(labels), max_size=len(labels))))
    weights = balanced_weights(labels, torch.tensor(counts), usable).numpy()
    assert (weights[~usable.numpy()] == 0).all()
    if not usable.any():
        return
    kept = usable.numpy()
    raw = 1 / np.array(counts)[labels.numpy()[kept]]
    assert weights.sum() == pytest.approx(raw.sum() ** 2 / (raw**2).sum())
    assert weights[kept] / weights[kept][0] == pytest.approx(raw / raw[0])


def test_balanced_weights__written_out():
    # Weights 1/4 four times and 1 once: Kish (1 + 1)^2 / (4/16 + 1) = 3.2, shared half and half.
    weights = balanced_weights(torch.tensor([0, 0, 0, 0, 1]), torch.tensor([4, 1]), torch.ones(5, dtype=torch.bool))
    assert weights.tolist() == pytest.approx([0.4, 0.4, 0.4, 0.4, 1.6])


def test_balanced_weights__of_classes_that_count_twice():
    # Weights 2/4 four times and 1 once: Kish (2 + 1)^2 / (4 * 0.25 + 1) = 4.5, shared two to one.
    usable = torch.ones(5, dtype=torch.bool)
    shares = torch.tensor([2.0, 1.0], dtype=torch.float64)
    weights = balanced_weights(torch.tensor([0, 0, 0, 0, 1]), torch.tensor([4, 1]), usable, shares)
    assert weights.tolist() == pytest.approx([0.75, 0.75, 0.75, 0.75, 1.5])


@pytest.mark.parametrize(
    ("counts", "many"),
    [([3, 2, 1], 0), ([3, 2, 0], 1), ([4, 4, 4, 4, 0, 0], 1), ([2] * 12 + [0] * 6, 4), ([5, 0, 0], 0), ([0, 0, 0], 0)],
)
def test_classes_to_leave_out__as_large_a_share_of_the_labelled_classes_as_has_no_label(counts, many):
    counts = torch.tensor(counts)
    left_out = classes_to_leave_out(counts, 5, torch.Generator().manual_seed(0))
    assert left_out.shape == (5, len(counts))
    assert left_out.sum(1).tolist() == [many] * 5
    assert not left_out[:, counts == 0].any()
    times = left_out.sum(0)[counts > 0]
    assert not len(times) or int(times.max() - times.min()) <= 1


def test_grouped_folds__keep_groups_whole_and_classes_spread():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 4
    groups = torch.arange(120) // 6 + 100  # twenty groups, three rows of two classes or so in each
    folds = grouped_folds(labels, groups, 5, generator)
    for group in groups.unique():
        assert len(folds[groups == group].unique()) == 1
    counts = torch.stack([torch.bincount(labels[folds == fold], minlength=4) for fold in range(5)])
    assert int(counts.min()) >= 4
    assert int(counts.max()) <= 8


def test_grouped_folds__of_fewer_groups_than_folds():
    folds = grouped_folds(torch.tensor([0, 1, 0, 1]), torch.tensor([7, 7, 9, 9]), 5, torch.Generator().manual_seed(0))
    assert sorted(folds.tolist()) == [0, 0, 1, 1]
    left_out = folds_to_leave_out(
        torch.tensor([0, 1, 0, 1]), 5, 1000, torch.Generator().manual_seed(0), torch.tensor([7, 7, 9, 9])
    )
    assert sorted(left_out.tolist()) == [1, 1, 2, 2]


def test_grouped_folds__groups_of_one_class_are_dealt_over_the_folds():
    labels, groups = torch.arange(40) // 10, torch.arange(40) // 2
    folds = grouped_folds(labels, groups, 5, torch.Generator().manual_seed(0))
    counts = torch.stack([torch.bincount(labels[folds == fold], minlength=4) for fold in range(5)])
    assert counts.tolist() == [[2, 2, 2, 2]] * 5
