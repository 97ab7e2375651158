"""The settings as docs/method.md states them, and the ends of their ranges."""

import pytest

from ulfine_cache.errors import UsageError
from ulfine_fast.closed_form.ulfine_settings import UlfineSettings


def test_ulfine_settings__defaults_are_those_that_every_published_figure_of_the_method_was_made_with():
    """docs/method.md: five folds, eight rounds at most, temperature 0.5; the ablation's variants surround the rest."""
    assert UlfineSettings().model_dump() == {
        "adapter": True,
        "shrinkage": None,
        "paf": True,
        "pseudo_count": 3.0,
        "anchor_ridge": 1.0,
        "dlf": True,
        "probe_penalty": 12.0,
        "logit_adjustment": True,
        "tau": 2.0,
        "unlabelled": True,
        "unlabelled_weight": 0.25,
        "pseudo_label_temperature": 0.5,
        "rounds": 8,
        "folds": 5,
    }


@pytest.mark.parametrize(
    ("name", "least", "too_little"),
    [
        ("shrinkage", 1e-9, 0.0),
        ("pseudo_count", 1e-9, 0.0),
        ("anchor_ridge", 0.0, -1e-9),
        ("probe_penalty", 0.0, -1e-9),
        ("tau", 0.0, -1e-9),
        ("unlabelled_weight", 0.0, -1e-9),
        ("pseudo_label_temperature", 1e-9, 0.0),
        ("rounds", 1, 0),
        ("folds", 2, 1),
    ],
)
def test_ulfine_settings__least_values(name, least, too_little):
    assert getattr(UlfineSettings.checked(**{name: least}), name) == least
    with pytest.raises(UsageError, match=f"{name}=.* cannot be used"):
        UlfineSettings.checked(**{name: too_little})


@pytest.mark.parametrize("name", ["shrinkage", "unlabelled_weight"])
def test_ulfine_settings__shares_end_at_one(name):
    assert getattr(UlfineSettings.checked(**{name: 1.0}), name) == 1.0
    with pytest.raises(UsageError, match=rf"{name}=1\.001 cannot be used"):
        UlfineSettings.checked(**{name: 1.001})
