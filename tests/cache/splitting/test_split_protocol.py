"""The ranges of a protocol's values, and what contradicts what."""

import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.splitting.split_protocol import SplitProtocol, check_protocol, long_tailed_counts


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


COUNTED = {"labelled_max": 9, "imbalance": 3.0}
FRACTION = {"labelled_fraction": 0.1}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "labelled-max and imbalance, or labelled-fraction"),
        ({"labelled_max": 9}, "labelled-max and imbalance, or labelled-fraction"),
        ({"imbalance": 3.0}, "labelled-max and imbalance, or labelled-fraction"),
        (FRACTION | {"labelled_max": 9}, "leave out labelled-max and imbalance"),
        (FRACTION | {"imbalance": 3.0}, "leave out labelled-max and imbalance"),
        (FRACTION | {"ranks": "class-index"}, "leave out ranks"),
        (FRACTION | {"unlabelled_max": 5}, "leave out the unlabelled options"),
        (FRACTION | {"unlabelled_imbalance": 2.0}, "leave out the unlabelled options"),
        (FRACTION | {"unlabelled": "middle"}, "leave out the unlabelled options"),
        (FRACTION | {"unlabelled": "own", "unlabelled_max": 5}, "leave out unlabelled-max and -imbalance"),
        (COUNTED | {"unlabelled": "own", "unlabelled_imbalance": 2.0}, "leave out unlabelled-max and -imbalance"),
        (COUNTED | {"unlabelled": "uniform", "unlabelled_imbalance": 4.0}, "unlabelled-imbalance has no meaning"),
    ],
)
def test_check_protocol__names_what_contradicts(values, message):
    with pytest.raises(UsageError, match=message):
        check_protocol(SplitProtocol(**values))


@pytest.mark.parametrize("imbalance", [9.5, 10.0, 100.0])
def test_check_protocol__the_rarest_class_needs_a_row(imbalance):
    needed = {9.5: 10, 10.0: 10, 100.0: 100}[imbalance]
    with pytest.raises(UlfineError, match=f"imbalance {imbalance:g} leaves .*: use labelled-max {needed} or less"):
        check_protocol(SplitProtocol(labelled_max=9, imbalance=imbalance))


@pytest.mark.parametrize(
    "values",
    [
        {"labelled_max": 9, "imbalance": 9.0},
        {"labelled_max": 9, "imbalance": 5.0},
        FRACTION,
        FRACTION | {"unlabelled": "own"},
        COUNTED | {"unlabelled": "own"},
        COUNTED | {"unlabelled": "uniform", "unlabelled_imbalance": 1.0},
        COUNTED | {"unlabelled": "uniform", "unlabelled_max": 5},
        COUNTED | {"unlabelled": "middle", "unlabelled_imbalance": 4.0, "ranks": "class-index"},
    ],
)
def test_check_protocol__takes_what_agrees(values):
    check_protocol(SplitProtocol(**values))


def test_long_tailed_counts__of_one_class_and_of_two():
    assert long_tailed_counts(5, 2.0, 1) == [5]
    assert long_tailed_counts(5, 2.0, 2) == [5, 2]
