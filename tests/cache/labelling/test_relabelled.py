"""What a decision does to a cache: to its labels, its classes, its text and its splits."""

from pathlib import Path

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.labelling.decisions import Decisions
from ulfine_cache.labelling.relabelled import apply_labels, note_judged, open_relabelled
from ulfine_cache.splits import make_split

NAMES = ["ash", "birch", "elm"]


def decide(**labels):
    return decisions({f"{name}.jpg": label for name, label in labels.items()})


def decisions(labels):
    return Decisions("labels.csv", labels, {path: f"line {line}" for line, path in enumerate(labels, start=2)})


def make(folder: Path, *, text=True, paths=None, sets=None):
    """Twelve rows r0 to r11 of three classes, r9 to r11 unlabelled; r7 and r8 are test rows."""
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, -1, -1, -1])
    features = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    arrays = {
        "features": features,
        "labels": labels,
        "class_names": np.array(NAMES),
        "paths": np.array(paths or [f"r{row}.jpg" for row in range(12)]),
        "split": np.array(sets or ["train"] * 7 + ["test"] * 2 + ["train"] * 3),
    }
    if text:
        arrays["text_features"] = np.eye(3, 4, dtype=np.float32)
    folder.mkdir(exist_ok=True)
    np.savez(folder / "f.npz", **arrays)
    import_features(file=folder / "f.npz", out=folder / "cache", index="none")
    return FeatureCache.open(folder / "cache")


@pytest.fixture
def cache(tmp_path):
    return make(tmp_path)


def names_of(cache):
    return [cache.class_names[label] if label >= 0 else "" for label in cache.labels]


def test_four_kinds(cache, recorder):
    before = names_of(cache)
    changed = apply_labels(cache, decide(r0="elm", r9="birch", r1="", r10="oak", r2="elm"), progress=recorder)
    after = names_of(changed)
    assert changed.class_names == ["ash", "birch", "elm", "oak"]
    assert (after[0], after[9], after[1], after[10], after[2]) == ("elm", "birch", "", "oak", "elm")
    assert [row for row in range(12) if after[row] != before[row]] == [0, 1, 9, 10]
    assert recorder.notes == [
        "1 new class: 'oak'",
        "5 decisions about labels of labels.csv: 1 as it was, 2 labelled, 1 of another class, 1 unlabelled",
    ]
    assert changed.fingerprint == cache.fingerprint
    np.testing.assert_array_equal(changed.features(), cache.features())
    assert names_of(FeatureCache.open(cache.path)) == before


def test_own_sets(cache, recorder):
    changed = apply_labels(cache, decide(r0="", r9="birch", r7="ash", r8=""))
    split = changed.read_split(None)
    assert 0 in split.unlabelled and 9 in split.labelled
    assert split.test.tolist() == [7]
    note_judged(changed, split, recorder)
    assert recorder.notes == ["1 decision about labels correct the truth of rows of the test or validation set"]


def test_class_that_loses_its_last_image_leaves(cache, recorder):
    changed = apply_labels(cache, decide(r0="elm", r3="elm", r6="elm"), progress=recorder)
    assert changed.class_names == ["birch", "elm"]
    assert recorder.notes[0] == "1 class has no labelled image left, and no place: 'ash'"
    assert changed.text_features is not None
    np.testing.assert_array_equal(changed.text_features, np.eye(3, 4, dtype=np.float32)[1:])
    assert names_of(changed)[:3] == ["elm", "birch", "elm"]


def test_text_of_a_new_class__where_there_is_no_encoder(cache, recorder):
    changed = apply_labels(cache, decide(r9="oak"), text=True, progress=recorder)
    assert changed.text_features is None
    assert "text is left out for all classes" in recorder.notes[-1]
    assert "the features were imported" in recorder.notes[-1]


def test_text_of_a_new_class__by_the_cache_s_own_encoder(run, tmp_path, recorder):
    """As if the cache had been made with the class from the start."""
    run(templates="imagenet")
    cache = FeatureCache.open(tmp_path / "cache")
    changed = apply_labels(cache, decisions({"unlabelled/00.png": "zebra fish"}), text=True, progress=recorder)
    assert "1 new class, 80 prompts each" in recorder.notes[-1]
    (tmp_path / "photos" / "unlabelled" / "00.png").rename(tmp_path / "photos" / "cat" / "n.png")
    (tmp_path / "photos" / "zebra").rename(tmp_path / "photos" / "zebra_fish")
    run(templates="imagenet", out=tmp_path / "other")
    other = FeatureCache.open(tmp_path / "other")
    assert changed.class_names == ["cat", "red fox", "zebra", "zebra fish"]
    assert other.class_names == ["cat", "red fox", "zebra fish"]
    assert changed.text_features is not None and other.text_features is not None
    np.testing.assert_allclose(changed.text_features[[0, 1, 3]], other.text_features, atol=1e-6)
    _, names, text = changed.training()
    assert "zebra fish" in names
    assert text is not None and len(text) == 4


def test_classes_of_a_run(cache):
    """Another order, and a class of the run that no decision names any more."""
    changed = apply_labels(cache, decide(r9="oak"), class_names=["oak", "elm", "birch", "ash", "fir"])
    assert names_of(changed)[:3] == ["ash", "birch", "elm"]
    assert changed.labels[9] == 0
    with pytest.raises(UlfineError, match=r"'oak': no class of the run, which has 'ash', 'birch', 'elm': fit again"):
        apply_labels(cache, decide(r9="oak"), class_names=NAMES)


def test_unknown_paths(cache, recorder):
    changed = apply_labels(cache, decide(r0="elm", nowhere="ash", gone="elm"), progress=recorder)
    assert recorder.notes[0] == (
        f"2 decisions are about images that {cache.path} does not have, and left out (first, line 3: nowhere.jpg)"
    )
    assert changed.decisions.labels == {"r0.jpg": "elm"}
    with pytest.raises(UlfineError, match=r"labels\.csv is about no image of .*first, line 2: nowhere\.jpg.*r0\.jpg"):
        apply_labels(cache, decide(nowhere="ash"))


def test_path_of_several_rows(tmp_path):
    cache = make(tmp_path, paths=["same.jpg", "same.jpg", *(f"r{row}.jpg" for row in range(10))])
    apply_labels(cache, decide(r0="elm"))
    with pytest.raises(UlfineError, match=r"labels\.csv, line 2: same\.jpg is the path of 2 rows"):
        apply_labels(cache, decide(same="elm"))


def test_no_class_name(cache):
    with pytest.raises(UlfineError, match=r"labels\.csv, line 2: a label has at most 256 characters"):
        apply_labels(cache, decide(r0="x" * 300))


@pytest.fixture
def many(tmp_path):
    """Two classes of 40 rows, rows 80 to 89 without a label, and a split that was drawn from them."""
    labels = np.repeat([0, 1, -1], [40, 40, 10])
    features = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    np.savez(tmp_path / "m.npz", features=features, labels=labels, class_names=np.array(["ash", "elm"]))
    import_features(file=tmp_path / "m.npz", out=tmp_path / "many", index="none")
    make_split(cache=tmp_path / "many", name="lt", labelled_max=6, imbalance=2.0, unlabelled_max=10, test_per_class=5)
    return tmp_path / "many"


def file_of(cache, rows, label):
    path = cache.parent / "labels.csv"
    lines = [f"{FeatureCache.open(cache).paths[row]},{label}" for row in rows]
    path.write_text("\n".join(["path,label", *lines, ""]))
    return path


def test_named_split(many):
    plain = FeatureCache.open(many).read_split("lt")
    rest = np.setdiff1d(np.arange(80), np.concatenate([plain.labelled, plain.unlabelled, plain.test]))
    rows = [plain.labelled[0], plain.unlabelled[0], plain.test[0], rest[0], 85]
    decided = open_relabelled(many, file_of(many, rows, "oak"))
    split = decided.read_split("lt")
    assert set(split.labelled) == {*plain.labelled, plain.unlabelled[0], rest[0], 85}
    assert set(split.unlabelled) == set(plain.unlabelled[1:])
    assert set(split.test) == set(plain.test)
    without = open_relabelled(many, file_of(many, rows, "")).read_split("lt")
    assert set(without.labelled) == set(plain.labelled[1:])
    assert set(without.unlabelled) == {*plain.unlabelled, plain.labelled[0], rest[0], 85}
    assert set(without.test) == set(plain.test[1:])


def test_split_that_was_drawn_with_decisions(many, recorder):
    labels = file_of(many, range(80, 90), "oak")
    asked = {"cache": many, "name": "oaks", "labelled_max": 6, "imbalance": 2.0, "test_per_class": 2}
    figures = make_split(**asked, apply=labels)
    assert figures["class_names"] == ["ash", "elm", "oak"]
    split = open_relabelled(many, labels).read_split("oaks")
    assert len(split.test) == 6
    assert split.protocol["applied"]["decisions"] == 10
    plain = FeatureCache.open(many)
    with pytest.raises(UlfineError, match=r"split 'oaks' was drawn with labels that people decided: give .* --apply"):
        plain.read_split("oaks")
    assert len(plain.stored_split("oaks").test) == 6
    other = file_of(many, range(80, 89), "oak")
    with pytest.raises(UlfineError, match=r"'oaks' was drawn with other decisions .*: draw it again"):
        open_relabelled(many, other).read_split("oaks")
    make_split(**asked, apply=other, progress=recorder)
    assert "'oaks' was drawn with other decisions about labels: it is drawn again" in recorder.notes[-1]
    assert len(open_relabelled(many, other).read_split("oaks").test) == 6


def test_split_by_groups__a_label_brings_no_row_of_a_tested_group_back(tmp_path):
    labels = np.tile([0, 1], 40)
    groups = np.array([f"camera {row // 8}" for row in range(80)])
    features = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)
    np.savez(tmp_path / "g.npz", features=features, labels=labels, class_names=np.array(["ash", "elm"]), groups=groups)
    import_features(file=tmp_path / "g.npz", out=tmp_path / "cache", index="none")
    make_split(
        cache=tmp_path / "cache", name="sites", labelled_max=5, imbalance=1.0, test_per_class=3, by_group=True, seed=1
    )
    plain = FeatureCache.open(tmp_path / "cache").read_split("sites")
    rows = np.setdiff1d(np.arange(80), plain.test)
    split = open_relabelled(tmp_path / "cache", file_of(tmp_path / "cache", rows, "elm")).read_split("sites")
    assert split.test.tolist() == plain.test.tolist()
    assert len(split.labelled) > len(plain.labelled)
    assert not set(groups[split.labelled]) & set(groups[split.test])
