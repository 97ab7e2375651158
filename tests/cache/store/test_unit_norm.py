import numpy as np
import pytest

from ulfine_cache.store.unit_norm import LONGEST, SHORTEST, objection, unit_norm, without_direction


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


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_without_direction__by_length(dtype):
    largest = float(np.finfo(dtype).max)
    rows = {(0, 0): True, (1, 0): False, (-3, 4): False, (np.nan, 1): True, (np.inf, 1): True, (1, -np.inf): True}
    if dtype != np.float16:
        rows |= {(SHORTEST / 2, 0): True, (2 * SHORTEST, 0): False, (LONGEST / 2, 0): False, (2 * LONGEST, 1): True}
        rows |= {(largest, largest): True, (1e-30, -1e-30): True}
    else:
        rows |= {(largest, largest): False, (6e-8, 0): False}
    found = without_direction(np.array(list(rows), dtype=dtype))
    assert dict(zip(rows, found.tolist(), strict=True)) == rows


@pytest.mark.parametrize("length", [1.01 * SHORTEST, 1e-6, 1.0, 0.99 * LONGEST])
@pytest.mark.parametrize("width", [1, 512])
def test_without_direction__what_is_let_through_is_the_same_in_float32_and_in_torch(length, width):
    """What the rule is for: torch divides by at least 1e-12, and squares of float32 overflow and vanish."""
    torch = pytest.importorskip("torch")
    exact = np.random.default_rng(0).normal(size=(20, width))
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    rows = (length * exact).astype(np.float32)
    assert not without_direction(rows).any()
    assert unit_norm(rows) == pytest.approx(exact, abs=1e-6)
    assert torch.nn.functional.normalize(torch.as_tensor(rows), dim=-1).numpy() == pytest.approx(exact, abs=1e-6)


def test_objection__names_the_first_row_and_what_is_wrong():
    rows = np.ones((4, 3, 2))
    assert objection(rows, "the rows") == ""
    assert objection(rows[:0], "the rows") == ""
    rows[2, 1] = 0
    assert "1e+18 in 1 row, first in row 2 (length 0)" in objection(rows, "the rows")
    rows[3, 0] = 1e30
    assert "in 2 rows, first in row 42 (length 0)" in objection(rows, "the rows", np.array([40, 41, 42, 43]))
    rows[3, 0] = np.nan
    assert objection(rows, "the rows") == (
        "the rows hold NaN or infinite values in 2 rows, first in row 2: compute them again"
    )
