"""The closed form against loops in numpy, scikit-learn's discriminant analysis and its own limits."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from ulfine_fast.closed_form.paf import (
    Moments,
    covariance_shrinkage,
    fit_prototypes,
    labelled_moments,
    movement_rates,
    second_moment,
    text_anchors,
)

N_CLASSES, WIDTH = 4, 6
COUNTS = (12, 7, 3, 1)
SETTINGS = {"pseudo_count": 3.0, "anchor_ridge": 10.0, "shrinkage": 0.5}


def task(counts=COUNTS, seed=0):
    """Long-tailed rows around directions that the texts resemble: rows (N, D), labels (N,), text (C, D), float64."""
    generator = np.random.default_rng(seed)
    text = generator.normal(size=(len(counts), WIDTH))
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    labels = np.repeat(np.arange(len(counts)), counts)
    rows = 0.5 + 0.8 * text[labels] + 0.2 * generator.normal(size=(len(labels), WIDTH))
    return rows.astype(np.float32).astype(np.float64), labels, text


def moments_of(rows, labels, n_classes=N_CLASSES, keep=None):
    keep = torch.ones(1, len(labels), dtype=torch.bool) if keep is None else keep
    return labelled_moments(torch.tensor(rows).float(), torch.tensor(labels), n_classes, keep)


def fit(rows, labels, text, **changes):
    return fit_prototypes(None if text is None else torch.tensor(text), moments_of(rows, labels), **SETTINGS | changes)


def anchors_by_loop(rows, labels, text, ridge, n_classes=N_CLASSES, weights=None):
    """Ridge regression written as its normal equations over the D x D matrix, class by class."""
    weights = np.eye(n_classes)[labels] if weights is None else weights
    counts = weights.sum(0)
    trust = counts / (counts + 1)
    means = np.stack([(weights[:, k] @ rows) / counts[k] if counts[k] else np.zeros(WIDTH) for k in range(n_classes)])
    centre = sum(trust[k] * means[k] for k in range(n_classes)) / trust.sum()
    if text is None:
        return np.tile(centre, (n_classes, 1))
    offsets = text - text.mean(0)
    gaps = means - centre
    slope = sum(trust[k] * offsets[k] @ gaps[k] for k in range(n_classes))
    slope = max(slope / sum(trust[k] * offsets[k] @ offsets[k] for k in range(n_classes)), 0)
    unit = np.mean([trust[k] * offsets[k] @ offsets[k] for k in range(n_classes)])
    left = sum(trust[k] * np.outer(offsets[k], offsets[k]) for k in range(n_classes)) + ridge * unit * np.eye(WIDTH)
    right = sum(trust[k] * np.outer(offsets[k], gaps[k] - slope * offsets[k]) for k in range(n_classes))
    matrix = np.linalg.solve(left, right)
    return centre + slope * offsets + offsets @ matrix


def fit_by_loop(rows, labels, text, pseudo_count, anchor_ridge, shrinkage, weights=None):
    """Prototypes, covariance and log-likelihoods, row by row."""
    weights = np.eye(N_CLASSES)[labels] if weights is None else weights
    anchors = anchors_by_loop(rows, labels, text, anchor_ridge, weights=weights)
    prototypes = np.empty((N_CLASSES, WIDTH))
    for k in range(N_CLASSES):
        count = weights[:, k].sum()
        mean = weights[:, k] @ rows / count if count else np.zeros(WIDTH)
        rate = count / (count + pseudo_count)
        prototypes[k] = (1 - rate) * anchors[k] + rate * mean
    scatter = np.zeros((WIDTH, WIDTH))
    for n in range(len(rows)):
        for k in range(N_CLASSES):
            scatter += weights[n, k] * np.outer(rows[n] - prototypes[k], rows[n] - prototypes[k])
    scatter /= weights.sum()
    covariance = (1 - shrinkage) * scatter + shrinkage * np.trace(scatter) / WIDTH * np.eye(WIDTH)
    return anchors, prototypes, covariance


def log_likelihoods(rows, prototypes, covariance):
    """-1/2 squared Mahalanobis distance, (N, C)."""
    differences = rows[:, None] - prototypes[None]
    return -0.5 * np.einsum("nkd,de,nke->nk", differences, np.linalg.inv(covariance), differences)


def centred(scores):
    return scores - scores.mean(1, keepdims=True)


@pytest.mark.parametrize("with_text", [True, False])
@pytest.mark.parametrize("shrinkage", [0.1, 0.5, 1.0])
def test_fit_prototypes__against_loops(with_text, shrinkage):
    rows, labels, text = task()
    text = text if with_text else None
    found = fit(rows, labels, text, shrinkage=shrinkage)
    anchors, prototypes, covariance = fit_by_loop(rows, labels, text, 3.0, 10.0, shrinkage)
    assert found.anchors[0].numpy() == pytest.approx(anchors, abs=1e-9)
    assert found.means[0].numpy() == pytest.approx(prototypes, abs=1e-9)
    assert found.covariance[0].numpy() == pytest.approx(covariance, abs=1e-9)
    scores = rows @ found.weight[0].numpy().T + found.bias[0].numpy()
    assert centred(scores) == pytest.approx(centred(log_likelihoods(rows, prototypes, covariance)), abs=1e-7)


def test_fit_prototypes__soft_labels_are_the_m_step():
    """EM's M-step: labelled rows count once, unlabelled ones by share times responsibility."""
    rows, labels, text = task()
    generator = np.random.default_rng(5)
    more = 0.5 + 0.4 * generator.normal(size=(30, WIDTH))
    responsibilities = generator.dirichlet(np.ones(N_CLASSES), size=30)
    share = 0.25
    labelled = moments_of(rows, labels)
    moments = Moments(
        labelled.counts + share * torch.tensor(responsibilities.sum(0)),
        labelled.sums + share * torch.tensor(responsibilities.T @ more),
        labelled.gram + share * torch.tensor(more.T @ more),
    )
    found = fit_prototypes(torch.tensor(text), moments, **SETTINGS)
    weights = np.concatenate([np.eye(N_CLASSES)[labels], share * responsibilities])
    expected = fit_by_loop(np.concatenate([rows, more]), None, text, 3.0, 10.0, 0.5, weights)
    for mine, theirs in zip((found.anchors, found.means, found.covariance), expected, strict=True):
        assert mine[0].numpy() == pytest.approx(theirs, abs=1e-9)


def test_fit_prototypes__limits_of_the_pseudo_count():
    rows, labels, text = task()
    means = np.stack([rows[labels == k].mean(0) for k in range(N_CLASSES)])
    assert fit(rows, labels, text, pseudo_count=1e-12).means[0].numpy() == pytest.approx(means, abs=1e-9)
    held = fit(rows, labels, text, pseudo_count=1e12)
    assert held.means[0].numpy() == pytest.approx(held.anchors[0].numpy(), abs=1e-9)


def test_fit_prototypes__movement_is_that_of_the_rates():
    rows, labels, text = task()
    found = fit(rows, labels, text)
    rates = movement_rates(torch.tensor(COUNTS).double(), 3.0).numpy()
    assert rates == pytest.approx([0.8, 0.7, 0.5, 0.25], abs=1e-6)
    means = np.stack([rows[labels == k].mean(0) for k in range(N_CLASSES)])
    expected = (1 - rates)[:, None] * found.anchors[0].numpy() + rates[:, None] * means
    assert found.means[0].numpy() == pytest.approx(expected, abs=1e-9)


def test_fit_prototypes__full_shrinkage_decides_for_the_nearest_prototype():
    rows, labels, text = task()
    found = fit(rows, labels, text, shrinkage=1.0)
    new = np.random.default_rng(3).normal(size=(200, WIDTH))
    nearest = ((new[:, None] - found.means[0].numpy()[None]) ** 2).sum(-1).argmin(1)
    assert (new @ found.weight[0].numpy().T + found.bias[0].numpy()).argmax(1).tolist() == nearest.tolist()


@pytest.mark.parametrize("shrinkage", [0.2, 0.7])
def test_fit_prototypes__equals_scikit_learn_discriminant_analysis(shrinkage):
    # scikit-learn has no anchors, and averages the classes' covariances by their priors: equal counts make it pooled.
    rows, labels, _ = task(counts=(30,) * N_CLASSES)
    # It also brings features to unit variance within classes before it shrinks: rows that have it stay as they are.
    within = rows - np.stack([rows[labels == k].mean(0) for k in range(N_CLASSES)])[labels]
    scale = within.std(0)
    found = fit(rows / scale, labels, None, pseudo_count=1e-12, shrinkage=shrinkage)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=np.full(N_CLASSES, 1 / N_CLASSES))
    model.fit((rows / scale).astype(np.float32).astype(np.float64), labels)
    scores = rows / scale @ found.weight[0].numpy().T + found.bias[0].numpy()
    assert centred(scores) == pytest.approx(centred(model.decision_function(rows / scale)), abs=1e-3)


def test_text_anchors__carry_an_exact_map_over_to_a_class_without_rows():
    """Where images are a scaled and shifted copy of the texts, the unseen class is predicted exactly."""
    generator = np.random.default_rng(2)
    text = generator.normal(size=(5, WIDTH))
    text -= text.mean(0)
    text[4] = 0  # the mean of the others, so that leaving it out moves no centre
    text[:4] -= text[:4].mean(0)
    text += 0.3
    images = 2.0 + 0.7 * text
    labels = np.repeat(np.arange(4), 50)
    moments = moments_of(images[labels], labels, n_classes=5)
    anchors = text_anchors(torch.tensor(text), moments, ridge=10.0)
    assert anchors[0].numpy() == pytest.approx(images, abs=1e-5)


def test_text_anchors__never_follow_texts_that_point_the_wrong_way():
    rows, labels, text = task()
    anchors = text_anchors(torch.tensor(-text), moments_of(rows, labels), ridge=1e9)
    centre = text_anchors(None, moments_of(rows, labels), ridge=1.0)
    assert anchors.numpy() == pytest.approx(centre.numpy(), abs=1e-6)


def test_fit_prototypes__a_class_without_rows_is_its_anchor():
    rows, labels, text = task(counts=(12, 7, 3, 0))
    found = fit(rows, labels, text)
    assert torch.isfinite(found.weight).all()
    assert found.means[0, 3].numpy() == pytest.approx(found.anchors[0, 3].numpy())
    assert found.anchors[0].numpy() == pytest.approx(anchors_by_loop(rows, labels, text, 10.0), abs=1e-9)


def test_fit_prototypes__does_not_depend_on_the_order_of_rows():
    rows, labels, text = task()
    order = np.random.default_rng(1).permutation(len(labels))
    first, second = fit(rows, labels, text), fit(rows[order], labels[order], text)
    assert first.weight.numpy() == pytest.approx(second.weight.numpy(), abs=1e-9)


def test_fit_prototypes__problems_side_by_side_equal_problems_alone():
    rows, labels, text = task()
    generator = np.random.default_rng(4)
    keep = np.concatenate([np.ones((1, len(labels)), bool), generator.random((3, len(labels))) < 0.7])
    together = fit_prototypes(torch.tensor(text), moments_of(rows, labels, keep=torch.tensor(keep)), **SETTINGS)
    for b, chosen in enumerate(keep):
        alone = fit(rows[chosen], labels[chosen], text)
        for name in ("means", "anchors", "covariance", "weight", "bias"):
            assert getattr(together, name)[b].numpy() == pytest.approx(getattr(alone, name)[0].numpy(), abs=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_second_moment__of_more_rows_and_columns_than_a_block(dtype):
    rows = np.random.default_rng(0).normal(size=(5000, 300)).astype(np.float32)
    found = second_moment(torch.tensor(rows), dtype)
    assert found.dtype == dtype
    exact = rows.astype(np.float64).T @ rows.astype(np.float64)
    assert found.numpy() == pytest.approx(exact, abs=1e-9 if dtype == torch.float64 else 0.02)


def test_labelled_moments__of_few_and_of_most_rows():
    rows, labels, _ = task()
    keep = np.zeros((3, len(labels)), bool)
    keep[0, :3], keep[1, 2:] = True, True
    moments = moments_of(rows, labels, keep=torch.tensor(keep))
    for b, chosen in enumerate(keep):
        hot = np.eye(N_CLASSES)[labels[chosen]]
        assert moments.counts[b].tolist() == hot.sum(0).tolist()
        assert moments.sums[b].numpy() == pytest.approx(hot.T @ rows[chosen], abs=1e-9)
        assert moments.gram[b].numpy() == pytest.approx(rows[chosen].T @ rows[chosen], abs=1e-9)


def test_fit_prototypes__in_single_precision_far_from_the_origin():
    rows, labels, text = task()
    rows = rows + 30.0
    exact = fit(rows, labels, text)
    keep = torch.ones(1, len(labels), dtype=torch.bool)
    moments = labelled_moments(torch.tensor(rows).float(), torch.tensor(labels), N_CLASSES, keep, torch.float32)
    single = fit_prototypes(torch.tensor(text).float(), moments, **SETTINGS)
    assert single.weight.dtype == torch.float32
    scores = [rows @ found.weight[0].double().numpy().T + found.bias[0].double().numpy() for found in (exact, single)]
    assert centred(scores[1]) == pytest.approx(centred(scores[0]), abs=0.05 * centred(scores[0]).std())


def test_fit_prototypes__in_the_span_of_the_rows_equal_those_in_the_whole_space():
    rows, labels, text = task(counts=(2, 1, 1))
    wide = np.random.default_rng(8).normal(size=(WIDTH, 40)) / 40**0.5
    rows, text = (rows @ wide).astype(np.float32).astype(np.float64), text @ wide
    basis = np.linalg.qr(np.concatenate([rows, text]).T)[0]
    keep = torch.ones(1, len(labels), dtype=torch.bool)
    inside = labelled_moments(torch.tensor(rows @ basis).float(), torch.tensor(labels), 3, keep)
    within = fit_prototypes(torch.tensor(text @ basis), inside, **SETTINGS, width=40)
    whole = fit_prototypes(torch.tensor(text), moments_of(rows, labels, n_classes=3), **SETTINGS)
    assert within.means[0].numpy() @ basis.T == pytest.approx(whole.means[0].numpy(), abs=1e-5)
    assert float(within.floor) == pytest.approx(float(whole.floor), rel=1e-4)
    lifted = basis @ within.covariance[0].numpy() @ basis.T + float(within.floor) * (np.eye(40) - basis @ basis.T)
    assert lifted == pytest.approx(whole.covariance[0].numpy(), abs=1e-6)


def test_fit_prototypes__of_copies_has_a_finite_covariance_in_single_precision():
    rows = np.random.default_rng(0).normal(size=(1, 40)).repeat(30, 0).astype(np.float32)
    keep = torch.ones(1, 30, dtype=torch.bool)
    moments = labelled_moments(torch.tensor(rows), torch.zeros(30, dtype=torch.int64), 2, keep, torch.float32)
    assert torch.isfinite(fit_prototypes(None, moments, **SETTINGS).weight).all()


def test_covariance_shrinkage__falls_with_rows_within_bounds():
    rows = torch.tensor([0.0, 4.0, 16.0, 24.0, 72.0, 1e6])
    assert covariance_shrinkage(rows, 8).tolist() == pytest.approx([0.5, 0.5, 1 / 3, 0.25, 0.1, 0.1])


def test_fit_prototypes__shrinks_by_the_rule_where_none_is_given():
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(60, 8, generator=generator), torch.arange(60) % 3
    keep = torch.ones(2, 60, dtype=torch.bool)
    keep[1, 30:] = False
    moments = labelled_moments(features, labels, 3, keep)
    by_rule = fit_prototypes(None, moments, pseudo_count=3.0, anchor_ridge=10.0, shrinkage=None)
    assert by_rule.shrinkage.tolist() == pytest.approx([8 / 68, 8 / 38])
    for problem, share in enumerate((8 / 68, 8 / 38)):
        given = fit_prototypes(None, moments.of(problem), pseudo_count=3.0, anchor_ridge=10.0, shrinkage=share)
        torch.testing.assert_close(by_rule.covariance[problem], given.covariance[0])
        torch.testing.assert_close(by_rule.weight[problem], given.weight[0])


def test_moments__plus_weighted_others_and_of_one_problem():
    generator = torch.Generator().manual_seed(0)
    first, second = (
        Moments(*(torch.rand(3, *shape, generator=generator) for shape in ((2,), (2, 4), (4, 4)))) for _ in range(2)
    )
    together = first.plus(second, 0.25)
    for name in ("counts", "sums", "gram"):
        mine, theirs = getattr(first, name), getattr(second, name)
        torch.testing.assert_close(getattr(together, name), mine + theirs / 4)
        assert torch.equal(getattr(first.of(1), name), mine[1:2])


def test_fit_prototypes__fully_shrunk_problems_side_by_side_equal_problems_alone():
    rows, labels, text = task()
    keep = torch.ones(3, len(labels), dtype=torch.bool)
    keep[1, ::3] = keep[2, 1::3] = False
    settings = SETTINGS | {"shrinkage": 1.0}
    together = fit_prototypes(torch.tensor(text), moments_of(rows, labels, keep=keep), **settings)
    assert together.covariance.shape == (3, WIDTH, WIDTH)
    for b, chosen in enumerate(keep.numpy()):
        alone = fit(rows[chosen], labels[chosen], text, shrinkage=1.0)
        assert together.covariance[b].numpy() == pytest.approx(alone.covariance[0].numpy(), abs=1e-9)
        assert together.weight[b].numpy() == pytest.approx(alone.weight[0].numpy(), rel=1e-6)
