import pytest
import torch

from ulfine_fast.method import FitResult
from ulfine_fast.models.affine_model import AffineModel
from ulfine_fast.seeds import in_turns, one_by_one

MODEL = AffineModel.of(torch.zeros(2, 3), torch.zeros(2))


class Told:
    """Keeps what a fit and its turns report."""

    def __init__(self):
        self.stages = []

    def update(self, stage, done, total, **figures):
        self.stages.append((stage, done, total))

    def note(self, message): ...


@pytest.mark.parametrize("interrupted", [None, 0, 1])
def test_in_turns__at_most_two_at_once(interrupted):
    """Five seeds; Ctrl-C in the turn of this number."""
    turns, told = [], Told()

    def fit(seeds, progress):
        at = 3 if len(turns) == interrupted else None
        turns.append(list(seeds))
        progress.update("training", 1, 1)
        return [FitResult(MODEL, diagnostics={"seed": seed}, interrupted_at=at) for seed in seeds]

    results = in_turns(fit, range(5, 10), told, at_once=2)
    expected = {None: ([5, 6, 7, 8, 9], None), 0: ([5, 6], 3), 1: ([5, 6], 3)}[interrupted]
    assert ([result.diagnostics["seed"] for result in results], results[0].interrupted_at) == expected
    assert turns == [[5, 6], [7, 8], [9]][: None if interrupted is None else interrupted + 1]
    # The live line shows the seeds that are done: the steps of each would only flicker.
    assert told.stages == [("training seeds", done, 5) for done in (2, 4, 5)][: {None: 3, 0: 1, 1: 1}[interrupted]]


@pytest.mark.parametrize("seeds", [[4], [4, 7, 2]])
def test_one_by_one__each_seed_alone_and_in_order(seeds):
    told = Told()

    def fit(data, settings, seed, progress):
        progress.update("training", 1, 1)
        return FitResult(MODEL, diagnostics={"seed": seed, "data": data, "settings": settings})

    results = one_by_one(fit)("rows", "settings", seeds, told)
    assert [result.diagnostics for result in results] == [
        {"seed": seed, "data": "rows", "settings": "settings"} for seed in seeds
    ]
    several = [("training seeds", done, 3) for done in (1, 2, 3)]
    assert told.stages == ([("training", 1, 1)] if len(seeds) == 1 else several)
