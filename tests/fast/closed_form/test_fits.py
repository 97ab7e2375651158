"""The steps of a fit: what left-out rows overrule, what pseudo-labels are made of, and what is told at the end."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch.nn.functional import cross_entropy

from ulfine_cache.progress import Silent
from ulfine_fast.closed_form.em_rounds import EveryRow, Refined, refine
from ulfine_fast.closed_form.fits import Fits, Fitted, in_row_space
from ulfine_fast.closed_form.fold_problems import fold_problems
from ulfine_fast.closed_form.paf import Prototypes
from ulfine_fast.closed_form.ulfine_settings import UlfineSettings
from ulfine_fast.interruption import Interruption
from ulfine_fast.rows.training_data import TrainingData, make_training_data

N_CLASSES, WIDTH = 3, 6
COUNTS = (20, 8, 4)


def task(*, text: bool = True, width: int = WIDTH, n_unlabelled: int = 40) -> TrainingData:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(N_CLASSES, width))
    labels, hidden = np.repeat(np.arange(N_CLASSES), COUNTS), np.arange(n_unlabelled) % N_CLASSES
    return make_training_data(
        features=centres[labels] + generator.normal(size=(len(labels), width)),
        labels=labels,
        unlabelled=centres[hidden] + generator.normal(size=(n_unlabelled, width)),
        text=centres + generator.normal(size=centres.shape) if text else None,
        class_names=("ash", "birch", "cedar"),
    )


def fits_of(data: TrainingData, **settings: object) -> Fits:
    config = UlfineSettings.model_validate(settings)
    return Fits(fold_problems(data, config, data.n_features, torch.Generator().manual_seed(0)))


def refined_of(fits: Fits, begin: Fitted, shrinkage: float | None = 0.5) -> Refined:
    rows = fits.problems.data.all_unlabelled
    return fits.refine(begin, shrinkage, rows, None, Silent(), Interruption())


def with_losses(fitted: Fitted, losses: torch.Tensor) -> Fitted:
    return replace(fitted, losses=losses)


def test_loss__is_the_balanced_mean_of_the_left_out_rows():
    fits = fits_of(task())
    fitted = fits.fused(fits.problems.fit_prototypes(fits.problems.labelled, 0.5))
    labels = fits.left_out.labels.numpy()
    assert sorted(labels.tolist()) == sorted(np.repeat(np.arange(N_CLASSES), COUNTS).tolist())
    by_class = [fitted.losses.numpy()[labels == k].mean() for k in range(N_CLASSES)]
    assert fits.loss(fitted) == pytest.approx(np.mean(by_class))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({"shrinkage": 0.3}, 0.3), ({}, None), ({"adapter": False}, 1.0), ({"adapter": False, "shrinkage": 0.3}, 1.0)],
)
def test_from_labelled_rows__with_the_shrinkage_that_is_asked_for(monkeypatch, settings, expected):
    fits = fits_of(task(), **settings)
    # Left-out rows say nothing clearly.
    monkeypatch.setattr(Fits, "clearly_lower", lambda *_: False)
    fitted, shrinkage = fits.from_labelled_rows()
    assert shrinkage == expected
    alone = fits.problems.fit_prototypes(fits.problems.labelled, expected)
    assert torch.equal(fitted.prototypes.covariance, alone.covariance)


def test_from_labelled_rows__the_identity_where_left_out_rows_clearly_prefer_it(monkeypatch):
    fits = fits_of(task(), shrinkage=0.3)
    asked = []

    def clearly_lower(self: Fits, fitted: Fitted, other: Fitted) -> bool:
        asked.append((float(fitted.prototypes.shrinkage[0]), float(other.prototypes.shrinkage[0])))
        return True

    monkeypatch.setattr(Fits, "clearly_lower", clearly_lower)
    fitted, shrinkage = fits.from_labelled_rows()
    assert asked == [(1.0, pytest.approx(0.3))]
    assert shrinkage == 1.0
    assert fitted.prototypes.shrinkage.tolist() == [1.0] * 6


@pytest.mark.parametrize("with_text", [True, False])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_refine__pseudo_labels_are_the_fused_logits_over_the_temperature(with_text, temperature):
    data = task(text=with_text)
    fits = fits_of(data, pseudo_label_temperature=temperature, rounds=1)
    begin, shrinkage = fits.from_labelled_rows()
    refined = refined_of(fits, begin, shrinkage)
    rows = data.all_unlabelled.double().numpy()
    first = begin.prototypes
    parts = [rows @ first.weight[0].double().numpy().T + first.bias[0].double().numpy()]
    parts += [rows @ fits.problems.probes[0].double().numpy().T]
    parts += [rows @ fits.problems.text.double().numpy().T] if fits.problems.text is not None else []
    logits = sum(weight * part for weight, part in zip(begin.weights.numpy(), parts, strict=True))
    soft = softmax(logits / temperature, axis=1)
    assert refined.history[0]["confidence"] == pytest.approx(soft.max(1).mean(), abs=1e-4)
    # One more row for every class.
    assert refined.prior.numpy() == pytest.approx((soft.sum(0) + 1) / (len(rows) + N_CLASSES), abs=1e-4)


def test_refine__tells_of_each_round_after_the_step_without_unlabelled_rows():
    told = []

    class Told(Silent):
        def update(self, stage, done, total, **figures):
            told.append((stage, done, total, sorted(figures)))

    fits = fits_of(task(), rounds=3)
    begin, _ = fits.from_labelled_rows()
    fits.refine(begin, 0.5, fits.problems.data.all_unlabelled, None, Told(), Interruption())
    figures = ["confidence", "prior_max", "prior_min"]
    assert told[:2] == [("training", 2, 4, figures), ("training", 3, 4, figures)]


def test_refine__pseudo_labelled_rows_count_their_weight_and_prototypes_keep_the_shrinkage():
    data = task()
    fits = fits_of(data, unlabelled_weight=0.5, rounds=2)
    begin, _ = fits.from_labelled_rows()
    weights = []
    fit = fits.problems.fit_prototypes

    class Watched:
        def __getattr__(self, name):
            return getattr(problems, name)

        def fit_prototypes(self, moments, shrinkage):
            weights.append((float(moments.counts[0].sum()), shrinkage))
            return fit(moments, shrinkage)

    problems, fits.problems = fits.problems, Watched()
    refined_of(fits, begin, 0.7)
    assert weights == [(pytest.approx(32 + 0.5 * 40), 0.7)] * 2


def test_result__without_unlabelled_rows():
    fits = fits_of(task())
    begin, _ = fits.from_labelled_rows()
    result = fits.result(begin, begin, None, None, None)
    assert result.history == [{"round": 0.0, "loss": fits.loss(begin)}]
    assert result.diagnostics == {
        "left_out_rows": 32,
        "wrong_labels": 0.0,
        "shrinkage": float(begin.prototypes.shrinkage[0]),
        "fusion_weights": dict(zip(["prototypes", "probe", "text"], begin.weights.tolist(), strict=True)),
    }
    assert result.interrupted_at is None
    assert not result.model.training


@pytest.mark.parametrize("used", [True, False])
def test_result__takes_the_refined_prototypes_unless_left_out_rows_clearly_speak_for_the_others(used):
    data = task()
    fits = fits_of(data)
    begin, _ = fits.from_labelled_rows()
    refined = refined_of(fits, begin)
    end = fits.fused(refined.prototypes)
    begin = with_losses(begin, torch.linspace(1.0, 1.1, 32).double())
    end = with_losses(end, begin.losses + (0.0 if used else 1.0))
    result = fits.result(begin, end, refined, None, 7)
    assert result.diagnostics["unlabelled_used"] is used
    prior = dict(zip(data.class_names, refined.prior.tolist(), strict=True))
    assert result.diagnostics["unlabelled_prior"] == prior
    taken = end if used else begin
    assert result.diagnostics["shrinkage"] == float(taken.prototypes.shrinkage[0])
    assert result.diagnostics["fusion_weights"]["probe"] == float(taken.weights[1])
    assert result.model.centre.numpy() == pytest.approx(taken.prototypes.means[0].mean(0).numpy(), abs=1e-6)
    assert result.interrupted_at == 7
    rounds = [{"round": float(i), **figures} for i, figures in enumerate(refined.history, start=1)]
    last = {
        "round": float(len(rounds)),
        "loss": fits.loss(end),
        "prior_min": float(refined.prior.min()),
        "prior_max": float(refined.prior.max()),
    }
    assert result.history == [{"round": 0.0, "loss": fits.loss(begin)}, *rounds, last]


@pytest.mark.parametrize("with_text", [True, False])
def test_in_row_space__keeps_all_inner_products(with_text):
    data = task(text=with_text, width=120)
    inside, basis = in_row_space(data)
    assert basis is not None
    assert basis.shape == (120, 32 + 40 + 3 * with_text)
    assert inside.n_features == basis.shape[1]
    every = [part for part in (data.features, data.all_unlabelled, data.text) if part is not None]
    moved = [part for part in (inside.features, inside.all_unlabelled, inside.text) if part is not None]
    assert len(every) == len(moved) == 2 + with_text
    rows, coordinates = torch.cat(every), torch.cat(moved)
    assert (coordinates @ coordinates.T).numpy() == pytest.approx((rows @ rows.T).numpy(), abs=1e-5)


def test_in_row_space__leaves_rows_that_reach_everywhere():
    data = task()
    same, basis = in_row_space(data)
    assert basis is None
    assert same is data


@pytest.mark.parametrize("with_text", [True, False])
@pytest.mark.parametrize("width", [WIDTH, 120])
def test_result__the_model_decides_as_the_fused_parts_do(with_text, width):
    """In the span of the rows as in the whole space: its logits are theirs, up to a term that all classes share."""
    whole = task(text=with_text, width=width)
    data, basis = in_row_space(whole)
    fits = Fits(fold_problems(data, UlfineSettings(), width, torch.Generator().manual_seed(0)))
    begin, _ = fits.from_labelled_rows()
    model = fits.result(begin, begin, None, basis, None).model
    rows = data.all_unlabelled.double()
    own, *others = begin.weights
    logits = own * (rows @ begin.prototypes.weight[0].double().T + begin.prototypes.bias[0].double())
    parts = [fits.problems.probes[0]] if fits.problems.text is None else [fits.problems.probes[0], fits.problems.text]
    for weight, part in zip(others, parts, strict=True):
        logits = logits + weight * (rows @ part.double().T)
    found = model.logits(whole.all_unlabelled).double()
    differences = (found - logits).detach().numpy()
    assert differences - differences.mean(1, keepdims=True) == pytest.approx(0 * differences, abs=2e-2)
    labels = logits.argmax(1)
    assert float(cross_entropy(found, labels)) == pytest.approx(float(cross_entropy(logits, labels)), rel=1e-2)


def test_refine__on_a_sample_ends_with_all_rows():
    data = task(n_unlabelled=60)
    fits = fits_of(data, rounds=2)
    begin, _ = fits.from_labelled_rows()
    every = EveryRow(data.unlabelled)
    refined = fits.refine(begin, 0.5, data.all_unlabelled[::2], every, Silent(), Interruption())
    full = refined_of(fits, begin)
    assert len(refined.history) == 2
    assert refined.prior.numpy() == pytest.approx(full.prior.numpy(), abs=0.1)
    assert not torch.equal(refined.prior, full.prior)


def again(fits: Fits, monkeypatch: pytest.MonkeyPatch) -> list[Fitted]:
    """What the weights are fitted to from now on."""
    fitted: list[Fitted] = []
    fused = Fits.fused

    def noted(self: Fits, prototypes: Prototypes) -> Fitted:
        fitted.append(fused(self, prototypes))
        return fitted[-1]

    monkeypatch.setattr(Fits, "fused", noted)
    return fitted


@pytest.mark.parametrize(("rounds", "first"), [(4, 2), (5, 2), (2, 1)])
def test_refine__with_text_weights_are_fitted_again_half_way(monkeypatch, rounds, first):
    data = task()
    fits = fits_of(data, rounds=rounds)
    begin, shrinkage = fits.from_labelled_rows()
    fitted = again(fits, monkeypatch)
    refined = refined_of(fits, begin, shrinkage)
    (half_way,) = fitted
    alone = fits_of(data, rounds=first)
    monkeypatch.setattr(Fits, "_halves", lambda self: [self.settings.rounds])
    ended = refined_of(alone, begin, shrinkage)
    assert torch.equal(half_way.prototypes.means, ended.prototypes.means)
    last = refined_of(fits_of(data, rounds=rounds - first), half_way, shrinkage)
    assert torch.equal(refined.prototypes.means, last.prototypes.means)
    assert refined.history == ended.history + last.history
    assert len(refined.history) == rounds


@pytest.mark.parametrize(("text", "rounds"), [(False, 4), (True, 1)])
def test_refine__without_text_or_with_one_round_the_first_weights_stay(monkeypatch, text, rounds):
    fits = fits_of(task(text=text), rounds=rounds)
    begin, shrinkage = fits.from_labelled_rows()
    fitted = again(fits, monkeypatch)
    refined_of(fits, begin, shrinkage)
    assert fitted == []


def test_refine__an_interruption_in_the_first_half_ends_it(monkeypatch):
    fits = fits_of(task(), rounds=4)
    begin, _ = fits.from_labelled_rows()
    fitted = again(fits, monkeypatch)
    interruption = Interruption()

    class Pressed(Silent):
        def update(self, stage, done, total, **figures):
            interruption.requested = done == 3

    refined = fits.refine(begin, 0.5, fits.problems.data.all_unlabelled, None, Pressed(), interruption)
    assert len(refined.history) == 2
    assert fitted == []


def test_refine__pseudo_labels_lean_on_imagined_rows(monkeypatch):
    """As many as there are unlabelled rows, and at least ten a class."""
    asked = []

    def noted(*arguments, imagined, **settings):
        asked.append(imagined)
        return refine(*arguments, imagined=imagined, **settings)

    monkeypatch.setattr("ulfine_fast.closed_form.fits.refine", noted)
    for n_unlabelled in (20, 40):
        fits = fits_of(task(text=False, n_unlabelled=n_unlabelled), rounds=1)
        refined_of(fits, fits.from_labelled_rows()[0])
    assert asked == [30, 40]
