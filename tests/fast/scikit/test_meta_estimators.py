"""Meta-estimators with unlabelled rows beside y: as accurate as the estimator that has them in y."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import StratifiedKFold, cross_val_predict, cross_val_score
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from ulfine_fast import LabelledKFold, ULFineClassifier, out_of_fold_probabilities, set_aside_unlabelled

POINT = 0.01

METAS = {
    "voting": lambda inner: VotingClassifier([("a", inner), ("b", inner)], voting="soft"),
    "stacking": lambda inner: StackingClassifier([("a", inner)], cv=3),
    "bagging": lambda inner: BaggingClassifier(inner, 5, random_state=0),
    "calibrated": lambda inner: CalibratedClassifierCV(inner, cv=3),
    "calibrated once": lambda inner: CalibratedClassifierCV(inner, cv=3, ensemble=False),
    "one against the rest": OneVsRestClassifier,
}
LESS = {"one against the rest": 0.02}
"""What parts the classes costs more than a point: of a class against all others neither has a Gaussian's shape."""


@dataclass(frozen=True)
class Task:
    """Rows with a few labels in y, the same parted, and rows to judge on."""

    X: np.ndarray
    y: np.ndarray
    labelled: np.ndarray
    labels: np.ndarray
    unlabelled: np.ndarray
    X_test: np.ndarray
    truth: np.ndarray
    accuracy: float

    @classmethod
    def of(cls, X, truth, X_test, truth_test, per_class):
        generator = np.random.default_rng(0)
        known = [generator.permutation(np.flatnonzero(truth == k))[:per_class] for k in np.unique(truth)]
        y = np.where(np.isin(np.arange(len(X)), np.concatenate(known)), truth, "-1")
        plain = ULFineClassifier().fit(X, y)
        return cls(X, y, *set_aside_unlabelled(X, y), X_test, truth_test, plain.score(X_test, truth_test))

    def classifier(self, method="ulfine"):
        return ULFineClassifier(method, unlabelled=self.unlabelled)


@pytest.fixture(scope="module")
def synthetic():
    generator = np.random.default_rng(0)
    centres, names = generator.normal(size=(6, 16)), np.array(["ash", "birch", "cedar", "elm", "fig", "oak"])
    labels, tested = np.repeat(np.arange(6), 60), np.repeat(np.arange(6), 100)
    X, X_test = (centres[rows] + 0.7 * generator.normal(size=(len(rows), 16)) for rows in (labels, tested))
    return Task.of(X, names[labels], X_test, names[tested], 20)


@pytest.fixture(scope="module")
def photographs(shared_data):
    """Features of aerial photographs, 14 of each of 19 classes to judge on."""
    with np.load(shared_data / "clip-features" / "whurs19_vit-b-32.npz") as file:
        X, names = file["image_features"].astype(np.float32), file["class_names"].astype(str)[file["labels"]]
    generator = np.random.default_rng(0)
    test = np.isin(
        np.arange(len(X)),
        np.concatenate([generator.permutation(np.flatnonzero(names == name))[:14] for name in np.unique(names)]),
    )
    return Task.of(X[~test], names[~test], X[test], names[test], 10)


def test_unlabelled__beside_y_is_the_same_as_in_y(synthetic):
    task = synthetic
    inside = ULFineClassifier().fit(task.X, task.y)
    for beside in (
        task.classifier().fit(task.labelled, task.labels),
        ULFineClassifier().fit(task.labelled, task.labels, X_unlabelled=task.unlabelled),
        clone(task.classifier()).fit(task.labelled, task.labels),
        ULFineClassifier(unlabelled=task.unlabelled[:50]).fit(task.labelled, task.labels, None, task.unlabelled[50:]),
    ):
        assert np.array_equal(beside.decision_function(task.X_test), inside.decision_function(task.X_test))
    without = ULFineClassifier().fit(task.labelled, task.labels)
    assert not np.array_equal(without.decision_function(task.X_test), inside.decision_function(task.X_test))


@pytest.mark.parametrize("meta", METAS)
def test_meta_estimators__are_within_a_point(synthetic, meta):
    fitted = METAS[meta](synthetic.classifier()).fit(synthetic.labelled, synthetic.labels)
    assert sorted(fitted.classes_) == sorted(set(synthetic.truth))
    assert fitted.score(synthetic.X_test, synthetic.truth) >= synthetic.accuracy - LESS.get(meta, POINT)


@pytest.mark.parametrize("meta", list(METAS))
def test_meta_estimators__are_within_a_point_on_photographs(photographs, meta):
    fitted = METAS[meta](photographs.classifier()).fit(photographs.labelled, photographs.labels)
    assert fitted.score(photographs.X_test, photographs.truth) >= photographs.accuracy - LESS.get(meta, POINT)


def test_cross_validation__of_classes_alone(synthetic):
    task, folds = synthetic, StratifiedKFold(3)
    probabilities = cross_val_predict(task.classifier(), task.labelled, task.labels, cv=folds, method="predict_proba")
    assert probabilities.shape == (len(task.labels), 6)
    assert (np.unique(task.labels)[probabilities.argmax(1)] == task.labels).mean() >= task.accuracy - POINT
    losses = -cross_val_score(task.classifier(), task.labelled, task.labels, cv=folds, scoring="neg_log_loss")
    assert (losses < 0.3).all()  # log 6 = 1.79 is guessing
    accuracies = cross_val_score(task.classifier(), task.labelled, task.labels, cv=folds)
    assert accuracies.mean() >= task.accuracy - POINT


def test_permutation_importance__finds_the_columns_that_matter(synthetic):
    # Of two parts with little noise the first has all that tells the classes apart.
    noise = 0.1 * np.random.default_rng(1).normal(size=(2, 600, 2))
    X, X_test = (
        np.hstack([rows, noise[place, : len(rows)]]) for place, rows in enumerate((synthetic.X, synthetic.X_test))
    )
    X, y, unlabelled = set_aside_unlabelled(X, synthetic.y)
    fitted = ULFineClassifier(unlabelled=unlabelled).fit(X, y)
    assert fitted.score(X_test, synthetic.truth) >= synthetic.accuracy - POINT
    found = permutation_importance(fitted, X_test, synthetic.truth, n_repeats=2, random_state=0).importances_mean
    assert found[:16].max() > 0.02 > abs(found[16:]).max() + 0.01


def test_cleanlab__finds_labels_that_were_exchanged(synthetic):
    filters = pytest.importorskip("cleanlab.filter")
    from cleanlab.classification import CleanLearning

    wrong = np.flatnonzero(synthetic.y != "-1")[[3, 40, 77]]
    y = synthetic.y.copy()
    y[wrong] = np.where(y[wrong] == "ash", "birch", "ash")
    found = out_of_fold_probabilities(ULFineClassifier(), synthetic.X, y)
    issues = found.rows[filters.find_label_issues(found.labels, found.probabilities)]
    # Not each of them is surprising enough to be called an issue.
    assert len(set(wrong) & set(issues)) >= 2 and len(issues) <= 6
    X, labels, unlabelled = set_aside_unlabelled(synthetic.X, y)
    classes, codes = np.unique(labels, return_inverse=True)
    cleaned = CleanLearning(ULFineClassifier(unlabelled=unlabelled), seed=0).fit(X, codes)
    assert (classes[cleaned.predict(synthetic.X_test)] == synthetic.truth).mean() >= synthetic.accuracy - POINT


@pytest.mark.parametrize("sampler", ["RandomOverSampler", "SMOTE", "RandomUnderSampler"])
def test_imbalanced_learn__samplers(synthetic, sampler):
    imblearn = pytest.importorskip("imblearn")
    from imblearn.pipeline import make_pipeline

    step = getattr(imblearn.over_sampling if "Under" not in sampler else imblearn.under_sampling, sampler)
    pipeline = make_pipeline(step(random_state=0), synthetic.classifier())
    # A long tail: from 20 labels down to 10.
    kept = np.concatenate(
        [np.flatnonzero(synthetic.labels == name)[: 20 - 2 * k] for k, name in enumerate(np.unique(synthetic.labels))]
    )
    plain = synthetic.classifier().fit(synthetic.labelled[kept], synthetic.labels[kept])
    fitted = pipeline.fit(synthetic.labelled[kept], synthetic.labels[kept])
    expected = plain.score(synthetic.X_test, synthetic.truth) - POINT
    assert fitted.score(synthetic.X_test, synthetic.truth) >= expected


def test_imbalanced_learn__balanced_bagging(synthetic):
    pytest.importorskip("imblearn")
    from imblearn.ensemble import BalancedBaggingClassifier

    bagging = BalancedBaggingClassifier(synthetic.classifier(), n_estimators=3, random_state=0)
    fitted = bagging.fit(synthetic.labelled, synthetic.labels)
    assert fitted.score(synthetic.X_test, synthetic.truth) >= synthetic.accuracy - POINT
    with pytest.raises(ValueError, match="BalancedBaggingClassifier takes the unlabelled rows of y for a class"):
        clone(bagging).set_params(estimator=ULFineClassifier("zero-shot")).fit(synthetic.X, synthetic.y)


@pytest.mark.parametrize("numbers", [False, True])
@pytest.mark.parametrize(
    "meta", [*METAS.values(), OneVsOneClassifier, OutputCodeClassifier], ids=[*METAS, "one against one", "output code"]
)
def test_fit__refuses_a_class_that_was_made_of_minus_one(synthetic, meta, numbers):
    names, codes = np.unique(synthetic.y, return_inverse=True)
    assert names[0] == "-1"
    y = codes - 1 if numbers else synthetic.y
    with pytest.raises(
        ValueError, match=r"takes the unlabelled rows of y for a class of their own.*set_aside_unlabelled"
    ):
        meta(ULFineClassifier("zero-shot")).fit(synthetic.X, y)


def test_fit__refuses_a_class_that_cross_val_predict_made_of_minus_one(synthetic):
    with pytest.raises(ValueError, match="cross_val_predict takes the unlabelled rows"):
        cross_val_predict(ULFineClassifier("zero-shot"), synthetic.X, synthetic.y, cv=3, method="predict_proba")
    # Predictions are not renumbered, and whoever scores must leave -1 out.
    assert len(cross_val_predict(ULFineClassifier("zero-shot"), synthetic.X, synthetic.y, cv=3)) == len(synthetic.y)


def test_fit__hints_at_minus_one_where_text_tells(synthetic):
    renumbered = np.unique(synthetic.y, return_inverse=True)[1]
    with pytest.raises(ValueError, match=r"expected \(7, 16\).*If a meta-estimator renumbered y, one class is -1"):
        ULFineClassifier().fit(synthetic.X, renumbered, text_features=np.eye(6, 16))


@pytest.mark.parametrize("folds", [StratifiedKFold(3), LabelledKFold(3)], ids=["stratified", "labelled"])
def test_routing__through_a_pipeline_and_cross_validation(synthetic, folds):
    task = synthetic
    expected = cross_val_score(make_pipeline(Normalizer(), task.classifier()), task.labelled, task.labels, cv=folds)
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = ULFineClassifier().set_fit_request(X_unlabelled=True)
        pipeline = make_pipeline(Normalizer(), classifier, transform_input=["X_unlabelled"])
        params = {"X_unlabelled": task.unlabelled}
        scores = cross_val_score(pipeline, task.labelled, task.labels, cv=folds, params=params)
        voting = VotingClassifier([("a", classifier)]).fit(task.labelled, task.labels, X_unlabelled=task.unlabelled)
    assert scores == pytest.approx(expected)
    assert voting.score(task.X_test, task.truth) == task.accuracy


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((3, 5)), "unlabelled has 5 features, X has 16"),
        (np.full((3, 16), np.nan), "Input unlabelled contains NaN"),
        (np.zeros((3, 16)), "the rows of unlabelled have a length outside .* first in row 0"),
        (np.ones(16), "Expected 2D array"),
        (pd.DataFrame(np.ones((3, 16))).add_prefix("g"), "unlabelled has other columns than X"),
    ],
    ids=["width", "nan", "zeros", "one row", "columns"],
)
def test_unlabelled__what_is_refused(synthetic, rows, message):
    X = pd.DataFrame(synthetic.labelled).add_prefix("f")
    with pytest.raises(ValueError, match=message):
        ULFineClassifier("zero-shot", unlabelled=rows).fit(X, synthetic.labels)


def test_unlabelled__frames_and_no_rows(synthetic):
    X, unlabelled = (pd.DataFrame(rows).add_prefix("f") for rows in (synthetic.labelled, synthetic.unlabelled))
    expected = synthetic.classifier("gda").fit(synthetic.labelled, synthetic.labels).predict(synthetic.X_test)
    fitted = ULFineClassifier("gda", unlabelled=unlabelled).fit(X, synthetic.labels)
    assert (fitted.predict(pd.DataFrame(synthetic.X_test, columns=X.columns)) == expected).all()
    # Meta-estimators may make arrays of frames.
    ULFineClassifier("gda", unlabelled=unlabelled).fit(X.to_numpy(), synthetic.labels)
    ULFineClassifier("gda", unlabelled=synthetic.unlabelled[:0]).fit(X, synthetic.labels)


def test_unlabelled__is_short_in_the_repr(synthetic):
    assert len(repr(synthetic.classifier())) < 1000
