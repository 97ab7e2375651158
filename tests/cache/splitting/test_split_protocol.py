"""The ranges of a protocol's values, and what contradicts what."""

import pytest

from ulfine_cache.errors import UsageError
from ulfine_cache.splitting.split_protocol import SplitProtocol


@pytest.mark.parametrize(
    "values",
    [
        {"labelled_max": 0},
        {"test_per_class": 0},
        {"imbalance": 0.99},
        {"imbalance": float("inf")},
        {"unlabelled_imbalance": 0.99},
        {"labelled_fraction": 0.0},
        {"labelled_fraction": 1.0},
        {"labelled_fraction": 1.5},
        {"unlabelled_max": -1},
        {"seed": -1},
    ],
)
def test_split_protocol__refuses(values):
    ((name, value),) = values.items()
    with pytest.raises(UsageError, match=rf"{name}={value} cannot be used"):
        SplitProtocol.checked(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"labelled_max": 1, "imbalance": 1.0, "test_per_class": 1},
        {"unlabelled_max": 0, "unlabelled_imbalance": 1.0, "seed": 0},
        {"labelled_fraction": 1e-6},
        {"labelled_fraction": 0.999},
    ],
)
def test_split_protocol__takes_the_ends_of_its_ranges(values):
    protocol = SplitProtocol.checked(**values)
    assert {name: getattr(protocol, name) for name in values} == values
