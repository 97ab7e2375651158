"""Which problem sees which rows, and the scale, the penalty and the precision that they are given."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from ulfine_fast.closed_form.fold_problems import FoldProblems, fold_problems
from ulfine_fast.closed_form.paf import fit_prototypes, labelled_moments
from ulfine_fast.closed_form.text_anchored_probe import fit_text_anchored_probes
from ulfine_fast.closed_form.ulfine_settings import UlfineSettings
from ulfine_fast.rows.training_data import TrainingData, make_training_data

N_CLASSES, WIDTH = 3, 6
COUNTS = (20, 8, 4)


def task(counts: tuple[int, ...] = COUNTS, *, text: bool = True) -> TrainingData:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(N_CLASSES, WIDTH))
    labels = np.repeat(np.arange(N_CLASSES), counts)
    return make_training_data(
        features=centres[labels] + generator.normal(size=(len(labels), WIDTH)),
        labels=labels,
        unlabelled=np.empty((0, WIDTH)),
        text=centres + generator.normal(size=centres.shape) if text else None,
        class_names=("ash", "birch", "cedar"),
    )


def problems_of(data: TrainingData, **settings: object) -> FoldProblems:
    config = UlfineSettings.model_validate(settings)
    return fold_problems(data, config, WIDTH, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("folds", [2, 5])
def test_fold_problems__the_first_sees_all_rows_and_each_other_all_but_its_fold(folds):
    data = task()
    problems = problems_of(data, folds=folds)
    assert len(problems.labelled.counts) == len(problems.probes) == 1 + folds
    assert problems.keep[0].all()
    assert (~problems.keep[1:]).sum(0).tolist() == [1] * sum(COUNTS)
    for b in range(1 + folds):
        seen = problems.keep[b]
        hot = torch.nn.functional.one_hot(data.labels[seen], N_CLASSES).float()
        assert torch.equal(problems.labelled.counts[b], hot.sum(0))
        assert problems.labelled.sums[b].numpy() == pytest.approx((hot.T @ data.features[seen]).numpy(), abs=1e-5)


@pytest.mark.parametrize(("n_rows", "left_out"), [(1200, 5), (1260, 4), (3000, 2), (4992, 2), (5000, 1)])
def test_fold_problems__leave_out_folds_until_a_thousand_rows_are(n_rows, left_out):
    """As docs/method.md says: with many labelled rows, as many of the five folds as leave 1,000 rows out."""
    problems = problems_of(task((n_rows // 2, n_rows // 4, n_rows // 4)))
    assert len(problems.keep) == 1 + left_out


def test_fold_problems__text_is_scaled_to_be_calibrated_on_the_labelled_rows():
    """The most probable multiple of the cosines under a normal prior of its logarithm around 10, deviation 2."""
    data = task()
    assert data.text is not None
    cosines = (data.features @ data.text.T).double().numpy()
    labels = data.labels.numpy()
    weights = 1 / np.array(COUNTS)[labels]
    weights *= weights.sum() / (weights**2).sum()

    def negative_posterior(log_scale: float) -> float:
        losses = -log_softmax(np.exp(log_scale) * cosines, axis=1)[np.arange(len(labels)), labels]
        return weights @ losses + 0.5 * ((log_scale - np.log(10)) / 2) ** 2

    expected = np.exp(minimize_scalar(negative_posterior, bounds=(-5, 8), options={"xatol": 1e-9}).x)
    text = problems_of(data).text
    assert text is not None
    assert text.norm(dim=1).numpy() == pytest.approx(np.full(N_CLASSES, expected), rel=1e-3)
    assert torch.nn.functional.normalize(text, dim=1).numpy() == pytest.approx(data.text.numpy(), abs=1e-6)


@pytest.mark.parametrize("with_text", [True, False])
@pytest.mark.parametrize(("adjusted", "tau", "expected"), [(True, 1.0, 1.0), (True, 0.5, 0.5), (False, 1.0, 0.0)])
def test_fold_problems__probes_start_at_the_text_with_a_penalty_shared_by_all_rows(with_text, adjusted, tau, expected):
    data = task(text=with_text)
    problems = problems_of(data, probe_penalty=6.0, logit_adjustment=adjusted, tau=tau)
    anchor = torch.zeros(N_CLASSES, WIDTH) if problems.text is None else problems.text
    probes = fit_text_anchored_probes(data.features, data.labels, anchor, problems.keep, penalty=6.0 / 32, tau=expected)
    assert torch.equal(problems.probes, probes)


@pytest.mark.parametrize(
    ("shrinkage", "dtype"),
    [(None, torch.float32), (0.5, torch.float32), (0.1, torch.float32), (0.09, torch.float64), (1e-3, torch.float64)],
)
def test_fold_problems__a_covariance_shrunk_by_less_than_a_tenth_is_inverted_in_double_precision(shrinkage, dtype):
    assert problems_of(task(), shrinkage=shrinkage).labelled.gram.dtype == dtype


@pytest.mark.parametrize("with_text", [True, False])
def test_fit_prototypes__with_the_settings_of_the_method(with_text):
    data = task(text=with_text)
    problems = problems_of(data, pseudo_count=2.0, anchor_ridge=4.0)
    found = problems.fit_prototypes(problems.labelled, 0.3)
    moments = labelled_moments(data.features, data.labels, N_CLASSES, problems.keep)
    text = None if data.text is None else data.text.double()
    expected = fit_prototypes(text, moments, pseudo_count=2.0, anchor_ridge=4.0, shrinkage=0.3)
    assert found.means.numpy() == pytest.approx(expected.means.numpy(), abs=1e-5)
    assert found.covariance.numpy() == pytest.approx(expected.covariance.numpy(), abs=1e-5)


def test_fit_prototypes__without_paf_images_do_not_move_them():
    problems = problems_of(task(), paf=False)
    found = problems.fit_prototypes(problems.labelled, 0.3)
    assert found.means.numpy() == pytest.approx(found.anchors.numpy(), abs=1e-6)


def test_fold_problems__where_a_class_has_no_label_each_fold_leaves_out_a_class_too():
    data = task((20, 8, 0))
    problems = problems_of(data)
    kept = torch.stack([torch.bincount(data.labels[seen], minlength=N_CLASSES) for seen in problems.keep])
    assert kept[0].tolist() == [20, 8, 0]
    assert sorted((counts == 0).tolist() for counts in kept[1:])[0] == [False, True, True]
    assert {int((counts == 0).sum()) for counts in kept[1:]} == {2}
    # A class that a problem has no row of keeps its text as its probe.
    assert problems.text is not None
    for counts, probe in zip(kept, problems.probes, strict=True):
        assert torch.equal(probe[counts == 0], problems.text[counts == 0])
