import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from ulfine_fast import LabelledKFold, ULFineClassifier, out_of_fold_probabilities, set_aside_unlabelled


@pytest.fixture
def partly(clusters):
    features, truth, text = clusters(20)
    return features, np.where(np.arange(120) % 3 == 0, np.array(list("abcdef"))[truth], "-1"), text


def test_out_of_fold__each_row_is_answered_by_the_fit_that_did_not_see_it(partly):
    X, y, text = partly
    found = out_of_fold_probabilities(ULFineClassifier("gda"), X, y, n_splits=3, random_state=5, text_features=text)
    assert found.rows.tolist() == np.flatnonzero(y != "-1").tolist()
    assert found.classes[found.labels].tolist() == y[found.rows].tolist()
    for train, test in LabelledKFold(3, random_state=5).split(X, y):
        expected = ULFineClassifier("gda").fit(X[train], y[train], text_features=text).predict_proba(X[test])
        assert np.array_equal(found.probabilities[np.searchsorted(found.rows, test)], expected)


def test_out_of_fold__containers_pipelines_and_rows_beside_y(partly):
    X, y, _ = partly
    expected = out_of_fold_probabilities(ULFineClassifier("gda"), X, y)
    missing = [None if label == "-1" else label for label in y]
    for frame, labels in (
        (pd.DataFrame(X).add_prefix("f"), pd.Series(missing, index=range(7, 127))),
        (pl.DataFrame(X), pl.Series(missing)),
        (X, missing),
        (X, pd.DataFrame({"y": missing})),
    ):
        found = out_of_fold_probabilities(make_pipeline(Normalizer(), ULFineClassifier("gda")), frame, labels)
        assert found.rows.tolist() == expected.rows.tolist()
        assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-4)
    labelled, labels, unlabelled = set_aside_unlabelled(X, y)
    beside = out_of_fold_probabilities(ULFineClassifier("gda", unlabelled=unlabelled), labelled, labels)
    assert beside.rows.tolist() == list(range(40))
    assert beside.probabilities == pytest.approx(expected.probabilities, abs=1e-9)


def test_out_of_fold__a_classes_only_row_stays_in_training(partly):
    X, y, _ = partly
    y = y.copy()
    only, *others = np.flatnonzero(y == "c")
    y[others] = "-1"
    found = out_of_fold_probabilities(ULFineClassifier("zero-shot"), X, y, n_splits=2)
    assert only not in found.rows and "c" in found.classes
    assert found.probabilities.shape == ((y != "-1").sum() - 1, 6)


def test_out_of_fold__lengths_that_differ(partly):
    X, y, _ = partly
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        out_of_fold_probabilities(ULFineClassifier(), X, y[:-1])
