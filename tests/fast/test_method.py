from dataclasses import replace

import pytest
import torch

from ulfine_cache.progress import Silent
from ulfine_fast.registry import METHODS, get_method
from ulfine_fast.rows.training_data import load_training_data
from ulfine_fast.training import train

PARTS = ("adapter", "paf", "dlf", "logit_adjustment", "unlabelled")


@pytest.mark.parametrize("name", METHODS)
def test_switches__are_settings_that_are_on(name):
    method = get_method(name)
    defaults = method.settings()
    assert {switch: getattr(defaults, switch) for switch in method.switches} == dict.fromkeys(method.switches, True)
    ablations = method.ablations()
    assert list(ablations) == [None, *method.switches]
    assert method.settings(**ablations[None]) == defaults
    for switch in method.switches:
        expected = defaults.model_dump() | {switch: False}
        assert method.settings(**ablations[switch]).model_dump() == expected


def test_switches__of_the_two_methods_with_parts():
    assert set(get_method("ulfine").switches) == set(PARTS)
    assert set(get_method("ulfine-paper").switches) == {*PARTS, "orthogonality"}


@pytest.mark.parametrize("name", ["ulfine", "ulfine-paper"])
def test_ablations__every_part_matters(name, opened):
    data = load_training_data(opened, opened.read_split("lt"))
    method = get_method(name)
    logits = {
        switch: train(method, method.settings(**settings), data, 0, Silent()).model(data.features)
        for switch, settings in method.ablations().items()
    }
    whole = logits.pop(None)
    assert [switch for switch, ablated in logits.items() if torch.equal(ablated, whole)] == []


@pytest.mark.parametrize("name", METHODS)
def test_unlabelled__says_whether_the_fit_looks_at_the_unlabelled_rows(name, opened):
    data = load_training_data(opened, opened.read_split("lt"))
    assert len(data.unlabelled)
    method = get_method(name)
    fewer = replace(data, unlabelled=data.all_unlabelled[:0], strong_views=None)
    with_them, without = (train(method, method.settings(), rows, 0, Silent()).model for rows in (data, fewer))
    assert torch.equal(with_them(data.features), without(data.features)) != method.unlabelled
