"""Rows of an unknown class come first, the threshold comes from labelled rows, streamed rows give the same."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.fast.inspecting.made import rows_of, training
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.progress import Silent
from ulfine_fast.inspecting.outliers import _best_share, find_outliers
from ulfine_fast.rows.training_data import load_training_data


@pytest.fixture(scope="module")
def mixed():
    """Five known classes; of the unlabelled rows the last fifteen are of a sixth."""
    features, labels = rows_of([14, 12, 10, 8, 6, 0])
    more, classes = rows_of([20, 16, 12, 10, 8, 15], seed=1)
    data = training(features, labels, 5, more)
    return find_outliers(data, 0, Silent()), classes == 5


def test_find_outliers__rows_of_an_unknown_class_come_first(mixed):
    found, foreign = mixed
    assert roc_auc_score(foreign, found.scores) > 0.98
    assert foreign[found.order()[:10]].all()


def test_find_outliers__suspects_most_foreign_and_few_known_rows(mixed):
    found, foreign = mixed
    assert found.suspected()[foreign].mean() > 0.5
    assert found.suspected()[~foreign].mean() < 0.2


def test_find_outliers__says_how_well_hidden_classes_are_told(mixed):
    found, _ = mixed
    assert found.separation is not None and 0.7 < found.separation <= 1
    assert 0 <= found.energy_share <= 1


def test_find_outliers__names_the_nearest_class():
    features, labels = rows_of([10, 10, 10])
    more, classes = rows_of([4, 4, 4], seed=1)
    assert find_outliers(training(features, labels, 3, more), 0, Silent()).classes.tolist() == classes.tolist()


def test_find_outliers__two_classes_are_too_few_to_hide_one():
    features, labels = rows_of([8, 8])
    more, _ = rows_of([5, 5], seed=1)
    found = find_outliers(training(features, labels, 2, more), 0, Silent())
    assert found.separation is None and found.energy_share == 0.5
    assert np.isfinite(found.scores).all()


def test_find_outliers__a_single_row_has_no_neighbours():
    features, labels = rows_of([8, 8, 8])
    found = find_outliers(training(features, labels, 3, features[:1]), 0, Silent())
    assert np.isfinite(found.scores).all()


def test_find_outliers__streamed_rows_give_the_same(text_cache):
    cache = FeatureCache.open(text_cache)
    split = cache.read_split("lt")
    whole = find_outliers(load_training_data(cache, split), 0, Silent())
    streamed = find_outliers(load_training_data(cache, split, streams=True), 0, Silent())
    assert streamed.scores == pytest.approx(whole.scores, abs=1e-4)


def test_best_share__takes_the_part_that_tells():
    rng = np.random.default_rng(0)
    known, hidden = rng.normal(size=(40, 2)), rng.normal(size=(40, 2))
    hidden[:, 0] += 4
    share, area = _best_share([(known, hidden)])
    assert share > 0.6 and area is not None and area > 0.9
    share, _ = _best_share([(known[:, ::-1], hidden[:, ::-1])])
    assert share < 0.4


def test_best_share__a_half_where_both_tell_the_same():
    parts = np.arange(10.0)[:, None].repeat(2, 1)
    assert _best_share([(parts[:5], parts[5:])]) == (0.5, 1.0)
