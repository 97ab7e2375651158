import pickle
import pickletools

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import sklearn
import skops.io
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils.estimator_checks import check_methods_subset_invariance, parametrize_with_checks

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_fast.estimator import ULFineClassifier
from ulfine_fast.fitting import fit
from ulfine_fast.registry import METHODS, get_method
from ulfine_fast.run import load_run
from ulfine_fast.scikit.labelled_folds import LabelledKFold

CLASSES = ("ash", "birch", "cedar", "date palm", "elm", "fig")

EXPECTED = {
    "check_classifiers_classes": "-1 means unlabelled, as in sklearn.semi_supervised, so it cannot be a class",
    "check_estimators_dtypes": "rows of zeros have no direction, and are refused here as everywhere",
}


def quick(method):
    """At most a few steps of gradient: the checks do not ask for more."""
    steps = get_method(method).settings.model_fields.get("steps")
    return ULFineClassifier(method, settings={"steps": 60} if steps is not None and steps.default > 60 else None)


@parametrize_with_checks([quick(method) for method in METHODS], expected_failed_checks=lambda _: EXPECTED)
def test_estimator__passes_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("method", METHODS)
def test_estimator__answers_a_row_the_same_whatever_comes_with_it(method):
    check_methods_subset_invariance("ULFineClassifier", ULFineClassifier(method))


@pytest.fixture
def partly(clusters):
    """Features, integer labels with -1 for two thirds, the truth, and text."""
    features, truth, text = clusters(30)
    labels = np.where(np.arange(len(truth)) % 3 == 0, truth, -1)
    return features, labels, truth, text


@pytest.mark.parametrize(
    ("method", "settings"),
    [("ulfine", {}), ("zero-shot", {}), ("lift", {"steps": 20}), ("fixmatch", {"steps": 20}), ("knn", {})],
)
def test_fit__is_the_same_path_as_the_command(text_cache, tmp_path, method, settings):
    cache = FeatureCache.open(text_cache)
    split = cache.read_split("lt")
    assignments = [f"{key}={value}" for key, value in settings.items()]
    run = fit(cache=text_cache, out=tmp_path / "run", split="lt", method=method, set=assignments, seed=4, device="cpu")
    # The rows of the cache in their order, as they lie in a table, without those to judge on.
    rows = np.sort(np.concatenate([split.labelled, split.unlabelled]))
    labels = np.where(np.isin(rows, split.labelled), cache.labels[rows], -1)
    estimator = ULFineClassifier(method, settings=settings, random_state=4, device="cpu")
    estimator.fit(cache.features(rows), labels, cache.text_features)
    ours, theirs = estimator.model_.state_dict(), run.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    test = cache.features(split.test)
    with torch.no_grad():
        logits = run.model(torch.as_tensor(test)).numpy()
    assert estimator.decision_function(test) == pytest.approx(logits, abs=1e-4)  # in double and in single precision
    written = pd.read_csv(tmp_path / "run" / "predictions.csv")
    assert estimator.predict_proba(test) == pytest.approx(written[cache.class_names].to_numpy(), abs=1e-6)


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


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("series", [pd.Series, pl.Series, list])
@pytest.mark.parametrize("missing", ["-1", None])
def test_fit__data_frames(partly, frame, series, missing):
    features, labels, _, text = partly
    columns = [f"f{number}" for number in range(features.shape[1])]
    X = frame({name: features[:, number] for number, name in enumerate(columns)})
    y = series([CLASSES[label] if label >= 0 else missing for label in labels])
    estimator = ULFineClassifier("lp-la", settings={"steps": 5}).fit(X, y, text_features=text)
    expected = ULFineClassifier("lp-la", settings={"steps": 5}).fit(features, labels, text_features=text)
    assert estimator.feature_names_in_.tolist() == columns
    assert estimator.classes_.tolist() == list(CLASSES)
    assert np.array_equal(estimator.decision_function(X), expected.decision_function(features))
    assert estimator.predict(X).tolist() == [CLASSES[label] for label in expected.predict(features)]
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.predict(X[columns[::-1]])


def test_score__leaves_unlabelled_rows_out(partly):
    features, labels, truth, _ = partly
    estimator = ULFineClassifier("zero-shot").fit(features, labels)
    hits = estimator.predict(features) == truth
    assert estimator.score(features, labels) == pytest.approx(hits[labels >= 0].mean())
    assert estimator.score(features, truth) == pytest.approx(hits.mean())
    weights = np.where(hits, 3.0, 1.0)
    expected = np.average(hits[labels >= 0], weights=weights[labels >= 0])
    assert estimator.score(features, labels, weights) == pytest.approx(expected)
    with pytest.raises(ValueError, match="no labelled row"):
        estimator.score(features, np.full(len(labels), -1))


def test_estimator__in_scikit_learns_tools(partly):
    features, labels, truth, text = partly
    pipeline = make_pipeline(Normalizer(), ULFineClassifier("zero-shot"))
    assert cross_val_score(pipeline, features, truth, cv=3, scoring="balanced_accuracy").mean() > 0.7
    assert cross_val_score(ULFineClassifier("zero-shot"), features, labels, cv=3).mean() > 0.7
    search = GridSearchCV(
        ULFineClassifier(),
        [
            {"method": ["zero-shot"], "settings": [{"scale": 1.0}, {"scale": 50.0}]},
            {"method": ["lp-la"], "settings": [{"steps": 5}]},
        ],
        cv=LabelledKFold(3),
        scoring="neg_log_loss",
    )
    search.fit(features, labels, text_features=text)
    assert len(search.cv_results_["params"]) == 3
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_ != {"method": "zero-shot", "settings": {"scale": 1.0}}
    assert clone(search.best_estimator_).get_params() == search.best_estimator_.get_params()
    assert search.predict(features).shape == truth.shape


@pytest.mark.parametrize("routing", [False, True])
def test_fit__text_features_through_a_pipeline_and_a_search(partly, routing):
    features, labels, _, text = partly
    # Text of another class each: whoever loses the argument on the way predicts otherwise.
    text = np.roll(text, 1, axis=0)
    expected = ULFineClassifier("zero-shot").fit(features, labels, text_features=text).predict(features)
    assert (ULFineClassifier("zero-shot").fit(features, labels).predict(features) != expected).any()
    with sklearn.config_context(enable_metadata_routing=routing):
        classifier = ULFineClassifier("zero-shot")
        if routing:
            classifier.set_fit_request(text_features=True)
        pipeline = make_pipeline(Normalizer(), classifier)
        name = "text_features" if routing else "ulfineclassifier__text_features"
        assert np.array_equal(pipeline.fit(features, labels, **{name: text}).predict(features), expected)
        grid = {"ulfineclassifier__settings": [{"scale": 1.0}, {"scale": 2.0}]}
        search = GridSearchCV(pipeline, grid, cv=LabelledKFold(2), scoring="accuracy")
        assert np.array_equal(search.fit(features, labels, **{name: text}).predict(features), expected)


@pytest.mark.parametrize("method", ["ulfine", "lift", "knn"])
def test_estimator__copies_hold_no_torch_object(partly, tmp_path, method):
    features, labels, _, _ = partly
    y = np.array([CLASSES[label] if label >= 0 else "-1" for label in labels])
    estimator = ULFineClassifier(method).fit(features, y)
    joblib.dump(estimator, tmp_path / "model.joblib")
    skops.io.dump(estimator, tmp_path / "model.skops")
    own = ["ulfine_fast.estimator.ULFineClassifier"]
    assert skops.io.get_untrusted_types(file=tmp_path / "model.skops") == own
    pickled = pickle.dumps(estimator)
    named = {str(argument) for _, argument, _ in pickletools.genops(pickled) if isinstance(argument, str)}
    assert "ulfine_fast.estimator" in named
    assert not any(name == "torch" or name.startswith("torch.") for name in named)
    for again in (
        pickle.loads(pickled),
        joblib.load(tmp_path / "model.joblib"),
        skops.io.load(tmp_path / "model.skops", trusted=own),
    ):
        assert np.array_equal(again.decision_function(features), estimator.decision_function(features))
        assert again.classes_.tolist() == list(CLASSES)
        again.save(tmp_path / "run", overwrite=True)
    # The one that was copied is as it was.
    assert isinstance(estimator.model_, torch.nn.Module)


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


def test_save__history_and_columns(partly, tmp_path):
    features, labels, _, _ = partly
    X = pd.DataFrame(features).rename(columns=str)
    estimator = ULFineClassifier("lift", settings={"steps": 40}).fit(X, labels)
    estimator.save(tmp_path / "run")
    assert pd.read_csv(tmp_path / "run" / "history.csv")["step"].tolist() == [20, 40]
    loaded = ULFineClassifier.load(tmp_path / "run")
    assert loaded.feature_names_in_.tolist() == list(X.columns)
    assert np.array_equal(loaded.decision_function(X), estimator.decision_function(X))


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
    with pytest.raises(ValueError, match="NaN"):
        ULFineClassifier("zero-shot").fit(features, np.where(labels < 0, np.nan, labels))
    with pytest.raises(ValueError, match=r"the rows of X have a length outside .* first in row 7 \(length 0\)"):
        ULFineClassifier("zero-shot").fit(np.where(np.arange(180)[:, None] == 7, 0, features), labels)
    with pytest.raises(ValueError, match=r"the rows of X have a length outside .* in 180 rows"):
        ULFineClassifier("zero-shot").fit(features * 1e20, labels)
    with pytest.raises(TypeError, match="Sparse data"):
        ULFineClassifier("zero-shot").fit(scipy.sparse.csr_array(features), labels)
    with pytest.raises(TypeError, match="sample_weight"):
        ULFineClassifier("zero-shot").fit(features, labels, sample_weight=np.ones(180))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("alike", ["all rows", "labelled rows", "two kinds"])
def test_fit__many_equal_rows(partly, method, alike):
    features, labels, _, text = partly
    kinds = {"all rows": 0 * labels, "labelled rows": np.where(labels < 0, np.arange(180), 0), "two kinds": labels % 2}
    X = features[kinds[alike]]
    for prototypes in (None, text):
        fitted = quick(method).fit(X, labels, text_features=prototypes)
        assert np.isfinite(fitted.predict_proba(X)).all()


@pytest.mark.parametrize(
    "y",
    [np.repeat([True, False], 90), np.repeat([0.0, 1.0], 90), pd.Series([True, None, False] * 60, dtype="boolean")],
    ids=["truth values", "floats", "nullable"],
)
def test_save__classes_of_every_type(partly, tmp_path, y):
    fitted = ULFineClassifier("zero-shot").fit(partly[0], y)
    fitted.save(tmp_path / "run")
    loaded = ULFineClassifier.load(tmp_path / "run")
    assert loaded.classes_.dtype == fitted.classes_.dtype
    assert np.array_equal(loaded.predict(partly[0]), fitted.predict(partly[0]))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, object])
def test_fit__precisions(partly, dtype):
    features, labels, _, _ = partly
    features = features.astype(np.float16)
    expected = ULFineClassifier("gda").fit(features.astype(np.float32), labels)
    fitted = ULFineClassifier("gda").fit(features.astype(dtype), labels)
    assert np.array_equal(fitted.decision_function(features.astype(dtype)), expected.decision_function(features))
