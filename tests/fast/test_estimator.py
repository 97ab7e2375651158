import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils.estimator_checks import parametrize_with_checks

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_fast.estimator import ULFineClassifier
from ulfine_fast.fitting import fit
from ulfine_fast.run import load_run

CLASSES = ("ash", "birch", "cedar", "date palm", "elm", "fig")

EXPECTED = {"check_classifiers_classes": "-1 means unlabelled, as in sklearn.semi_supervised, so it cannot be a class"}


@parametrize_with_checks([ULFineClassifier("zero-shot"), ULFineClassifier()], expected_failed_checks=lambda _: EXPECTED)
def test_estimator__passes_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture
def partly(clusters):
    """Features, integer labels with -1 for two thirds, the truth, and text."""
    features, truth, text = clusters(30)
    labels = np.where(np.arange(len(truth)) % 3 == 0, truth, -1)
    return features, labels, truth, text


def test_fit__is_the_same_path_as_the_command(text_cache, tmp_path):
    cache = FeatureCache.open(text_cache)
    split = cache.read_split("lt")
    run = fit(cache=text_cache, out=tmp_path / "run", split="lt", method="zero-shot", device="cpu")
    rows = np.concatenate([split.labelled, split.unlabelled])
    labels = np.concatenate([cache.labels[split.labelled], np.full(len(split.unlabelled), -1)])
    estimator = ULFineClassifier("zero-shot", device="cpu").fit(cache.features(rows), labels, cache.text_features)
    test = cache.features(split.test)
    assert estimator.predict_proba(test) == pytest.approx(run.predict_proba(test), abs=1e-6)


def test_fit__unlabelled_rows_are_not_a_class(partly):
    features, labels, truth, text = partly
    estimator = ULFineClassifier("zero-shot").fit(features, labels, text_features=text)
    assert estimator.classes_.tolist() == [0, 1, 2, 3, 4, 5]
    assert estimator.n_features_in_ == 16
    assert (estimator.predict(features) == truth).mean() > 0.7


@pytest.mark.parametrize("kind", ["object", "string"])
def test_fit__string_labels(partly, kind):
    features, labels, truth, _ = partly
    named = [CLASSES[label] if label >= 0 else -1 for label in labels]
    y = np.array(named, dtype=object) if kind == "object" else np.array([str(name) for name in named])
    estimator = ULFineClassifier("zero-shot").fit(features, y)
    assert estimator.classes_.tolist() == sorted(CLASSES)
    assert (estimator.predict(features) == np.array(CLASSES)[truth]).mean() > 0.7


def test_predict_proba__and_decision_function_agree(partly):
    features, labels, _, _ = partly
    estimator = ULFineClassifier("zero-shot").fit(features, labels)
    logits, probabilities = estimator.decision_function(features), estimator.predict_proba(features)
    assert logits.shape == probabilities.shape == (180, 6)
    assert probabilities.sum(1) == pytest.approx(np.ones(180), abs=1e-12)
    assert np.log(probabilities[:, 1] / probabilities[:, 0]) == pytest.approx(logits[:, 1] - logits[:, 0], abs=1e-6)
    two = ULFineClassifier("zero-shot").fit(features[:60], np.repeat(["a", "b"], 30))
    assert ((two.decision_function(features) > 0) == (two.predict(features) == "b")).all()


def test_estimator__in_scikit_learns_tools(partly):
    features, _, truth, _ = partly
    pipeline = make_pipeline(Normalizer(), ULFineClassifier("zero-shot"))
    assert cross_val_score(pipeline, features, truth, cv=3, scoring="balanced_accuracy").mean() > 0.7
    search = GridSearchCV(
        ULFineClassifier("zero-shot"), {"settings": [{"scale": 1.0}, {"scale": 50.0}]}, cv=3, scoring="neg_log_loss"
    )
    assert search.fit(features, truth).best_params_ in ({"settings": {"scale": 1.0}}, {"settings": {"scale": 50.0}})
    assert clone(search.best_estimator_).get_params() == search.best_estimator_.get_params()


def test_estimator__pickles(partly):
    features, labels, _, _ = partly
    estimator = ULFineClassifier("zero-shot").fit(features, labels)
    again = pickle.loads(pickle.dumps(estimator))
    assert np.array_equal(again.predict_proba(features), estimator.predict_proba(features))


@pytest.mark.parametrize("names", [None, CLASSES, tuple(range(10, 16))])
def test_save__and_load(partly, tmp_path, names):
    features, labels, _, _ = partly
    y = labels if names is None else np.array([names[k] if k >= 0 else -1 for k in labels], dtype=object)
    if names is not None and not isinstance(names[0], str):
        y = y.astype(int)
    estimator = ULFineClassifier("zero-shot", settings={"scale": 20.0}, random_state=3).fit(features, y)
    estimator.save(tmp_path / "run")
    loaded = ULFineClassifier.load(tmp_path / "run")
    assert np.array_equal(loaded.predict(features), estimator.predict(features))
    assert loaded.classes_.dtype == estimator.classes_.dtype
    assert loaded.get_params() == estimator.get_params()
    run = load_run(tmp_path / "run")
    assert run.predict_proba(features) == pytest.approx(estimator.predict_proba(features), abs=1e-6)
    assert run.class_names == tuple(str(name) for name in estimator.classes_)
    with pytest.raises(UlfineError, match="--overwrite"):
        estimator.save(tmp_path / "run")
    estimator.save(tmp_path / "run", overwrite=True)


def test_load__a_run_of_the_command(text_cache, tmp_path):
    fit(cache=text_cache, out=tmp_path / "run", split="lt", method="zero-shot")
    loaded = ULFineClassifier.load(tmp_path / "run")
    assert loaded.predict(np.ones((1, 16)))[0] in CLASSES


def test_fit__mistakes(partly):
    features, labels, _, text = partly
    with pytest.raises(UsageError, match="unknown method 'magic'"):
        ULFineClassifier("magic").fit(features, labels)
    with pytest.raises(UsageError, match="unknown setting 'speed'"):
        ULFineClassifier("zero-shot", settings={"speed": 1}).fit(features, labels)
    with pytest.raises(ValueError, match=r"text_features has shape \(6, 3\), expected \(6, 16\)"):
        ULFineClassifier("zero-shot").fit(features, labels, text_features=text[:, :3])
    with pytest.raises(ValueError, match="only one class is present"):
        ULFineClassifier("zero-shot").fit(features, np.where(labels > 0, -1, labels))
    with pytest.raises(ValueError, match="NaN"):
        ULFineClassifier("zero-shot").fit(np.full_like(features, np.nan), labels)
