import numpy as np
import pytest

from ulfine_fast import FeatureCache, ULFineClassifier
from ulfine_fast.fitting import fit
from ulfine_fast.registry import METHODS

NAMES = np.array(["ash", "birch", "cedar", "elm", "fig", "oak"])


@pytest.fixture
def partly(clusters):
    """Rows of which no "cedar" is labelled."""
    features, truth, text = clusters(12)
    return features, np.where((np.arange(72) % 2 == 0) & (truth != 2), truth, -1), truth, text


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("lft", "ulfine-paper")])
def test_text_only_classes__are_classes(partly, method):
    X, y, truth, text = partly
    names = np.where(y < 0, "-1", NAMES[y])
    named = ULFineClassifier(method, text_only_classes=["cedar"]).fit(X, names, text_features=text)
    assert named.classes_.tolist() == NAMES.tolist()
    assert named.predict_proba(X).shape == (72, 6)
    if method in ("ulfine", "zero-shot", "gda"):
        assert (named.predict(X)[truth == 2] == "cedar").mean() > 0.5


@pytest.mark.parametrize("text_only", [True, [2], np.array([2]), range(6), (2, 0)], ids=str)
def test_text_only_classes__in_several_forms(partly, text_only):
    X, y, _, text = partly
    expected = ULFineClassifier("zero-shot", text_only_classes=[2]).fit(X, y, text_features=text)
    found = ULFineClassifier("zero-shot", text_only_classes=text_only).fit(X, y, text_features=text)
    assert found.classes_.tolist() == list(range(6))
    assert np.array_equal(found.predict_proba(X), expected.predict_proba(X))


def test_text_only_classes__are_those_of_the_command(text_cache, tmp_path, make_cache):
    cache = FeatureCache.open(text_cache)
    labels = np.where(cache.labels == 2, -1, cache.labels)
    without = make_cache(
        "without", features=cache.features(), labels=labels, text_features=cache.text_features,
        class_names=np.array(cache.class_names),
    )  # fmt: skip
    run = fit(cache=without, out=tmp_path / "run", method="gda", text_only_classes=True, device="cpu")
    X, y, text = FeatureCache.open(without).training()
    classifier = ULFineClassifier("gda", text_only_classes=cache.class_names).fit(X, y, text_features=text)
    assert run.predict_proba(X) == pytest.approx(classifier.predict_proba(X), abs=1e-5)


@pytest.mark.parametrize(
    ("text_only", "message"),
    [
        (["oak"], "text_only_classes holds classes such as 'oak', y such as 0: give both in one type"),
        ([2, -1], "holds a missing class, or -1"),
        ([2, None], "holds a missing class, or -1"),
        ("cedar", "text_only_classes is 'cedar': give a list of classes"),
        (2, "text_only_classes is 2: give a list of classes"),
        ([2, 7], r"text_features has shape \(6, 16\), expected \(7, 16\)"),
        (False, r"expected \(5, 16\).*Classes without a labelled row have to be named in text_only_classes"),
    ],
    ids=str,
)
def test_text_only_classes__what_is_refused(partly, text_only, message):
    X, y, _, text = partly
    with pytest.raises(ValueError, match=message):
        ULFineClassifier("zero-shot", text_only_classes=text_only).fit(X, y, text_features=text)


def test_text_only_classes__need_text_labels_and_whole_numbers(partly):
    X, y, _, text = partly
    with pytest.raises(ValueError, match="needs text"):
        ULFineClassifier("zero-shot", text_only_classes=[2]).fit(X, y)
    with pytest.raises(ValueError, match="no labelled row"):
        ULFineClassifier("zero-shot", text_only_classes=range(6)).fit(X, np.full(72, -1), text_features=text)
    with pytest.raises(ValueError, match="give a list of the classes"):
        ULFineClassifier("zero-shot", text_only_classes=True).fit(
            X, np.where(y < 0, "-1", NAMES[y]), text_features=text
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text * [[1], [0], [1], [1], [1], [1]], "class 'birch': text_features have a length .* in row 1"),
        (lambda text: text * np.float32(1e20), "class 'ash': text_features have a length outside"),
        (lambda text: text.astype(float) * 1e40, "class 'ash': text_features hold NaN or infinite values"),
        (lambda text: text * np.nan, "class 'ash': text_features hold NaN"),
        (lambda text: text[0], r"text_features has shape \(16,\), expected \(6, 16\)"),
        (lambda _: "abc", "text_features is no array of 6 rows of 16 numbers"),
        (lambda _: [[1], [2, 3]], "text_features is no array of 6 rows of 16 numbers"),
    ],
    ids=["zeros", "long", "overflow", "nan", "one row", "word", "ragged"],
)
def test_text__what_is_refused(clusters, change, message):
    X, truth, text = clusters(4)
    with pytest.raises(ValueError, match=message):
        ULFineClassifier("zero-shot").fit(X, NAMES[truth], text_features=change(text))
