"""Layers of 8-bit integers against the same ones in fp32."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from ulfine_cache.encoders.int8_layers import Int8Convolution, Int8Linear, is_plain


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def near(found, expected):
    """Whether rounding to 127 steps explains the difference, with a sum of many of them."""
    return float((found - expected).abs().max()) < 0.03 * float(expected.abs().max())


def test_int8_linear__is_what_its_formula_says(generator):
    weight, bias = torch.randn(24, 40, generator=generator), torch.randn(24, generator=generator)
    rows = torch.randn(3, 7, 40, generator=generator)
    found = Int8Linear(weight, bias)(rows)
    scale, sizes = weight.abs().amax(1) / 127, rows.abs().amax(2, keepdim=True) / 127
    whole = (rows / sizes).round() @ (weight / scale[:, None]).round().T
    torch.testing.assert_close(found, whole * scale * sizes + bias, atol=1e-4, rtol=1e-5)
    assert near(found, functional.linear(rows, weight, bias))


def test_int8_linear__a_row_depends_on_itself_alone(generator):
    layer = Int8Linear(torch.randn(16, 48, generator=generator), None)
    rows = torch.randn(700, 48, generator=generator)
    rows[5] *= 1000
    whole = layer(rows)
    assert torch.equal(whole, torch.cat([layer(row[None]) for row in rows]))
    assert torch.equal(whole[:300], layer(rows[:300]))


def test_int8_linear__shifted_rows_have_a_bit_more(generator):
    weight, bias = torch.randn(24, 400, generator=generator), torch.randn(24, generator=generator)
    rows = torch.rand(50, 400, generator=generator)
    expected = functional.linear(rows, weight, bias)
    errors = [
        (Int8Linear(weight, bias, shifted=shifted)(rows) - expected).square().mean().sqrt() for shifted in (True, False)
    ]
    rounded = Int8Linear(weight, bias).scale[:, None] * (weight / Int8Linear(weight, bias).scale[:, None]).round()
    of_weights = (functional.linear(rows, rounded, bias) - expected).square().mean()
    assert errors[0] < errors[1]
    # Half the step: a quarter of the noise that is not that of the weights.
    assert (errors[0] ** 2 - of_weights) < 0.5 * (errors[1] ** 2 - of_weights)


def test_int8_linear__zeros_and_what_is_no_number(generator):
    layer = Int8Linear(torch.randn(16, 32, generator=generator), torch.ones(16))
    rows = torch.randn(4, 32, generator=generator)
    rows[1], rows[2, 3] = 0, torch.nan
    found = layer(rows)
    assert (found[1] == 1).all()
    assert found[2].isnan().all()
    assert found[[0, 3]].isfinite().all()
    spoilt = torch.randn(16, 32, generator=generator)
    spoilt[4, 0] = torch.inf
    assert Int8Linear(spoilt, None)(rows[:1]).isnan().nonzero()[:, 1].tolist() == [4]


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1},
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": 4, "stride": 4},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (3, 5), "stride": (2, 1), "padding": (0, 2), "bias": False},
        {"kernel_size": 1, "padding": 1},
    ],
)
def test_int8_convolution__is_a_convolution(options, generator):
    layer = nn.Conv2d(16, 20, **options)
    assert is_plain(layer)
    pixels = torch.randn(2, 16, 14, 17, generator=generator)
    with torch.no_grad():
        expected = layer(pixels)
    found = Int8Convolution(layer)(pixels)
    assert found.shape == expected.shape
    assert near(found, expected)


def test_is_plain__what_is_left_to_fp32():
    for options in ({"groups": 2}, {"dilation": 2}, {"padding": "same"}, {"padding_mode": "reflect", "padding": 1}):
        assert not is_plain(nn.Conv2d(16, 16, 3, **options))
    assert not is_plain(nn.Linear(16, 16))
