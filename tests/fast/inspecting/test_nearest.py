"""The nearest rows are those of a full comparison."""

import numpy as np
import torch

from tests.fast.inspecting.made import rows_of
from ulfine_fast.inspecting.nearest import nearest


def test_nearest__is_the_full_comparison_without_the_row_itself():
    rows, _ = rows_of([9, 9, 9])
    similarities, places = nearest(torch.as_tensor(rows), 4)
    full = rows @ rows.T
    np.fill_diagonal(full, -2)
    assert np.array_equal(places, np.argsort(-full, axis=1)[:, :4])
    assert np.allclose(similarities, -np.sort(-full, axis=1)[:, :4], atol=1e-5)


def test_nearest__equal_rows_find_each_other():
    rows = torch.nn.functional.normalize(torch.ones(3, 4), dim=1)
    _, places = nearest(rows, 2)
    assert [sorted(of) for of in places.tolist()] == [[1, 2], [0, 2], [0, 1]]


def test_nearest__fewer_rows_than_neighbours():
    _, places = nearest(torch.eye(2), 3)
    assert places.tolist() == [[1, -1, -1], [0, -1, -1]]


def test_nearest__compares_with_a_sample():
    rows, _ = rows_of([20, 20])
    _, places = nearest(torch.as_tensor(rows), 2, references=5)
    assert set(np.unique(places).tolist()) <= {0, 10, 20, 29, 39}
    assert (places != np.arange(40)[:, None]).all()
