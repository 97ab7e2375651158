"""What a method is: the one interface between the harness and the mathematics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ulfine_cache.config import StrictConfig
from ulfine_cache.progress import Progress

if TYPE_CHECKING:
    from ulfine_fast.models.logit_model import LogitModel
    from ulfine_fast.rows.left_out import LeftOut
    from ulfine_fast.rows.training_data import TrainingData


@dataclass(frozen=True)
class FitResult:
    """What a method hands back.

    Attributes:
        model: The fitted model, in evaluation mode, on whatever device it was trained.
        history: One entry per recorded step or round, such as ``{"step": 10, "loss": 0.4}``. Entries may hold different
            figures. Empty for closed forms without rounds.
        diagnostics: JSON-able facts about the fit (chosen weights, estimated priors). They must come from the
            `TrainingData` alone.
        interrupted_at: The step or round after which `ulfine_fast.interruption.first_interrupt_noted` ended the fit;
            None for a whole one. The model is then the best that there was.
        left_out: What the fit says of labelled rows that it left out; None for methods that leave none out.
    """

    model: LogitModel
    history: list[dict[str, float]] = field(default_factory=list)
    diagnostics: dict[str, Any] = field(default_factory=dict)
    interrupted_at: int | None = None
    left_out: LeftOut | None = None


def uniform_prior(settings: Any) -> float:
    """Of methods whose logits answer for a uniform class prior: they balance the classes, or know no frequencies."""
    return 0.0


def labelled_prior(settings: Any) -> float:
    """Of methods whose logits answer for the class frequencies of the labelled rows."""
    return 1.0


def unadjusted_prior(settings: Any) -> float:
    """Of methods with a setting `tau`: what the adjusted cross-entropy `CE(z + tau log pi, y)` leaves in `z`.

    More than 1 makes up for what few rows of a class leave undone, so that `z` still answers for a uniform prior.
    """
    return max(0.0, 1.0 - settings.tau)


def no_matrices(data: TrainingData) -> int:
    """Of methods that need no matrix of D x D."""
    return 0


def square_matrices(number: int) -> Callable[[TrainingData], int]:
    """Of methods that hold so many float32 matrices of D x D at the most; a float64 one counts as two."""
    return lambda data: 4 * number * data.n_features**2


@dataclass(frozen=True)
class Method:
    """A way to get from labelled and unlabelled features to a classifier.

    A method is one file under `ulfine_fast/methods` and one line in `ulfine_fast.registry`, which also carries the line
    of summary that the command line shows.

    Attributes:
        name: The name on the command line, such as ``"zero-shot"``; equal to the key in the registry.
        settings: Strict settings whose defaults are the method's published or settled ones. Its fields are what
            ``--settings`` and ``--set`` can change.
        fit_seeds: ``fit_seeds(data, settings, seeds, progress)``, one result for each seed: side by side, or of a
            function for one seed made by `ulfine_fast.seeds.one_by_one`. Deterministic for a seed on one machine; draws
            only from generators that it seeds itself; trains on ``data.features.device``; reports steps with
            ``progress.update("training", step, total, loss=...)``.
        build: Re-creates the untrained module from `LogitModel.architecture`; `load_state_dict` then fills it.
        prior_power: From settings to the power of the labelled class frequencies that the logits answer for
            (`ulfine_fast.priors.class_prior.answered_prior`): `uniform_prior`, `labelled_prior` or `unadjusted_prior`.
        unlabelled: Whether the fit looks at the unlabelled rows.
        seeded: Whether anything in the fit depends on the seed.
        memory: From the training data to the bytes of what grows with the square of the feature width, an estimate from
            above: what decides whether a fit of wide features can begin at all.
        shared: Whether several processes can fit it together (`ulfine_fast.processes`).
        switches: Parts of the method that can be turned off, for the ablation: names of boolean settings of `settings`
            that are on by default.
    """

    name: str
    settings: type[StrictConfig]
    fit_seeds: Callable[[TrainingData, Any, Sequence[int], Progress], list[FitResult]]
    build: Callable[[dict[str, Any]], LogitModel]
    prior_power: Callable[[Any], float] = uniform_prior
    unlabelled: bool = False
    seeded: bool = True
    memory: Callable[[TrainingData], int] = no_matrices
    switches: tuple[str, ...] = ()
    shared: bool = False

    def fit(self, data: TrainingData, settings: Any, seed: int, progress: Progress) -> FitResult:
        """The result of one seed."""
        return self.fit_seeds(data, settings, [seed], progress)[0]

    def ablations(self) -> dict[str | None, dict[str, bool]]:
        """What an ablation fits: settings of the whole method, under None, then of the method without each part.

        Example:
            >>> from ulfine_fast.registry import get_method
            >>> get_method("ulfine").ablations()["paf"]
            {'paf': False}
        """
        return {None: {}} | {switch: {switch: False} for switch in self.switches}
