"""Rounds of EM against the same written row by row in numpy, and a sample against all rows."""

import itertools

import numpy as np
import pytest
import torch
from scipy.special import softmax

from ulfine_fast.closed_form import em_rounds
from ulfine_fast.closed_form.em_rounds import EveryRow, refine, sample_rows
from ulfine_fast.closed_form.paf import fit_prototypes, labelled_moments
from ulfine_fast.interruption import Interruption

N_CLASSES, WIDTH, SHARE = 3, 5, 0.25
SETTINGS = {"pseudo_count": 3.0, "anchor_ridge": 10.0, "shrinkage": 0.5}


def task(n_unlabelled, seed=0):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(N_CLASSES, WIDTH))
    labels = np.repeat(np.arange(N_CLASSES), (8, 4, 2))
    truth = generator.choice(N_CLASSES, size=n_unlabelled, p=(0.2, 0.3, 0.5))
    draw = [centres[classes] + 0.7 * generator.normal(size=(len(classes), WIDTH)) for classes in (labels, truth)]
    return draw[0].astype(np.float32), labels, draw[1].astype(np.float32), truth


def fit(moments):
    return fit_prototypes(None, moments, **SETTINGS)


def run(rows, labels, unlabelled, keep, sample=None, rounds=3, fit=fit, interruption=None, **more):
    labelled = labelled_moments(torch.tensor(rows), torch.tensor(labels), N_CLASSES, torch.tensor(keep))
    reports = []
    refined = refine(
        torch.tensor(unlabelled)[slice(None) if sample is None else sample],
        None if sample is None else EveryRow(torch.tensor(unlabelled)),
        labelled,
        fit(labelled),
        classify=lambda prototypes: (prototypes.weight, prototypes.bias),
        fit=fit,
        share=SHARE,
        rounds=rounds,
        report=lambda round_, figures: reports.append((round_, figures)),
        interruption=interruption or Interruption(),
        **more,
    )
    return refined, reports


def fit_by_loop(rows, weights):
    """Prototypes and covariance of rows with class weights (N, C), without text."""
    counts = weights.sum(0)
    means = (weights.T @ rows) / counts[:, None]
    trust = counts / (counts + 1)
    centre = (trust[:, None] * means).sum(0) / trust.sum()
    rates = (counts / (counts + 3.0))[:, None]
    prototypes = (1 - rates) * centre + rates * means
    scatter = (
        sum(
            weights[n, k] * np.outer(rows[n] - prototypes[k], rows[n] - prototypes[k])
            for n in range(len(rows))
            for k in range(N_CLASSES)
        )
        / weights.sum()
    )
    return prototypes, 0.5 * scatter + 0.5 * np.trace(scatter) / WIDTH * np.eye(WIDTH)


def by_loop(rows, labels, unlabelled, rounds):
    """Prototypes, covariance, class prior and pseudo-labels after so many rounds."""
    return next(itertools.islice(rounds_by_loop(rows, labels, unlabelled), rounds - 1, None))


def rounds_by_loop(rows, labels, unlabelled, imagined=0):
    hard, every = np.eye(N_CLASSES)[labels], np.concatenate([rows, unlabelled]).astype(np.float64)
    prototypes, covariance = fit_by_loop(rows.astype(np.float64), hard)
    prior = np.full(N_CLASSES, 1 / N_CLASSES)
    while True:
        gaps = unlabelled[:, None].astype(np.float64) - prototypes
        distances = np.einsum("nkd,de,nke->nk", gaps, np.linalg.inv(covariance), gaps)
        held_back = (len(unlabelled) * prior + imagined / N_CLASSES) / (len(unlabelled) + imagined)
        soft = softmax(-0.5 * distances + np.log(held_back), axis=1)
        prior = (soft.sum(0) + 1) / (len(unlabelled) + N_CLASSES)
        prototypes, covariance = fit_by_loop(every, np.concatenate([hard, SHARE * soft]))
        yield prototypes, covariance, prior, soft


def test_refine__against_loops():
    rows, labels, unlabelled, _ = task(40)
    keep = np.ones((2, len(rows)), bool)
    keep[1, ::3] = False
    refined, reports = run(rows, labels, unlabelled, keep)
    for b, chosen in enumerate(keep):
        prototypes, covariance, prior, soft = by_loop(rows[chosen], labels[chosen], unlabelled, 3)
        assert refined.prototypes.means[b].numpy() == pytest.approx(prototypes, abs=1e-4)
        assert refined.prototypes.covariance[b].numpy() == pytest.approx(covariance, abs=1e-4)
        if b == 0:
            assert refined.prior.numpy() == pytest.approx(prior, abs=1e-4)
            expected = {"confidence": soft.max(1).mean(), "prior_min": prior.min(), "prior_max": prior.max()}
            assert refined.history[-1] == pytest.approx(expected, abs=1e-4)
    assert [round_ for round_, _ in reports] == [1, 2, 3]
    assert [figures for _, figures in reports] == refined.history


def test_refine__imagined_rows_hold_the_prior_of_the_pseudo_labels_back_and_not_what_is_told():
    rows, labels, unlabelled, _ = task(40)
    keep = np.ones((1, len(rows)), bool)
    refined, _ = run(rows, labels, unlabelled, keep, imagined=60)
    means, _, prior, _ = next(itertools.islice(rounds_by_loop(rows, labels, unlabelled, 60), 2, None))
    assert refined.prototypes.means[0].numpy() == pytest.approx(means, abs=1e-4)
    assert refined.prior.numpy() == pytest.approx(prior, abs=1e-4)
    free, _ = run(rows, labels, unlabelled, keep)
    assert float(refined.prior.amax()) < float(free.prior.amax()) - 1e-3


def test_refine__imagined_rows_weigh_against_all_rows_not_against_the_sample():
    rows, labels, unlabelled, _ = task(500)
    keep = np.ones((1, len(rows)), bool)
    copies = np.repeat(unlabelled[:100], 5, 0)
    one, _ = run(rows, labels, copies, keep, torch.arange(0, 500, 5), imagined=300)
    # The last round on all rows is one more.
    other, _ = run(rows, labels, copies, keep, rounds=4, imagined=300)
    assert one.prototypes.means.numpy() == pytest.approx(other.prototypes.means.numpy(), abs=4e-3)
    assert one.prior.numpy() == pytest.approx(other.prior.numpy(), abs=4e-3)


def test_refine__ends_where_pseudo_labels_stand_still():
    rows, labels, unlabelled, _ = task(40)
    keep = np.ones((1, len(rows)), bool)
    refined, _ = run(rows, labels, unlabelled, keep, rounds=500)
    assert 3 < len(refined.history) < 200
    _, _, prior, _ = by_loop(rows, labels, unlabelled, 200)
    assert refined.prior.numpy() == pytest.approx(prior, abs=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_refine__ends_when_less_than_a_thousandth_of_the_pseudo_labels_moves(seed):
    """More rounds would cost as much as those before and change no decision."""
    rows, labels, unlabelled, _ = task(60, seed)
    soft = [labels for *_, labels in itertools.islice(rounds_by_loop(rows, labels, unlabelled), 60)]
    moved = [0.5 * np.abs(after - before).sum(1).mean() for before, after in itertools.pairwise(soft)]
    expected = 2 + next(place for place, share in enumerate(moved) if share < 1e-3)
    refined, _ = run(rows, labels, unlabelled, np.ones((1, len(rows)), bool), rounds=60)
    assert len(refined.history) == expected < 55


def test_refine__a_sample_stands_for_all():
    rows, labels, unlabelled, truth = task(6000)
    keep = np.ones((2, len(rows)), bool)
    keep[1, ::4] = False
    full, _ = run(rows, labels, unlabelled, keep, rounds=8)
    sample = torch.randperm(6000, generator=torch.Generator().manual_seed(0))[:600].sort().values
    sampled, _ = run(rows, labels, unlabelled, keep, sample, rounds=8)
    few, _ = run(rows, labels, unlabelled[sample.numpy()], keep, rounds=8)
    spread = (full.prototypes.means[0][:, None] - full.prototypes.means[0]).norm(dim=-1).max()
    # The last round over all rows brings each problem closer to the fit on all rows than its sample alone.
    for b in range(2):
        error = (sampled.prototypes.means[b] - full.prototypes.means[b]).norm(dim=-1).max()
        assert error < 0.04 * spread
        assert error < 0.7 * (few.prototypes.means[b] - full.prototypes.means[b]).norm(dim=-1).max()
    assert sampled.prior.numpy() == pytest.approx(full.prior.numpy(), abs=0.02)
    assert sampled.prior.numpy() == pytest.approx(np.bincount(truth) / 6000, abs=0.05)


def test_refine__a_sample_weighs_what_all_rows_weigh():
    rows, labels, unlabelled, _ = task(500)
    weights, squares = [], []

    def told(moments):
        weights.append(float(moments.counts[0].sum()))
        squares.append(float(moments.gram[0].diagonal().sum()))
        return fit(moments)

    run(rows, labels, unlabelled, np.ones((1, len(rows)), bool), torch.arange(0, 500, 5), rounds=3, fit=told)
    # Labelled rows alone, three rounds on the sample, one on all.
    assert weights == pytest.approx([14] + 4 * [14 + SHARE * 500], rel=1e-5)
    assert squares[-1] == pytest.approx((rows**2).sum() + SHARE * (unlabelled**2).sum(), rel=1e-5)
    assert squares[1] == pytest.approx((rows**2).sum() + 5 * SHARE * (unlabelled[::5] ** 2).sum(), rel=1e-5)


def test_sample_rows__size_order_and_seed():
    def draw(n_rows, n_features, n_classes, seed=0):
        return sample_rows(n_rows, n_features, n_classes, torch.Generator().manual_seed(seed))

    assert draw(800, 100, 5) is None
    assert draw(801, 100, 20) is not None
    assert draw(801, 100, 21) is None
    # Eight a dimension or forty a class, whichever is more.
    assert draw(840, 10, 21) is None
    assert draw(841, 10, 21) is not None
    chosen = draw(5000, 100, 5)
    assert len(chosen) == 800
    assert (chosen.diff() > 0).all()
    assert chosen.max() < 5000
    assert torch.equal(chosen, draw(5000, 100, 5))
    assert not torch.equal(chosen, draw(5000, 100, 5, seed=1))


def test_every_row__the_second_moment_is_computed_in_the_first_whole_pass(monkeypatch):
    monkeypatch.setattr(em_rounds, "BLOCK", 100)
    rows = torch.tensor(task(450)[2])
    every, weight, bias = EveryRow(rows), torch.randn(2, N_CLASSES, WIDTH), torch.zeros(2, N_CLASSES)

    class AfterTwoBlocks:
        looks = 0

        @property
        def requested(self):
            self.looks += 1
            return self.looks > 2

    assert every.moments(weight, bias, torch.float64, AfterTwoBlocks()) is None
    first = every.moments(weight, bias, torch.float64, Interruption())
    assert first.gram.numpy() == pytest.approx((rows.double().T @ rows.double()).numpy(), rel=1e-6)
    monkeypatch.setattr(em_rounds, "second_moment", lambda *_: pytest.fail("computed again"))
    second = every.moments(-weight, bias, torch.float64, Interruption())
    assert torch.equal(second.gram, first.gram)
    assert not torch.equal(second.sums, first.sums)
    labels = torch.softmax(-rows @ weight[1].T, dim=-1)
    assert second.sums[1].numpy() == pytest.approx((labels.T @ rows).numpy(), abs=1e-3)
    assert second.counts[1].numpy() == pytest.approx(labels.sum(0).numpy(), abs=1e-3)


def test_refine__rounds_go_on_until_the_last_problem_stands_still():
    rows, labels, unlabelled, _ = task(60, seed=1)
    keep = np.ones((2, len(rows)), bool)
    keep[1, 1::2] = False
    alone = [len(run(rows, labels, unlabelled, keep[[b]], rounds=60)[0].history) for b in range(2)]
    assert alone[0] != alone[1]
    for order in ([0, 1], [1, 0]):
        refined, _ = run(rows, labels, unlabelled, keep[order], rounds=60)
        assert len(refined.history) == max(alone)


def test_refine__an_interruption_leaves_the_prior_of_the_last_whole_round():
    rows, labels, unlabelled, _ = task(40)
    keep = np.ones((2, len(rows)), bool)
    keep[1, ::3] = False

    class AtOnce:
        requested = True

    refined, reports = run(rows, labels, unlabelled, keep, rounds=5, interruption=AtOnce())
    _, _, prior, _ = by_loop(rows, labels, unlabelled, 1)
    assert refined.prior.numpy() == pytest.approx(prior, abs=1e-4)
    assert [round_ for round_, _ in reports] == [1]
