"""Cameras, sites and batches in a fit: whole ones are left out, and figures are told for each."""

import numpy as np
import pytest
import torch

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_fast.evaluate import evaluate
from ulfine_fast.fitting import fit
from ulfine_fast.rows.cross_validation import kept
from ulfine_fast.rows.training_data import load_training_data

N_CLASSES, N_CAMERAS, N_FITTED, WIDTH = 4, 40, 20, 24


@pytest.fixture
def trapped(make_cache):
    """Each camera has a background of its own that is stronger than what tells classes apart; half of them test."""
    generator = np.random.default_rng(0)
    labels, cameras = np.arange(N_CAMERAS * 16) % N_CLASSES, np.arange(N_CAMERAS * 16) // 16
    centres = generator.normal(size=(N_CLASSES, WIDTH))
    # What a class looks like through one camera.
    through = 1.6 * generator.normal(size=(N_CAMERAS, N_CLASSES, WIDTH))
    features = centres[labels] + through[cameras, labels] + 0.4 * generator.normal(size=(len(labels), WIDTH))
    sets = np.where(cameras >= N_FITTED, "test", "train")
    known = {"features": features, "labels": labels, "set": sets}
    return (
        make_cache("with", **known, groups=np.array([f"camera {camera}" for camera in cameras])),
        make_cache("without", **known),
    )


class Notes:
    def __init__(self):
        self.notes = []

    def update(self, *_, **__): ...

    def note(self, message):
        self.notes.append(message)


def test_fit__leaves_whole_groups_out_and_so_foresees_the_next_camera(trapped, tmp_path):
    found, truth = {}, 0.0
    for cache in trapped:
        metrics = fit(cache=cache, out=tmp_path / f"run-{cache.name}", device="cpu").metrics
        found[cache.name] = metrics["cross_validated"]
        truth = metrics["accuracy"]
    assert (found["with"]["by_group"], found["without"]["by_group"]) == (True, False)
    assert found["with"]["accuracy"]["low"] < truth < found["with"]["accuracy"]["high"]
    assert found["without"]["accuracy"]["low"] > truth + 0.1
    assert found["with"]["accuracy"]["value"] < found["without"]["accuracy"]["value"] - 0.03


def test_evaluate__by_group(trapped, tmp_path):
    cache, without = trapped
    run = fit(cache=cache, out=tmp_path / "run", device="cpu")
    per_group = run.metrics["per_group"]
    assert [entry["group"] for entry in per_group] == sorted(f"camera {k}" for k in range(N_FITTED, N_CAMERAS))
    assert sum(entry["rows"] for entry in per_group) == run.metrics["test_rows"]
    mean = sum(entry["rows"] * entry["accuracy"] for entry in per_group) / run.metrics["test_rows"]
    assert mean == pytest.approx(run.metrics["accuracy"])
    figures = evaluate(run=tmp_path / "run", by_group=True)
    assert (figures["by_group"], figures["per_group"]) == (True, per_group)
    assert "by_group" not in evaluate(run=tmp_path / "run")
    fit(cache=without, out=tmp_path / "other", device="cpu")
    with pytest.raises(UlfineError, match="knows no groups"):
        evaluate(run=tmp_path / "other", by_group=True)


def test_fit__says_that_test_rows_share_groups_with_labelled_ones(make_cache, tmp_path, clusters):
    features, labels, _ = clusters(10)
    sets = np.where(np.arange(60) % 10 < 3, "test", "train")
    cache = make_cache("shared", features=features, labels=labels, set=sets, groups=np.arange(60) % 10 // 2)
    told = Notes()
    fit(cache=cache, out=tmp_path / "run", method="gda", progress=told)
    # Rows 2 and 3 of each ten are of one group, and one of them is tested.
    assert any(note.startswith("6 of 18 test rows have a group") for note in told.notes)


def test_fit__a_class_that_one_group_has_alone_cannot_be_judged(make_cache, tmp_path, clusters):
    for text in (True, False):
        features, labels, prototypes = clusters(8)
        groups = np.where(labels == 2, 9, np.arange(48) % 4)
        cache = make_cache(
            f"alone-{text}", features=features, labels=labels, text_features=prototypes if text else None, groups=groups
        )
        found = fit(cache=cache, out=tmp_path / f"run-{text}", device="cpu").metrics["cross_validated"]
        assert [entry["rows"] for entry in found["per_class"]] == [8, 8, 0, 8, 8, 8]
        assert found["classes"] == 5


def test_kept__keeps_the_groups_of_the_rows_that_are_kept(trapped):
    opened = FeatureCache.open(trapped[0])
    data = load_training_data(opened, opened.read_split(None))
    keep = torch.arange(len(data.labels)) % 3 == 0
    assert torch.equal(kept(data, keep).groups, data.groups[keep])
    assert len(data.groups.unique()) == N_FITTED
    other = FeatureCache.open(trapped[1])
    assert load_training_data(other, other.read_split(None)).groups is None
