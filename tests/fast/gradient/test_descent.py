"""The loop of gradient steps, interrupted and not."""

import signal

import pytest
import torch

from ulfine_cache.progress import Silent
from ulfine_fast.gradient.descent import descend


class Heard(Silent):
    def __init__(self):
        self.heard = []

    def update(self, stage, done, total, **figures):
        self.heard.append((done, total, figures))


def test_descend__records_every_twentieth_step_and_the_last():
    progress = Heard()
    descent = descend(lambda step: {"loss": torch.tensor([step, 2.0 * step])}, steps=45, n_seeds=2, progress=progress)
    assert descent.interrupted_at is None
    assert descent.histories[1] == [{"step": step, "loss": 2.0 * step} for step in (20.0, 40.0, 45.0)]
    assert progress.heard[-1] == (45, 45, {"loss": 67.5})


@pytest.mark.skipif(signal.getsignal(signal.SIGINT) is signal.SIG_IGN, reason="Ctrl-C is ignored here")
def test_descend__ctrl_c_ends_it_after_the_step():
    def step(number):
        if number == 7:
            signal.raise_signal(signal.SIGINT)
        return {"loss": torch.tensor(float(number))}

    descent = descend(step, steps=45, n_seeds=1, progress=Silent())
    assert descent.interrupted_at == 7
    assert descent.histories == [[{"step": 7.0, "loss": 7.0}]]


def test_descend__a_check_may_end_it():
    descent = descend(
        lambda step: {"loss": torch.tensor(1.0)},
        steps=200,
        n_seeds=1,
        progress=Silent(),
        check=lambda step: ({"more": torch.tensor([float(step)])}, step >= 60),
    )
    assert [entry["more"] for entry in descent.histories[0]] == [20.0, 40.0, 60.0]
    assert descent.interrupted_at is None
