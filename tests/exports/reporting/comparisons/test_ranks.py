import numpy as np
import pytest

pytest.importorskip("scipy")

from ulfine_exports.reporting.comparisons.comparison import comparison_of
from ulfine_exports.reporting.comparisons.ranks import Ranks, mean_ranks


def comparison(**values):
    methods = [{"method": name, "macro_accuracy": {"mean": 0, "per_seed": each}} for name, each in values.items()]
    seeds = list(range(len(next(iter(values.values())))))
    return comparison_of({"split": "lt", "seeds": seeds, "methods": methods}, "c.json")["lt"]


def test_mean_ranks__by_hand():
    ranks = mean_ranks([comparison(a=[0.1, 0.2], b=[0.3, 0.2], c=[0.2, None]), comparison(a=[0.9, 0.9], b=[0.1, 0.9])])
    assert ranks.names == ["a", "b"]
    # Draws: b first, a tie, a first, a tie.
    assert ranks.means == [1.5, 1.5]
    assert ranks.blocks == 4


def test_mean_ranks__the_highest_accuracy_is_first():
    ranks = mean_ranks([comparison(low=[0.1, 0.1], high=[0.9, 0.2], middle=[0.5, 0.3])])
    assert dict(zip(ranks.names, ranks.means, strict=True)) == {"high": 1.5, "middle": 1.5, "low": 3.0}
    assert ranks.names[-1] == "low"


def test_critical_distance__is_that_of_the_paper():
    # Demsar 2006, section 3.2.5: 4 classifiers on 14 data sets, 5 %: 2.569 sqrt(4 * 5 / (6 * 14)) = 1.25.
    values = np.random.default_rng(0).random((4, 14))
    ranks = mean_ranks([comparison(**dict(zip("abcd", values.tolist(), strict=True)))])
    assert ranks.distance == pytest.approx(1.25, abs=0.005)


@pytest.mark.parametrize(
    ("means", "distance", "groups"),
    [([1, 2, 3, 4], 1.5, [(0, 1), (1, 2), (2, 3)]), ([1, 1.2, 3], 5, [(0, 2)]), ([1, 3], 1, [])],
)
def test_groups(means, distance, groups):
    assert Ranks([str(mean) for mean in means], means, distance, 9).groups() == groups


def test_too_few():
    assert mean_ranks([comparison(a=[0.1, 0.2])]) is None
    assert mean_ranks([comparison(a=[0.1], b=[0.2])]) is None
