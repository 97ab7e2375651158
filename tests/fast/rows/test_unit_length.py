"""What comes out has length 1, and what cannot is named."""

import numpy as np
import pytest
import torch

from ulfine_cache.errors import UlfineError
from ulfine_fast.rows.unit_length import unit_length


def test_unit_length__of_rows_of_any_length():
    found = unit_length(np.array([[3.0, 4.0], [-1e-3, 0.0], [0.0, 2e17]]), "features", "here")
    assert found.dtype == torch.float32
    assert found.numpy() == pytest.approx(np.array([[0.6, 0.8], [-1.0, 0.0], [0.0, 1.0]]))


@pytest.mark.parametrize("row", [[0.0, 0.0], [1e-12, 0.0], [1e19, 0.0]])
def test_unit_length__what_has_no_direction_is_refused(row):
    with pytest.raises(
        UlfineError, match=r"^features of here have a length outside 1e-10 to 1e\+18 in 1 row, first in row 1 "
    ):
        unit_length(np.array([[3.0, 4.0], row]), "features", "here")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_unit_length__one_value_that_is_no_number_spoils_its_row(value):
    features = np.ones((5, 3))
    features[2, 1] = features[4, 0] = value
    with pytest.raises(UlfineError, match=r"^features of here hold NaN or infinite values in 2 rows, first in row 2:"):
        unit_length(features, "features", "here")
    with pytest.raises(UlfineError, match="first in row 12:"):
        unit_length(features, "features", "here", numbers=np.arange(10, 15))
