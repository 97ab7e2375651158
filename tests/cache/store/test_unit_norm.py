import numpy as np
import pytest

from ulfine_cache.store.unit_norm import unit_norm


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 7), (5, 3, 7)])
def test_unit_norm__of_the_last_axis(shape, dtype):
    rows = np.random.default_rng(0).normal(size=shape).astype(dtype)
    before = rows.copy()
    found = unit_norm(rows)
    assert found.dtype == dtype
    assert np.array_equal(rows, before)
    assert (found**2).sum(-1) == pytest.approx(np.ones(shape[:-1]), abs=1e-6)
    assert (found * rows).sum(-1) ** 2 == pytest.approx((rows**2).sum(-1), rel=1e-5)
