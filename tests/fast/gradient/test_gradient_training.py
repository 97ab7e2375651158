"""Training by gradient side by side: several seeds, left-out folds, early stopping."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from ulfine_cache.progress import Silent
from ulfine_fast.gradient.early_stopping import EarlyStopping
from ulfine_fast.gradient.pseudo_labels import masked_cross_entropy
from ulfine_fast.gradient.side_by_side import Axes, stack_models, whole_states
from ulfine_fast.priors.logit_adjustment import log_prior, logit_adjusted_cross_entropy
from ulfine_fast.registry import get_method
from ulfine_fast.rows.folds import balanced_weights
from ulfine_fast.rows.training_data import make_training_data
from ulfine_fast.training import train, train_seeds

SEEDS = (3, 4, 9)


@pytest.fixture(scope="module")
def data():
    """Four noisy classes of 20, 12, 6 and 3 labelled rows, with text, and 60 unlabelled rows."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(4, 16))
    labels, others = np.repeat(np.arange(4), (20, 12, 6, 3)), generator.integers(4, size=60)
    return make_training_data(
        features=centres[labels] + 1.5 * generator.normal(size=(len(labels), 16)),
        labels=labels,
        unlabelled=centres[others] + 1.5 * generator.normal(size=(60, 16)),
        text=centres + generator.normal(size=(4, 16)),
        class_names=("a", "b", "c", "d"),
    )


@pytest.mark.parametrize("batch_size", [512, 16])
@pytest.mark.parametrize("name", ["lp", "lp-la", "lft", "lift", "fixmatch", "ulfine-paper"])
def test_fit_seeds__the_same_as_each_seed_alone(data, name, batch_size):
    method = get_method(name)
    settings = method.settings(steps=40, batch_size=batch_size)
    together = train_seeds(method, settings, data, SEEDS, Silent())
    for seed, result in zip(SEEDS, together, strict=True):
        alone = train(method, settings, data, seed, Silent())
        torch.testing.assert_close(result.model.state_dict(), alone.model.state_dict(), atol=1e-3, rtol=1e-2)
        assert result.model.architecture() == alone.model.architecture()
        assert result.diagnostics.keys() == alone.diagnostics.keys()
        for figure, expected in alone.diagnostics.items():
            assert result.diagnostics[figure] == pytest.approx(expected, abs=1e-3)
        for entry, expected in zip(result.history, alone.history, strict=True):
            assert entry == pytest.approx(expected, abs=1e-3)
    if batch_size < len(data.labels):
        weights = [result.model.weight for result in together]
        assert not torch.allclose(weights[0], weights[1], atol=1e-3)


def test_fit_seeds__same_seeds_same_bits(data):
    method = get_method("fixmatch")
    first, second = (
        train_seeds(method, method.settings(steps=20, batch_size=16), data, SEEDS, Silent()) for _ in range(2)
    )
    for one, other in zip(first, second, strict=True):
        assert one.history == other.history
        assert all(torch.equal(one.model.state_dict()[name], value) for name, value in other.model.state_dict().items())


def test_stack_models__each_computes_what_it_did_alone(data):
    method = get_method("lift")
    models = [train(method, method.settings(steps=3), data, seed, Silent()).model for seed in range(6)]
    axes = Axes(2, 3)
    stacked = stack_models(models, axes)
    logits = stacked.logits(data.features)
    assert logits.shape == (2, 3, len(data.labels), 4)
    for place, model in enumerate(models):
        torch.testing.assert_close(logits.flatten(0, 1)[place], model.logits(data.features), atol=1e-4, rtol=1e-4)
    for seed, state in enumerate(whole_states(stacked.state_dict(), axes)):
        expected = models[3 * seed].state_dict()
        assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_losses__of_models_side_by_side_are_those_of_each():
    generator = torch.Generator().manual_seed(0)
    logits, prior = torch.randn(2, 3, 7, 4, generator=generator), torch.randn(2, 3, 1, 4, generator=generator)
    labels = torch.randint(4, (2, 3, 7), generator=generator)
    counts = torch.rand(2, 3, 7, generator=generator) > 0.4
    weighted = logit_adjusted_cross_entropy(logits, labels, prior, 0.5, counts.float())
    plain, masked = (
        logit_adjusted_cross_entropy(logits, labels, prior, 0.5),
        masked_cross_entropy(logits, labels, counts),
    )
    for place in np.ndindex(2, 3):
        alone = logit_adjusted_cross_entropy(logits[place], labels[place], prior[place][0], 0.5)
        torch.testing.assert_close(plain[place], alone)
        of_some = logits[place][counts[place]], labels[place][counts[place]]
        torch.testing.assert_close(weighted[place], logit_adjusted_cross_entropy(*of_some, prior[place][0], 0.5))
        torch.testing.assert_close(masked[place], masked_cross_entropy(logits[place], labels[place], counts[place]))


def test_early_stopping__keeps_the_step_of_the_lowest_left_out_loss(data):
    """A long, fast training of an adapter overfits 41 rows; the kept weights are those of the step that is told."""
    method = get_method("lift")
    settings = method.settings(steps=400, learning_rate=3e-3, early_stopping=True)
    result = train(method, settings, data, 0, Silent())
    losses = {entry["step"]: entry["left_out_loss"] for entry in result.history}
    best = result.diagnostics["steps"]
    assert 0 <= best < 400
    assert result.diagnostics["left_out_loss"] <= min(losses.values())
    assert max(losses) <= best + 120
    # The schedule is that of all steps, so that a training without early stopping passes the same weights.
    seen = {}
    plain = method.settings(steps=400, learning_rate=3e-3)
    train(method, plain, data, 0, Recorder(seen))
    assert losses.keys() <= seen.keys()
    for step in losses:
        assert seen[step] == pytest.approx(next(e["loss"] for e in result.history if e["step"] == step), abs=1e-3)


class Recorder(Silent):
    def __init__(self, seen):
        self.seen = seen

    def update(self, stage, done, total, **figures):
        self.seen[done] = figures["loss"]


def test_early_stopping__left_out_rows_are_judged_by_models_that_never_saw_them(data):
    stopping = EarlyStopping(data, [5], 3)
    assert stopping.axes == Axes(1, 4)
    assert stopping.keep[0, 0].all()
    assert (stopping.keep[0, 1:].sum(0) == 2).all()  # each row is left out once
    logits = torch.randn(4, len(data.labels), 4, generator=torch.Generator().manual_seed(0))
    loss, enough = stopping.look(0, logits, lambda: ["start"])
    left_out_by = (~stopping.keep[0]).float().argmax(0)
    judged = logits[left_out_by, torch.arange(len(data.labels))]
    weights = balanced_weights(data.labels, data.labelled_counts, torch.ones_like(data.labels, dtype=torch.bool))
    expected = (weights * cross_entropy(judged.double(), data.labels, reduction="none")).sum() / weights.sum()
    assert loss.item() == pytest.approx(expected.item())
    assert not enough
    assert stopping.look(101, logits + 5 * torch.randn(logits.shape), lambda: ["later"])[1]
    assert (stopping.best_step, stopping.kept) == ([0], {0: "start"})


def test_early_stopping__waits_a_hundred_steps_for_a_lower_loss(data):
    """A training may stand still for a while and go on: only a hundred steps (five records) without gain end it."""
    stopping = EarlyStopping(data, [0], 3)
    truth = torch.nn.functional.one_hot(data.labels, 4).float().expand(4, -1, -1)
    best, worse = 2 * truth, truth
    assert not stopping.look(0, worse, lambda: ["start"])[1]
    assert not stopping.look(99, worse, lambda: ["stands still"])[1]
    assert not stopping.look(99, best, lambda: ["best"])[1]
    assert stopping.best_step == [99]
    assert not stopping.look(198, worse, lambda: ["worse"])[1]
    assert stopping.look(199, worse, lambda: ["worse"])[1]
    assert (stopping.best_step, stopping.kept) == ([99], {0: "best"})


@pytest.mark.parametrize("name", ["lp-la", "ulfine-paper"])
def test_early_stopping__a_fold_trains_on_its_rows_alone(data, name):
    """The left-out loss is that of models trained without the rows, one after the other."""
    method = get_method(name)
    result = train(method, method.settings(steps=20, batch_size=512, early_stopping=True, folds=2), data, 1, Silent())
    stopping = EarlyStopping(data, [1], 2)
    logits = torch.zeros(3, len(data.labels), 4)
    for problem, keep in enumerate(stopping.keep[0]):
        part = dataclasses.replace(data, features=data.features[keep], labels=data.labels[keep])
        logits[problem] = train(method, method.settings(steps=20, batch_size=512), part, 1, Silent()).model.logits(
            data.features
        )
    loss, _ = stopping.look(20, logits, lambda: [None])
    assert result.history[-1]["left_out_loss"] == pytest.approx(loss.item(), abs=1e-3)


def test_early_stopping__nothing_to_leave_out():
    rows = normalize(torch.eye(3), dim=-1).numpy()
    single = make_training_data(
        features=rows, labels=np.arange(3), unlabelled=rows[:0], text=None, class_names=("a", "b", "c")
    )
    method, notes = get_method("lp"), []
    progress = Silent()
    progress.note = notes.append
    result = train(method, method.settings(steps=20, early_stopping=True), single, 0, progress)
    assert "all steps are taken" in notes[0]
    assert "steps" not in result.diagnostics


def test_log_prior__of_a_fold_counts_its_own_rows(data):
    keep = EarlyStopping(data, [0], 2).keep[0, 1]
    counts = torch.bincount(data.labels[keep], minlength=4)
    assert not torch.allclose(log_prior(counts), log_prior(data.labelled_counts))
