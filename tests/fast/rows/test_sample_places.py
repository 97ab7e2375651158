"""Evenly spaced places."""

import numpy as np
import pytest

from ulfine_fast.rows.sample_places import sample_places


@pytest.mark.parametrize(("n_rows", "limit"), [(0, 5), (1, 5), (5, 5), (7, 5), (1000, 16), (99_999, 512)])
def test_sample_places__rising_with_both_ends_and_equal_gaps(n_rows, limit):
    places = sample_places(n_rows, limit)
    assert places.dtype == np.int64
    assert len(places) == min(n_rows, limit)
    if n_rows > 1:
        assert (places[0], places[-1]) == (0, n_rows - 1)
        gaps = np.diff(places)
        assert gaps.min() >= 1
        assert gaps.max() - gaps.min() <= 1
