"""Several seeds of `ulfine` side by side are those of each alone, up to the order of float sums."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from ulfine_cache.progress import Silent
from ulfine_fast.closed_form import fits
from ulfine_fast.closed_form.em_rounds import sample_size
from ulfine_fast.methods.ulfine import METHOD, UlfineConfig, seeds_at_once
from ulfine_fast.rows.training_data import make_training_data
from ulfine_fast.training import train, train_seeds

SEEDS = (0, 1, 5)


def task(n_unlabelled, text=True):
    """Five noisy classes of 20 down to 2 labelled rows in 16 dimensions."""
    generator = np.random.default_rng(3)
    centres = generator.normal(size=(5, 16))

    def draw(labels):
        return centres[labels] + 1.2 * generator.normal(size=(len(labels), 16))

    labels = np.repeat(np.arange(5), (20, 12, 7, 4, 2))
    return make_training_data(
        features=draw(labels),
        labels=labels,
        unlabelled=draw(generator.integers(5, size=n_unlabelled)),
        text=centres + generator.normal(size=centres.shape) if text else None,
        class_names=tuple("abcde"),
    )


def assert_equal(result, alone):
    torch.testing.assert_close(result.model.state_dict(), alone.model.state_dict(), atol=1e-3, rtol=1e-2)
    assert len(result.history) == len(alone.history)
    for entry, expected in zip(result.history, alone.history, strict=True):
        assert entry == pytest.approx(expected, abs=1e-3)
    assert result.diagnostics.keys() == alone.diagnostics.keys()
    for name, expected in alone.diagnostics.items():
        assert result.diagnostics[name] == pytest.approx(expected, abs=1e-3), name


@pytest.mark.parametrize("settings", [{}, {"dlf": False}, {"adapter": False}, {"unlabelled": False}, {"paf": False}])
@pytest.mark.parametrize("n_unlabelled", [0, 60, 600])
def test_fit_seeds__the_same_as_each_seed_alone(settings, n_unlabelled):
    data, config = task(n_unlabelled), UlfineConfig(**settings)
    assert sample_size(16, 5) in range(61, 600)  # the rounds of 600 rows run on samples, one for each seed
    together = train_seeds(METHOD, config, data, SEEDS, Silent())
    for seed, result in zip(SEEDS, together, strict=True):
        assert_equal(result, train(METHOD, config, data, seed, Silent()))
    weights = [tuple(result.diagnostics["fusion_weights"].values()) for result in together]
    assert weights[0] != weights[1]


def test_fit_seeds__without_text():
    data = task(60, text=False)
    for seed, result in zip(SEEDS, train_seeds(METHOD, UlfineConfig(), data, SEEDS, Silent()), strict=True):
        assert_equal(result, train(METHOD, UlfineConfig(), data, seed, Silent()))


def test_fit_seeds__rounds_of_a_seed_end_when_its_own_pseudo_labels_stand_still():
    data, config = task(60), UlfineConfig(rounds=60)
    together = train_seeds(METHOD, config, data, SEEDS, Silent())
    lengths = [len(result.history) for result in together]
    assert len(set(lengths)) > 1
    assert lengths == [len(train(METHOD, config, data, seed, Silent()).history) for seed in SEEDS]


def test_fit_seeds__each_seed_has_its_own_adapter_and_use_of_unlabelled_rows(monkeypatch):
    """Left-out rows answer both questions for each seed; here the answers are given."""
    data, answers = task(60), {0: (False, False), 1: (True, False), 5: (False, True)}

    def with_answers(seeds):
        # First all seeds are asked about the adapter, then all about the unlabelled rows.
        queue = [answers[seed][question] for question in (0, 1) for seed in seeds]
        monkeypatch.setattr(fits, "_clearly_lower", lambda *arguments: queue.pop(0))
        results = train_seeds(METHOD, UlfineConfig(), data, seeds, Silent())
        assert not queue
        return results

    together = with_answers(SEEDS)
    for seed, result in zip(SEEDS, together, strict=True):
        assert_equal(result, with_answers([seed])[0])
    assert [result.diagnostics["unlabelled_used"] for result in together] == [True, True, False]
    assert [result.diagnostics["shrinkage"] == 1.0 for result in together] == [False, True, False]


def test_seeds_at_once__as_many_as_memory_holds():
    data = task(600)
    assert seeds_at_once(data, UlfineConfig()) > 100
    rows = normalize(torch.ones(1, 2048), dim=-1)
    wide = replace(data, features=rows, labels=data.labels[:1], unlabelled=rows, text=None)
    assert 1 <= seeds_at_once(wide, UlfineConfig()) < 10
    method = replace(METHOD, seeds_at_once=lambda data, config: 2)
    in_turns = train_seeds(method, UlfineConfig(), data, SEEDS, Silent())
    for result, other in zip(in_turns, train_seeds(METHOD, UlfineConfig(), data, SEEDS, Silent()), strict=True):
        assert_equal(result, other)
