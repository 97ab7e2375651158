"""Shares of encoders: the better one counts more, equal ones the same, and test rows play no part."""

import dataclasses

import pytest
import torch
from torch.nn.functional import normalize

from ulfine_fast.rows.encoder_shares import choose_encoder_shares, of_each_encoder
from ulfine_fast.rows.training_data import DescribedTrainingData, load_training_data


@pytest.fixture
def data(opened):
    return load_training_data(opened, opened.read_split("lt"))


def joined(data, noise, copies=2):
    """The data beside itself with noise on it."""
    generator = torch.Generator().manual_seed(0)

    def beside(rows):
        noisy = normalize(rows + noise * torch.randn(rows.shape, generator=generator) / 4, dim=-1)
        return torch.cat([rows, *[noisy] * (copies - 1)], dim=-1) / copies**0.5

    return DescribedTrainingData(
        features=beside(data.features),
        labels=data.labels,
        unlabelled=beside(data.unlabelled),
        text=beside(data.text),
        class_names=data.class_names,
        part_widths=(data.n_features,) * copies,
    )


def test_shares__equal_and_unequal(data):
    assert choose_encoder_shares(of_each_encoder(joined(data, 0.0)), 0) == pytest.approx([0.5, 0.5])
    assert choose_encoder_shares(of_each_encoder(joined(data, 0.0, 3)), 0) == pytest.approx([1 / 3] * 3)
    better, worse = choose_encoder_shares(of_each_encoder(joined(data, 3.0)), 0)
    assert better > 0.6
    assert better + worse == pytest.approx(1)


def test_each_encoder__sees_its_own_features(data):
    first, second = of_each_encoder(joined(data, 1.0))
    for name in ("features", "unlabelled", "text"):
        torch.testing.assert_close(getattr(first, name), getattr(data, name), atol=1e-6, rtol=1e-6)
    assert second.parts == ()
    assert of_each_encoder(data) == [data]


def test_shares__nothing_to_leave_out(data):
    one = dataclasses.replace(joined(data, 3.0), features=joined(data, 3.0).features[:1], labels=data.labels[:1])
    assert choose_encoder_shares(of_each_encoder(one), 0) == [0.5, 0.5]
