"""Ctrl-C while `ulfine` runs its rounds: the state so far becomes the model. And what it reports while it runs."""

import signal

import numpy as np
import pytest
import torch

from ulfine_cache.progress import Silent
from ulfine_fast.closed_form.em_rounds import EveryRow, refine
from ulfine_fast.closed_form.paf import fit_prototypes, labelled_moments
from ulfine_fast.interruption import Interruption
from ulfine_fast.method import FitResult
from ulfine_fast.registry import get_method
from ulfine_fast.rows.training_data import TrainingData, make_training_data
from ulfine_fast.training import train

METHOD = get_method("ulfine")


@pytest.fixture
def interruptible():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Watcher:
    """Keeps the figures of the live line; presses Ctrl-C when told that a number of units are done."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.figures = stop, []

    def update(self, stage: str, done: int, total: int | None, **figures: float) -> None:
        self.figures.append(figures)
        if done == self.stop:
            signal.raise_signal(signal.SIGINT)

    def note(self, message: str) -> None: ...


def data(n_unlabelled: int = 300) -> TrainingData:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(3, 8))
    labels = np.repeat(np.arange(3), (12, 6, 3))
    truth = generator.integers(0, 3, n_unlabelled)
    draw = [centres[classes] + 1.2 * generator.normal(size=(len(classes), 8)) for classes in (labels, truth)]
    return make_training_data(
        features=draw[0], labels=labels, unlabelled=draw[1], text=None, class_names=("a", "b", "c")
    )


def fit(rows: TrainingData, progress: Silent | Watcher, *, keep: bool = True, **settings: object) -> FitResult:
    return train(METHOD, METHOD.settings.model_validate(settings), rows, 0, progress, keep_interrupted=keep)


def test_ctrl_c__the_state_of_the_last_round_is_the_model(interruptible):
    rows = data(60)  # all of them in every round
    interrupted = fit(rows, Watcher(stop=4))  # the labelled stage and three rounds
    assert interrupted.interrupted_at == 3
    whole = fit(rows, Silent(), rounds=3)
    assert whole.interrupted_at is None
    for name, values in whole.model.state_dict().items():
        assert torch.equal(interrupted.model.state_dict()[name], values)
    longer = fit(rows, Silent())
    assert not torch.equal(interrupted.model.state_dict()["prototypes"], longer.model.state_dict()["prototypes"])


def test_ctrl_c__without_a_wish_for_half_a_fit_ends_the_program(interruptible):
    with pytest.raises(KeyboardInterrupt):
        fit(data(60), Watcher(stop=3), keep=False)


def test_ctrl_c__in_the_pass_over_all_rows_leaves_the_rounds_on_the_sample():
    rows, interruption, classified = data(500), Interruption(), []
    labelled = labelled_moments(rows.features, rows.labels, 3, torch.ones(1, len(rows.labels), dtype=torch.bool))
    every, fitted = rows.all_unlabelled, []

    def classify(prototypes):
        classified.append(prototypes)
        interruption.requested = len(classified) == 4  # three rounds, then all rows
        return prototypes.weight, prototypes.bias

    def fit_again(moments):
        fitted.append(fit_prototypes(None, moments, pseudo_count=3.0, anchor_ridge=10.0, shrinkage=0.5))
        return fitted[-1]

    settings = {"share": 0.25, "rounds": 3, "report": lambda *_: None}
    refined = refine(
        every[::5],
        EveryRow(every),
        labelled,
        fit_again(labelled),
        classify=classify,
        fit=fit_again,
        **settings,
        interruption=interruption,
    )
    assert len(refined.history) == 3
    assert len(fitted) == 4  # labelled rows and three rounds
    assert refined.prototypes is fitted[-1]


def test_history__is_what_the_live_line_says():
    watcher = Watcher()
    result = fit(data(), watcher)
    *rounds, last = watcher.figures
    assert set(rounds[0]) == {"loss"}
    assert all(set(figures) == {"confidence", "prior_min", "prior_max"} for figures in rounds[1:])
    assert set(last) == {"loss", "prior_min", "prior_max"}
    assert [{k: v for k, v in entry.items() if k != "round"} for entry in result.history] == watcher.figures
    assert [entry["round"] for entry in result.history[:-1]] == list(range(len(rounds)))
    prior = result.diagnostics["unlabelled_prior"].values()
    assert (last["prior_min"], last["prior_max"]) == pytest.approx((min(prior), max(prior)))
    assert sum(prior) == pytest.approx(1, abs=1e-5)
