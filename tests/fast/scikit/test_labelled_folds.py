import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import cross_validate

from ulfine_fast.estimator import ULFineClassifier
from ulfine_fast.scikit.labelled_folds import LabelledKFold

LABELS = np.array(["a"] * 5 + ["b"] * 2 + ["c"] + ["-1"] * 4)


def test_split__tests_each_labelled_row_once_and_trains_on_all_unlabelled_ones():
    pairs = list(LabelledKFold(3).split(np.zeros((12, 2)), LABELS))
    assert len(pairs) == LabelledKFold(3).get_n_splits() == 3
    tested = np.concatenate([test for _, test in pairs])
    assert sorted(tested.tolist()) == [0, 1, 2, 3, 4, 5, 6]
    for train, test in pairs:
        assert sorted([*train, *test]) == list(range(12))
        assert set(range(8, 12)) <= set(train)
        # No class is lost, the one with a single row included.
        assert set(LABELS[train]) == {"a", "b", "c", "-1"}
        assert 2 <= len(test) <= 3


def test_split__seed_and_containers():
    X = np.zeros((12, 2))
    first, again, other = (
        [test.tolist() for _, test in LabelledKFold(2, random_state=seed).split(X, LABELS)] for seed in (0, 0, 1)
    )
    assert first == again != other
    missing = pd.Series([None if label == "-1" else label for label in LABELS])
    assert [test.tolist() for _, test in LabelledKFold(2).split(X, missing)] == first


@pytest.mark.parametrize(("n_splits", "words"), [(1, "at least 2"), (8, "7 labelled rows can be left out")])
def test_split__too_few(n_splits, words):
    with pytest.raises(ValueError, match=words):
        next(LabelledKFold(n_splits).split(np.zeros((12, 2)), LABELS))


def test_cross_validate__scores_known_labels_alone(clusters):
    features, truth, text = clusters(20)
    y = np.where(np.arange(len(truth)) % 4 == 0, truth, -1)
    found = cross_validate(
        ULFineClassifier("zero-shot"),
        features,
        y,
        cv=LabelledKFold(3),
        scoring="accuracy",
        params={"text_features": text},
        return_indices=True,
    )
    rows = np.sort(np.concatenate(found["indices"]["test"]))
    assert rows.tolist() == np.flatnonzero(y >= 0).tolist()
    model = ULFineClassifier("zero-shot").fit(features, y, text_features=text)
    # Text alone decides, whichever rows train.
    hits = model.predict(features[rows]) == truth[rows]
    assert found["test_score"].mean() == pytest.approx(np.mean(hits))
