"""LIFT's test-time ensembling, from a cache of five crops to every figure of a run."""

import numpy as np
import pytest
import torch

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_fast.compare import compare
from ulfine_fast.evaluate import evaluate
from ulfine_fast.fitting import fit
from ulfine_fast.judging.five_crops import choose_views, mean_logits
from ulfine_fast.judging.judge import judge
from ulfine_fast.models.affine_model import AffineModel
from ulfine_fast.run import load_run


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """A cache of five crops: the first view is nearly noise, the mean of the five is not. 4 classes of 40 rows."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 40)
    features = np.eye(8)[labels][:, None] + generator.normal(size=(160, 5, 8)) * 0.7
    folder = tmp_path_factory.mktemp("crops")
    np.savez(folder / "f.npz", features=features, labels=labels, views=np.array("five-crop"))
    import_features(file=folder / "f.npz", out=folder / "cache", index="none")
    make_split(cache=folder / "cache", name="lt", labelled_max=12, imbalance=4.0, test_per_class=15)
    return folder / "cache"


def test_mean_logits__is_the_mean_over_views():
    model = AffineModel.of(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), torch.arange(3.0))
    views = torch.randn(6, 5, 8, generator=torch.Generator().manual_seed(1))
    expected = torch.stack([model(views[:, view]) for view in range(5)]).mean(0)
    torch.testing.assert_close(mean_logits(model, views.unbind(1)), expected)
    assert torch.equal(mean_logits(model, [views[:, 0]]), model(views[:, 0]))


def test_choose_views(crops, opened):
    five = FeatureCache.open(crops)
    assert choose_views("auto", "five-crop", five) == choose_views("five-crop", "center", five) == "five-crop"
    assert choose_views("auto", "center", five) == choose_views("center", "five-crop", five) == "center"
    assert choose_views("auto", "five-crop", opened) == "center"
    with pytest.raises(UlfineError, match=r"holds no five crops.*--views five-crop"):
        choose_views("five-crop", "center", opened)


def test_judge__five_crops(crops):
    cache = FeatureCache.open(crops)
    split = cache.read_split("lt")
    model = AffineModel.of(20 * torch.eye(8)[:4], torch.zeros(4))
    counts = np.bincount(cache.labels[split.labelled], minlength=4)
    judged = judge(model, cache, split, counts, views="five-crop")
    logits = np.mean([model(torch.as_tensor(cache.features(split.test, view))).numpy() for view in range(5)], axis=0)
    assert judged.probabilities == pytest.approx(torch.softmax(torch.as_tensor(logits), -1).numpy(), abs=1e-5)
    center = judge(model, cache, split, counts)
    assert judged.metrics["accuracy"] > center.metrics["accuracy"] + 0.05
    false = [found.metrics["pseudo_labels"]["all"]["false"] for found in (judged, center)]
    assert false[0] < false[1]


@pytest.mark.parametrize(
    ("method", "views", "used"),
    [
        ("lift", "auto", "five-crop"),
        ("ulfine", "auto", "five-crop"),
        ("lift", "center", "center"),
        ("zero-shot", "five-crop", "five-crop"),
    ],
)
def test_fit__records_what_it_looks_at_and_evaluate_agrees(crops, tmp_path, method, views, used):
    run = fit(cache=crops, out=tmp_path / "run", split="lt", method=method, views=views, device="cpu")
    loaded = load_run(tmp_path / "run")
    assert run.views == loaded.views == loaded.config["views"] == used
    cache = FeatureCache.open(crops)
    split = cache.read_split("lt")
    found = judge(run.model, cache, split, np.array(run.labelled_counts), views=used)
    assert run.metrics["nll"] == found.metrics["nll"]
    assert evaluate(run=tmp_path / "run")["nll"] == pytest.approx(run.metrics["nll"], abs=1e-12)
    rows = np.stack([cache.features(split.test, view) for view in range(5)], axis=1)
    rows = rows if used == "five-crop" else rows[:, 0]
    assert loaded.predict_proba(rows) == pytest.approx(found.probabilities, abs=1e-6)


def test_fit__training_does_not_depend_on_the_views(crops, tmp_path):
    runs = [fit(cache=crops, out=tmp_path / views, method="lft", views=views) for views in ("center", "five-crop")]
    first, second = (run.model.state_dict() for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_compare__judges_every_method_by_the_crops(crops, tmp_path):
    figures = compare(cache=crops, split="lt", methods="lp-la,lift", seeds=1)["methods"]
    for entry in figures:
        out = tmp_path / entry["method"]
        run = fit(cache=crops, out=out, split="lt", method=entry["method"], views="five-crop")
        assert entry["macro_accuracy"]["mean"] == pytest.approx(run.metrics["macro_accuracy"])


def test_predict_proba__wrong_shapes(crops, tmp_path):
    run = fit(cache=crops, out=tmp_path / "run", method="zero-shot")
    for shape in ((2, 7), (2, 5, 7), (2, 0, 8), (8,)):
        with pytest.raises(UlfineError, match="do not fit the run"):
            run.predict_proba(np.ones(shape))
