"""The split protocol against published counts, and its properties on any labels."""

import itertools
import json

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import arrange_counts, draw_split, long_tailed_counts, make_split, own_sets

SHAPES = ["consistent", "uniform", "reversed", "middle", "head-tail"]


def balanced(n_classes, per_class):
    labels = np.repeat(np.arange(n_classes), per_class)
    return labels, np.full(len(labels), "", dtype="U5")


def parts(split):
    return split.labelled, split.unlabelled, split.val, split.test


def test_long_tailed_counts__published_cifar10():
    labelled = long_tailed_counts(500, 100, 10)
    assert labelled == [500, 299, 179, 107, 64, 38, 23, 13, 8, 5]
    assert sum(labelled) == 1236
    assert sum(long_tailed_counts(4000, 100, 10)) == 9922


@pytest.mark.parametrize(("gamma", "labelled", "unlabelled"), [(10, 1911, 15651), (20, 1545, 12719)])
def test_long_tailed_counts__published_cifar100(gamma, labelled, unlabelled):
    assert sum(long_tailed_counts(50, gamma, 100)) == labelled
    assert sum(long_tailed_counts(400, gamma, 100)) == unlabelled


@given(n_max=st.integers(1, 5000), gamma=st.floats(1, 300), n_classes=st.integers(2, 200))
def test_long_tailed_counts__decrease_between_the_two_ends(n_max, gamma, n_classes):
    counts = long_tailed_counts(n_max, gamma, n_classes)
    assert len(counts) == n_classes
    assert counts[0] == n_max
    assert counts[-1] == int(n_max / gamma)
    # int() of the power and of the quotient may differ by one at the very end
    assert all(a >= b for a, b in itertools.pairwise(counts[:-1]))


def test_arrange_counts__by_hand():
    counts = [6, 5, 4, 3, 2, 1]
    assert arrange_counts(counts, "consistent") == [6, 5, 4, 3, 2, 1]
    assert arrange_counts(counts, "reversed") == [1, 2, 3, 4, 5, 6]
    assert arrange_counts(counts, "uniform") == [6] * 6
    assert arrange_counts(counts, "middle") == [2, 4, 6, 5, 3, 1]
    assert arrange_counts(counts, "head-tail") == [6, 4, 2, 1, 3, 5]


@given(counts=st.lists(st.integers(0, 100), min_size=2, max_size=30), shape=st.sampled_from(SHAPES))
def test_arrange_counts__keeps_the_counts(counts, shape):
    counts = sorted(counts, reverse=True)
    arranged = arrange_counts(counts, shape)
    if shape == "uniform":
        assert arranged == [counts[0]] * len(counts)
        return
    assert sorted(arranged, reverse=True) == counts
    half = len(counts) // 2
    left, right = arranged[: half + 1], arranged[half:]
    if shape == "middle":
        assert left[: half or 1] == sorted(left[: half or 1])
        assert right == sorted(right, reverse=True) or arranged[half - 1] == counts[0]
    if shape == "head-tail":
        assert counts[0] in (arranged[0], arranged[-1])


@pytest.mark.parametrize("shape", SHAPES)
def test_draw_split__counts_follow_the_ranks(shape):
    labels, sets = balanced(10, 600)
    protocol = {"labelled_max": 50, "imbalance": 20.0, "unlabelled_max": 400, "unlabelled": shape, "seed": 3}
    protocol["test_per_class"] = 30
    split = draw_split(labels, sets, protocol)
    drawn = split.protocol["drawn"]
    order = np.argsort(drawn["ranks"])
    labelled = np.bincount(labels[split.labelled], minlength=10)
    unlabelled = np.bincount(labels[split.unlabelled], minlength=10)
    assert labelled[order].tolist() == long_tailed_counts(50, 20, 10)
    assert unlabelled[order].tolist() == arrange_counts(long_tailed_counts(400, 20, 10), shape)
    assert np.bincount(labels[split.test]).tolist() == [30] * 10
    assert labelled.tolist() == drawn["labelled_counts"]
    assert unlabelled.tolist() == drawn["unlabelled_counts"]
    assert drawn["clipped"] == []


@settings(max_examples=60, deadline=None)
@given(
    per_class=st.lists(st.integers(3, 40), min_size=2, max_size=8),
    unknown=st.integers(0, 10),
    labelled_max=st.integers(5, 30),
    imbalance=st.floats(1, 5),
    unlabelled_max=st.none() | st.integers(0, 40),
    shape=st.sampled_from(SHAPES),
    test_per_class=st.none() | st.integers(1, 2),
    seed=st.integers(0, 5),
)
def test_draw_split__disjoint_sorted_and_from_the_pool(
    per_class, unknown, labelled_max, imbalance, unlabelled_max, shape, test_per_class, seed
):
    labels = np.concatenate([np.repeat(np.arange(len(per_class)), per_class), np.full(unknown, -1)])
    labels = np.random.default_rng(seed).permutation(labels)
    sets = np.full(len(labels), "", dtype="U5")
    sets[:2] = "val"
    protocol = {
        "labelled_max": labelled_max,
        "imbalance": imbalance,
        "unlabelled_max": unlabelled_max,
        "unlabelled": shape,
        "test_per_class": test_per_class,
        "seed": seed,
    }
    try:
        split = draw_split(labels, sets, protocol, class_names=[f"c{k}" for k in range(len(per_class))])
    except UlfineError:
        # a class may be too small once the two val rows are gone
        assert min(np.bincount(labels[(labels >= 0) & (sets == "")], minlength=len(per_class))) <= 2
        return
    everything = np.concatenate(parts(split))
    assert len(np.unique(everything)) == len(everything)
    for rows in parts(split):
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all()
        assert (labels[rows] >= 0).all()
    assert set(split.val) <= {0, 1}
    assert (np.bincount(labels[split.labelled], minlength=len(per_class)) > 0).all()
    wanted = np.array(long_tailed_counts(labelled_max, imbalance, len(per_class)))
    got = np.bincount(labels[split.labelled], minlength=len(per_class))[np.argsort(split.protocol["drawn"]["ranks"])]
    assert (got <= wanted).all()


def test_draw_split__same_seed_same_rows_other_seed_other_rows():
    labels, sets = balanced(6, 60)
    protocol = {"labelled_max": 20, "imbalance": 4.0, "test_per_class": 5}
    first, again = (draw_split(labels, sets, protocol | {"seed": 1}) for _ in range(2))
    other = draw_split(labels, sets, first.protocol | {"seed": 2})
    for one, two in zip(parts(first), parts(again), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first.labelled, other.labelled)
    assert first.protocol["drawn"]["ranks"] != other.protocol["drawn"]["ranks"]


def test_draw_split__more_labels_extend_the_same_draw():
    labels, sets = balanced(6, 60)
    few = draw_split(labels, sets, {"labelled_max": 10, "imbalance": 2.0, "test_per_class": 5})
    many = draw_split(labels, sets, {"labelled_max": 20, "imbalance": 2.0, "test_per_class": 5})
    assert set(few.labelled) < set(many.labelled)
    np.testing.assert_array_equal(few.test, many.test)


def test_draw_split__own_test_set_and_unlabelled_rows():
    labels, sets = balanced(3, 20)
    sets[::4] = "test"
    sets[1::4] = "train"
    labels[2::8] = -1
    split = draw_split(labels, sets, {"labelled_max": 4, "imbalance": 2.0})
    np.testing.assert_array_equal(split.test, np.flatnonzero((sets == "test") & (labels >= 0)))
    assert (labels[split.unlabelled] >= 0).all()
    with pytest.raises(UsageError, match="leave out test-per-class"):
        draw_split(labels, sets, {"labelled_max": 4, "imbalance": 2.0, "test_per_class": 2})


def test_draw_split__small_class_is_clipped_and_reported():
    labels = np.array([0] * 50 + [1] * 50 + [2] * 4)
    sets = np.full(len(labels), "", dtype="U5")
    names = ["big", "large", "small"]
    split = draw_split(labels, sets, {"labelled_max": 10, "imbalance": 1.0, "unlabelled_max": 20}, class_names=names)
    assert split.protocol["drawn"]["labelled_counts"] == [10, 10, 4]
    assert split.protocol["drawn"]["unlabelled_counts"] == [20, 20, 0]
    assert split.protocol["drawn"]["clipped"] == ["small"]


def test_draw_split__unlabelled_max_defaults_to_all_the_shape_can_have():
    labels, sets = balanced(4, 100)
    split = draw_split(labels, sets, {"labelled_max": 20, "imbalance": 2.0, "unlabelled": "uniform"})
    # the class with 20 labelled rows has 80 left, and with 4 classes none may fall short
    assert split.protocol["drawn"]["unlabelled_max"] == 80
    assert split.protocol["drawn"]["unlabelled_counts"] == [80] * 4


def test_draw_split__refusals():
    labels, sets = balanced(3, 20)
    with pytest.raises(UlfineError, match="labelled-max 10 with imbalance 20 leaves the rarest class"):
        draw_split(labels, sets, {"labelled_max": 10, "imbalance": 20.0})
    with pytest.raises(UlfineError, match="at least two classes, the cache has 1"):
        draw_split(labels * 0, sets, {"labelled_max": 10, "imbalance": 2.0})
    with pytest.raises(UlfineError, match="class 'c' has no row left"):
        draw_split(labels % 2, sets, {"labelled_max": 10, "imbalance": 2.0}, class_names=["a", "b", "c"])
    with pytest.raises(UlfineError, match="too few to hold out 20"):
        draw_split(labels, sets, {"labelled_max": 10, "imbalance": 2.0, "test_per_class": 20})
    with pytest.raises(UsageError, match="no meaning for uniform"):
        draw_split(
            labels,
            sets,
            {"labelled_max": 10, "imbalance": 2.0, "unlabelled": "uniform", "unlabelled_imbalance": 3.0},
        )
    with pytest.raises(UsageError, match=r"imbalance=0\.5 cannot be used"):
        draw_split(labels, sets, {"labelled_max": 10, "imbalance": 0.5})


def test_own_sets__labels_and_sets():
    labels = np.array([0, -1, 1, -1, 0, 1, -1])
    sets = np.array(["", "", "train", "train", "val", "test", "test"])
    split = own_sets(labels, sets)
    assert [rows.tolist() for rows in parts(split)] == [[0, 2], [1, 3], [4], [5]]


@pytest.fixture
def cache(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 30)
    np.savez(tmp_path / "f.npz", features=rng.normal(size=(120, 8)).astype(np.float32), labels=labels)
    import_features(file=tmp_path / "f.npz", out=tmp_path / "cache", index="none")
    return tmp_path / "cache"


def test_make_split__is_read_back(cache, recorder):
    figures = make_split(
        cache=cache, name="lt", labelled_max=10, imbalance=5, test_per_class=8, unlabelled="reversed", progress=recorder
    )
    json.dumps(figures)
    opened = FeatureCache.open(cache)
    assert opened.split_names() == ["lt"]
    split = opened.read_split("lt")
    expected = draw_split(opened.labels, opened.set_names, split.protocol)
    for one, two in zip(parts(split), parts(expected), strict=True):
        np.testing.assert_array_equal(one, two)
    assert figures["labelled"] == len(split.labelled) == sum(figures["labelled_counts"])
    assert figures["test"] == 32
    assert split.protocol["unlabelled"] == "reversed"


def test_make_split__notes_that_there_is_no_test(cache, recorder):
    make_split(cache=cache, name="lt", labelled_max=10, imbalance=5, progress=recorder)
    assert any("no test rows" in note for note in recorder.notes)


def test_make_split__bad_names(cache):
    for name in ("../x", "", "a b"):
        with pytest.raises(UsageError, match="name="):
            make_split(cache=cache, name=name, labelled_max=10, imbalance=5)


def test_read_split__missing_damaged_or_foreign(cache):
    make_split(cache=cache, name="lt", labelled_max=10, imbalance=5)
    opened = FeatureCache.open(cache)
    with pytest.raises(UlfineError, match=r"no split 'other' .*there are lt"):
        opened.read_split("other")
    (cache / "splits" / "lt.h5.sha256").unlink()
    with h5py.File(cache / "splits" / "lt.h5", "r+") as file:
        file.attrs["fingerprint"] = "0"
    with pytest.raises(UlfineError, match="drawn from other features"):
        opened.read_split("lt")
    (cache / "splits" / "lt.h5").write_bytes(b"x")
    with pytest.raises(UlfineError, match="damaged or not a split"):
        opened.read_split("lt")


def test_make_split__draws_again_where_the_cache_has_changed(cache):
    from tests.cache.conftest import Recorder

    make_split(cache=cache, name="lt", labelled_max=10, imbalance=5)
    drawn = (cache / "splits" / "lt.h5").read_bytes()
    (cache / "splits" / "lt.h5.sha256").unlink()
    with h5py.File(cache / "splits" / "lt.h5", "r+") as file:
        file.attrs["fingerprint"] = "0" * 64
    recorder = Recorder()
    make_split(cache=cache, name="lt", labelled_max=10, imbalance=5, progress=recorder)
    assert (cache / "splits" / "lt.h5").read_bytes() == drawn
    assert any("drawn again" in note for note in recorder.notes)
    recorder.notes.clear()
    make_split(cache=cache, name="lt", labelled_max=10, imbalance=5, progress=recorder)
    assert not any("drawn again" in note for note in recorder.notes)


def test_make_split__keeps_a_split_of_another_protocol(cache):
    first = make_split(cache=cache, name="lt", labelled_max=4, imbalance=2)
    before = (cache / "splits" / "lt.h5").read_bytes()
    assert make_split(cache=cache, name="lt", labelled_max=4, imbalance=2)["labelled"] == first["labelled"]
    with pytest.raises(UlfineError, match=r"another protocol \(seed: 0 -> 1\): choose another --name"):
        make_split(cache=cache, name="lt", labelled_max=4, imbalance=2, seed=1)
    assert (cache / "splits" / "lt.h5").read_bytes() == before


def test_make_split__another_process_drew_one_meanwhile(cache, monkeypatch):
    from ulfine_cache.splitting import split_draw

    real, first = split_draw.draw_split, []

    def draw(*arguments, **options):
        monkeypatch.setattr(split_draw, "draw_split", real)
        make_split(cache=cache, name="lt", labelled_max=4, imbalance=2)
        first.append((cache / "splits" / "lt.h5").read_bytes())
        return real(*arguments, **options)

    monkeypatch.setattr(split_draw, "draw_split", draw)
    with pytest.raises(UlfineError, match=r"another protocol .*: choose another --name"):
        make_split(cache=cache, name="lt", labelled_max=6, imbalance=3)
    assert (cache / "splits" / "lt.h5").read_bytes() == first[0]
    assert sorted(path.name for path in (cache / "splits").iterdir()) == ["lt.h5", "lt.h5.sha256"]
