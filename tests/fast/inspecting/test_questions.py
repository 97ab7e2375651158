"""What each question says of a cache, and what it does not look at."""

import numpy as np
import pytest

from tests.fast.inspecting.made import rows_of
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.progress import Silent
from ulfine_fast.inspecting.questions import Asked, ask

EVERY = ("duplicates", "label-errors", "outliers", "next-to-label")


def asked_of(cache: FeatureCache, split: str | None = "lt") -> Asked:
    return Asked(cache, cache.read_split(split), None, 10, 0, Silent())


@pytest.mark.parametrize("what", EVERY)
def test_ask__the_truth_of_unlabelled_and_test_rows_has_no_part(what, opened):
    first = ask(what, asked_of(opened))
    split = opened.read_split("lt")
    hidden = np.setdiff1d(np.arange(opened.n_rows), split.labelled)
    # The labels are written over before the cache is asked again.
    opened.labels[hidden] = (opened.labels[hidden] + 1) % opened.n_classes
    again = ask(what, Asked(opened, split, None, 10, 0, Silent()))
    assert first.lines == again.lines
    assert [item.row for item in first.findings] == [item.row for item in again.findings]
    assert [item.suggestion for item in first.findings] == [item.suggestion for item in again.findings]


@pytest.mark.parametrize("what", EVERY)
def test_ask__findings_have_the_columns_that_are_named(what, opened):
    found = ask(what, asked_of(opened))
    assert all(set(item.others) == set(found.columns) for item in found.findings)


def test_ask__every_unlabelled_row_is_scored_and_only_these(opened):
    found = ask("outliers", asked_of(opened))
    assert sorted(item.row for item in found.findings) == opened.read_split("lt").unlabelled.tolist()
    assert found.figures["suspected"] == sum(item.suspected for item in found.findings)


def test_ask__as_many_are_named_next_as_asked_for(opened):
    found = ask("next-to-label", asked_of(opened))
    assert len(found.findings) == 10
    assert [item.others["rank"] for item in found.findings] == list(range(1, 11))


@pytest.mark.parametrize("what", ["outliers", "next-to-label"])
def test_ask__says_that_nothing_is_unlabelled(what, make_cache):
    features, labels = rows_of([5, 5])
    cache = FeatureCache.open(make_cache("labelled", features=features, labels=labels))
    with pytest.raises(UlfineError, match="has no unlabelled rows"):
        ask(what, asked_of(cache, None))


def test_ask__two_labels_of_one_picture_are_named(make_cache):
    features, labels = rows_of([20, 20])
    features[25] = features[3]
    cache = FeatureCache.open(make_cache("twice", features=features, labels=labels, class_names=["cat", "dog"]))
    pair = ask("duplicates", asked_of(cache, None)).findings[0]
    assert (pair.row, pair.beside) == (3, 25)
    assert pair.suggestion == "two labels: cat or dog"
    assert pair.others["kind"] == "exact"
