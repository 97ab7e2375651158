import shutil
from pathlib import Path

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.splits import make_split
from ulfine_fast.evaluate import evaluate, open_cache_of
from ulfine_fast.fitting import fit
from ulfine_fast.judging.metrics import SCALARS
from ulfine_fast.priors.class_prior import estimate_prior
from ulfine_fast.run import load_run

CLASSES = ("ash", "birch", "cedar", "date palm", "elm", "fig")


@pytest.fixture
def moved(text_cache: Path, tmp_path: Path) -> Path:
    """A copy of the cache that the run is fitted on and that tests may move and delete."""
    shutil.copytree(text_cache, tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def run(moved: Path, tmp_path: Path) -> Path:
    return fit(cache=moved, out=tmp_path / "run", split="lt", method="zero-shot").path


def test_evaluate__repeats_the_figures_of_the_fit(run):
    figures = evaluate(run=run)
    metrics = load_run(run).metrics
    for name in (*SCALARS, "per_class", "test_rows", "absent_classes", "pseudo_labels"):
        assert figures[name] == metrics[name]
    assert (figures["method"], figures["split"], figures["run"]) == ("zero-shot", "lt", str(run))


def test_evaluate__another_split(run, moved):
    protocol = load_run(run).provenance["split"]["protocol"]
    own = {"test_per_class": protocol["test_per_class"], "seed": protocol["seed"]}
    make_split(cache=moved, name="other", labelled_max=10, imbalance=2.0, unlabelled="uniform", **own)
    assert evaluate(run=run, split="other")["test_rows"] == 60
    with pytest.raises(UlfineError, match="no split 'none'"):
        evaluate(run=run, split="none")


def test_evaluate__refuses_test_rows_that_the_run_was_fitted_on(run, moved):
    own = FeatureCache.open(moved).read_split("lt")
    make_split(cache=moved, name="other", labelled_max=10, imbalance=2.0, test_per_class=20, seed=9)
    other = FeatureCache.open(moved).read_split("other")
    seen = set(other.test.tolist()) & {*own.labelled.tolist(), *own.unlabelled.tolist()}
    assert seen
    with pytest.raises(UlfineError, match=f"was fitted on {len(seen)} of the 120 test rows of split 'other'"):
        evaluate(run=run, split="other")
    # The run's own split under its own name, deleted and drawn anew with another seed.
    for name in ("other", "lt"):
        (moved / "splits" / f"{name}.h5").unlink()
    make_split(cache=moved, name="lt", labelled_max=10, imbalance=2.0, test_per_class=20, seed=9)
    with pytest.raises(UlfineError, match=f"was fitted on {len(seen)} of the 120 test rows of split 'lt'"):
        evaluate(run=run)


def test_evaluate__a_cache_without_test_rows(run, make_cache, clusters):
    features, labels, text = clusters(3, seed=0)
    cache = make_cache("new", features=features, labels=labels, text_features=text, class_names=CLASSES)
    with pytest.raises(UlfineError, match="new has no test rows: name a split"):
        evaluate(run=run, cache=cache)


def test_evaluate__cache_that_moved(run, moved, tmp_path):
    moved.rename(tmp_path / "elsewhere")
    with pytest.raises(UlfineError, match="is gone: say where it is now with --cache"):
        evaluate(run=run)
    assert evaluate(run=run, cache=tmp_path / "elsewhere")["test_rows"] == 60


def test_evaluate__says_that_the_cache_has_changed(run, moved):
    import h5py

    class Notes(list):
        note = list.append

        def update(self, *_, **__):
            pass

    notes = Notes()
    evaluate(run=run, progress=notes)
    assert not [note for note in notes if "has changed since" in note]
    (moved / "cache.h5.sha256").unlink()
    with h5py.File(moved / "cache.h5", "r+") as file:
        file.attrs["fingerprint"] = "0" * 64
    make_split(cache=moved, name="lt", labelled_max=20, imbalance=5.0, unlabelled="reversed", test_per_class=10)
    evaluate(run=run, progress=notes)
    assert [note for note in notes if "has changed since" in note]


def test_evaluate__new_photographs_of_the_same_model(run, make_cache, clusters):
    features, labels, text = clusters(3, seed=0)
    cache = make_cache(
        "new", features=features, labels=labels, text_features=text, class_names=CLASSES, split=["test"] * 18
    )
    figures = evaluate(run=run, cache=cache)
    assert (figures["test_rows"], figures["split"]) == (18, None)


def test_open_cache_of__another_width_or_other_classes(run, make_cache, clusters):
    features, labels, _ = clusters(3)
    narrow = make_cache("narrow", features=features[:, :8], labels=labels, class_names=CLASSES)
    with pytest.raises(UlfineError, match=r"another model: its features are 8 wide, the run .* takes 16"):
        evaluate(run=run, cache=narrow)
    other = make_cache("other", features=features, labels=labels, class_names=[*CLASSES[:5], "ginkgo"])
    with pytest.raises(UlfineError, match=r"other classes than the run .*: 'fig' is in one only"):
        evaluate(run=run, cache=other)
    order = make_cache("order", features=features, labels=labels, class_names=CLASSES[::-1])
    with pytest.raises(UlfineError, match="their order differs"):
        evaluate(run=run, cache=order)


@pytest.mark.parametrize("key", ["model", "pretrained", "weights_hash", "preprocess"])
def test_open_cache_of__says_what_differs(run, moved, key):
    import h5py

    (moved / "cache.h5.sha256").unlink()
    with h5py.File(moved / "cache.h5", "r+") as file:
        file.attrs[key] = "something else"
    with pytest.raises(UlfineError, match=f"another model: its {key} is something else, the run"):
        open_cache_of(load_run(run))


def test_open_cache_of__a_run_without_cache(tmp_path, clusters):
    from ulfine_fast.estimator import ULFineClassifier

    features, labels, _ = clusters(3)
    saved = ULFineClassifier("zero-shot").fit(features, np.asarray(CLASSES)[labels]).save(tmp_path / "run")
    with pytest.raises(UlfineError, match="name one with --cache"):
        open_cache_of(saved)


def test_evaluate__names_no_prior_where_none_was_asked_for(run):
    assert not {"test_prior", "class_prior"} & evaluate(run=run).keys()


@pytest.fixture
def probe(moved: Path, tmp_path: Path) -> Path:
    """A plain probe, whose logits answer for the labelled frequencies."""
    return fit(cache=moved, out=tmp_path / "probe", split="lt", method="lp").path


def figures_under(run: Path, prior: np.ndarray) -> tuple[float, float]:
    """Accuracy and nll on the test rows by Bayes' rule, computed apart."""
    loaded = load_run(run)
    cache = FeatureCache.open(Path(loaded.cache["path"]))
    rows = cache.read_split("lt").test
    counts = np.array(loaded.labelled_counts)
    joint = loaded.predict_proba(cache.features(rows)) * prior / (counts / counts.sum())
    joint /= joint.sum(axis=1, keepdims=True)
    labels = cache.labels[rows]
    return (joint.argmax(axis=1) == labels).mean(), -np.log(joint[np.arange(len(rows)), labels]).mean()


def test_evaluate__under_a_test_prior(probe, tmp_path):
    plain = evaluate(run=probe)
    weights = np.array([1, 1, 2, 2, 4, 10.0])
    lines = [f"{name},{weight}" for name, weight in zip(CLASSES, weights, strict=True)]
    (tmp_path / "w.csv").write_text("\n".join(["class,weight", *lines]), "utf-8")
    for option, prior in (("uniform", np.full(6, 1 / 6)), (str(tmp_path / "w.csv"), weights / 20)):
        figures = evaluate(run=probe, test_prior=option)
        accuracy, nll = figures_under(probe, prior)
        assert figures["accuracy"] == pytest.approx(accuracy)
        assert figures["nll"] == pytest.approx(nll, rel=1e-4)
        assert figures["nll"] != pytest.approx(plain["nll"], rel=1e-3)
        assert figures["test_prior"] == ("uniform" if option == "uniform" else "file")
        assert list(figures["class_prior"].values()) == pytest.approx(list(prior))
        assert list(figures["class_prior"]) == list(CLASSES)
        assert figures["pseudo_labels"] == plain["pseudo_labels"]
    # What the probe answers for anyway.
    assert evaluate(run=probe, test_prior="labelled")["nll"] == pytest.approx(plain["nll"], rel=1e-6)


def test_evaluate__estimates_from_test_rows_without_their_labels(probe, moved):
    class Notes:
        said: str = ""

        def update(self, *_, **__):
            pass

        def note(self, message):
            self.said += message

    notes = Notes()
    figures = evaluate(run=probe, test_prior="estimate", progress=notes)
    assert "estimated from 60 test rows for 6 classes" not in notes.said
    assert sum(figures["class_prior"].values()) == pytest.approx(1)
    loaded, cache = load_run(probe), FeatureCache.open(moved)
    with_labels = np.array(loaded.labelled_counts) / sum(loaded.labelled_counts)
    probabilities = loaded.predict_proba(cache.features(cache.read_split("lt").test))
    expected = estimate_prior(np.log(probabilities), with_labels)
    np.testing.assert_allclose(list(figures["class_prior"].values()), expected, atol=1e-5)


def test_evaluate__a_prior_that_does_not_exist(run):
    with pytest.raises(UsageError, match="no test prior 'other'"):
        evaluate(run=run, test_prior="other")
