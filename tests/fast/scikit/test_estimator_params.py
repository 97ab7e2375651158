import numpy as np
import pytest
from scipy.stats import loguniform, randint
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from ulfine_cache.errors import UsageError
from ulfine_fast import LabelledKFold, ULFineClassifier


@pytest.fixture
def partly(clusters):
    features, truth, _ = clusters(10)
    return features, np.where(np.arange(60) % 2 == 0, truth, -1)


def test_params__are_the_settings_of_the_method():
    classifier = ULFineClassifier("knn", settings={"folds": 3})
    params = classifier.get_params()
    assert (params["settings__folds"], params["settings__temperature"]) == (3, 0.07)
    assert not any("__" in name for name in classifier.get_params(deep=False))
    assert "settings__scale" in ULFineClassifier("zero-shot").get_params()
    # What `fit` refuses must still be shown.
    assert ULFineClassifier("magic", settings=3).get_params()["settings"] == 3


def test_set_params__leaves_other_settings_and_the_callers_dictionary():
    given = {"folds": 3}
    classifier = ULFineClassifier("knn", settings=given).set_params(settings__temperature=0.1)
    assert classifier.settings == {"folds": 3, "temperature": 0.1}
    assert given == {"folds": 3}
    copied = clone(classifier).set_params(settings__folds=4)
    assert (classifier.settings["folds"], copied.settings["folds"]) == (3, 4)
    # The settings are those of the method that is set along with them.
    assert ULFineClassifier().set_params(settings__scale=2.0, method="zero-shot").settings == {"scale": 2.0}
    assert ULFineClassifier("knn").set_params(settings__folds=4, settings={"temperature": 1.0}).settings == {
        "temperature": 1.0,
        "folds": 4,
    }
    with pytest.raises(ValueError, match="Invalid parameter 'settings__speed' for method knn: its settings are nei"):
        classifier.set_params(settings__speed=1)


def test_search__over_single_settings(partly):
    grid = [
        {"method": ["zero-shot"], "settings__scale": np.array([1, 50])},
        {"method": ["knn"], "settings__folds": np.arange(2, 4), "settings__neighbours": [(1,), np.array([1, 3])]},
    ]
    search = GridSearchCV(ULFineClassifier(), grid, cv=LabelledKFold(2), scoring="neg_log_loss", error_score="raise")
    search.fit(*partly)
    assert len(search.cv_results_["params"]) == 6
    scales = search.cv_results_["mean_test_score"][:2]
    assert scales[0] != scales[1]
    pipeline = make_pipeline(Normalizer(), ULFineClassifier("zero-shot"))
    inside = GridSearchCV(pipeline, {"ulfineclassifier__settings__scale": [1.0, 50.0]}, cv=LabelledKFold(2))
    inside.set_params(scoring="neg_log_loss").fit(*partly)
    assert inside.cv_results_["mean_test_score"] == pytest.approx(scales, abs=1e-4)
    drawn = {"settings__temperature": loguniform(0.01, 1), "settings__folds": randint(2, 5)}
    RandomizedSearchCV(
        ULFineClassifier("knn"), drawn, n_iter=2, cv=LabelledKFold(2), random_state=0, error_score="raise"
    ).fit(*partly)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"method": "magic"}, "unknown method 'magic'"),
        ({"method": ["ulfine"]}, "unknown method"),
        ({"method": None}, "unknown method"),
        ({"settings": {"speed": 1}}, "unknown setting 'speed' of method zero-shot"),
        ({"settings": {"scale": "fast"}}, "setting scale='fast' of method zero-shot"),
        ({"settings": {"scale": {1}}}, "must be plain numbers"),
        ({"settings": "scale=1"}, "settings 'scale=1' of method zero-shot are no dictionary"),
        ({"settings": [1]}, "are no dictionary"),
        ({"device": "toaster"}, "no device 'toaster'"),
        ({"device": 3}, "no device '3'"),
    ],
    ids=str,
)
def test_fit__refuses_a_wrong_parameter_as_a_value_error(partly, params, message):
    classifier = ULFineClassifier("zero-shot").set_params(**params)
    with pytest.raises(ValueError, match=message) as caught:
        classifier.fit(*partly)
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize("seed", [-1, 2**32, "seven", 1.5])
def test_fit__refuses_a_seed_that_is_none(partly, seed):
    with pytest.raises(ValueError, match=r"random_state|cannot be used to seed"):
        ULFineClassifier("zero-shot", random_state=seed).fit(*partly)
