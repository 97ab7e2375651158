"""Every preset against the rule of the public code it follows, and what a cache must hold for it."""

import json

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_cache.splitting.split_draw import Split, draw_split
from ulfine_cache.splitting.split_presets import PRESETS, check_drawn, find_preset, list_presets
from ulfine_cache.splitting.split_protocol import SplitProtocol

ROWS = {"CIFAR-10": (10, 5000), "CIFAR-100": (100, 500), "STL-10": (10, 500)}


def labels_of(data_set: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and sets of a data set: training rows shuffled, one test row a class, for STL-10 rows without label."""
    n_classes, per_class = ROWS[data_set]
    train = np.random.default_rng(0).permutation(np.repeat(np.arange(n_classes), per_class))
    unlabelled = np.full(1000 if data_set == "STL-10" else 0, -1)
    labels = np.concatenate([train, unlabelled, np.arange(n_classes)])
    sets = np.array(["train"] * (len(labels) - n_classes) + ["test"] * n_classes)
    return labels, sets


def draw(name: str, **changes):
    preset = PRESETS[name]
    labels, sets = labels_of(preset.data_set)
    return labels, draw_split(labels, sets, SplitProtocol(**{**preset.protocol, **changes}))


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.data_set in ROWS])
def test_preset__counts_are_those_of_the_public_code(name):
    """DASO's `make_imbalance`: `int(N (1 / gamma)^(k / (C - 1)))` for class index k, the list turned for "reversed"."""
    preset = PRESETS[name]
    labels, split = draw(name)
    n_classes = preset.n_classes
    *_, gamma = (float(part) for part in name.split("-") if part.isdigit())

    def counts(largest):
        return [int(largest * (1 / gamma) ** (k / (n_classes - 1))) for k in range(n_classes)]

    n_max = int(name.split("-")[2])
    assert np.bincount(labels[split.labelled], minlength=n_classes).tolist() == counts(n_max)
    assert len(split.labelled) == preset.labelled
    if preset.data_set == "STL-10":
        np.testing.assert_array_equal(split.unlabelled, np.flatnonzero(labels == -1))
        assert split.protocol["drawn"]["unlabelled_counts"] is None
    else:
        m_max = int(name.split("-")[3])
        expected = counts(m_max)[::-1] if name.endswith("reversed") else counts(m_max)
        expected = [m_max] * n_classes if name.endswith("uniform") else expected
        assert np.bincount(labels[split.unlabelled], minlength=n_classes).tolist() == expected
        assert len(split.unlabelled) == preset.unlabelled
    assert split.protocol["drawn"]["clipped"] == []
    assert not set(split.labelled) & set(split.unlabelled)


@pytest.mark.parametrize(
    ("name", "labelled", "unlabelled"),
    [
        ("cifar10-lt-500-4000-100", 1236, 9922),
        ("cifar100-lt-50-400-10", 1911, 15651),
        ("cifar100-lt-50-400-20", 1545, 12719),
    ],
)
def test_preset__published_totals(name, labelled, unlabelled):
    _, split = draw(name)
    assert (len(split.labelled), len(split.unlabelled)) == (labelled, unlabelled)


def test_preset__another_seed_takes_other_images_of_the_same_classes():
    labels, first = draw("cifar10-lt-500-4000-100")
    _, other = draw("cifar10-lt-500-4000-100", seed=1)
    assert not np.array_equal(first.labelled, other.labelled)
    np.testing.assert_array_equal(np.bincount(labels[first.labelled]), np.bincount(labels[other.labelled]))


@pytest.mark.parametrize(("name", "fraction"), [("imagenet127-10", 0.1), ("imagenet127-1", 0.01)])
def test_imagenet127__a_share_of_every_class(name, fraction):
    sizes = np.random.default_rng(1).integers(15, 3000, 127)
    labels = np.concatenate([np.repeat(np.arange(127), sizes), np.arange(127)])
    sets = np.array(["train"] * int(sizes.sum()) + ["test"] * 127)
    split = draw_split(labels, sets, SplitProtocol(**PRESETS[name].protocol))
    labelled = np.bincount(labels[split.labelled], minlength=127)
    # CoSSL: int(np.around(n * labeled_percent)); at least one image here
    np.testing.assert_array_equal(labelled, np.maximum(1, np.around(sizes * fraction)).astype(int))
    np.testing.assert_array_equal(np.bincount(labels[split.unlabelled]), sizes - labelled)
    order = np.argsort(split.protocol["drawn"]["ranks"])
    assert (np.diff(sizes[order]) <= 0).all()


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cifar")
    labels, sets = labels_of("CIFAR-10")
    np.savez(folder / "f.npz", features=np.eye(4, dtype=np.float32)[labels % 4], labels=labels, split=sets)
    import_features(file=folder / "f.npz", out=folder / "cache", index="none")
    return folder / "cache"


def test_make_split__preset_takes_its_own_name(cifar10):
    figures = make_split(cache=cifar10, preset="cifar10-lt-500-4000-100", seed=3)
    json.dumps(figures)
    assert (figures["name"], figures["preset"]) == ("cifar10-lt-500-4000-100",) * 2
    assert (figures["labelled"], figures["unlabelled"], figures["test"]) == (1236, 9922, 10)
    assert figures["ranks"] == list(range(10))
    split = FeatureCache.open(cifar10).read_split("cifar10-lt-500-4000-100")
    assert (split.protocol["preset"], split.protocol["seed"]) == ("cifar10-lt-500-4000-100", 3)
    assert make_split(cache=cifar10, name="mine", preset="cifar10-lt-500-4000-100")["name"] == "mine"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"preset": "cifar10"}, UsageError, "no preset 'cifar10': .*--preset list"),
        ({"preset": "cifar10-lt-500-4000-100", "labelled_max": 9}, UsageError, "leave out labelled-max"),
        ({"preset": "cifar10-lt-500-4000-100", "unlabelled": "uniform"}, UsageError, "leave out unlabelled,"),
        ({"preset": "cifar100-lt-50-400-10"}, UlfineError, "CIFAR-100, which has 100 classes; .* has 10: take"),
        ({"preset": "stl10-lt-150-10"}, UlfineError, "takes the unlabelled images of STL-10"),
        ({"labelled_max": 9, "imbalance": 3}, UsageError, "needs a name: give --name"),
        ({"name": "x"}, UsageError, "labelled-max and imbalance, or labelled-fraction"),
        ({"name": "x", "labelled_max": 9, "imbalance": 3, "labelled_fraction": 0.1}, UsageError, "own imbalance"),
        ({"name": "x", "labelled_fraction": 0.1, "unlabelled": "reversed"}, UsageError, "all other rows"),
        ({"name": "x", "labelled_fraction": 0.1, "ranks": "class-index"}, UsageError, "leave out ranks"),
        (
            {"name": "x", "labelled_max": 9, "imbalance": 3, "unlabelled": "own", "unlabelled_max": 5},
            UsageError,
            "own takes all rows",
        ),
    ],
)
def test_make_split__refusals(cifar10, arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        make_split(cache=cifar10, **arguments)
    assert "\n" not in str(caught.value)


def test_make_split__cache_without_enough_images_or_test_set(tmp_path):
    labels = np.repeat(np.arange(10), 100)
    for name, sets in (("few", ["test"] * 5 + ["train"] * 995), ("untested", [""] * 1000)):
        file = tmp_path / f"{name}.npz"
        np.savez(file, features=np.eye(4, dtype=np.float32)[labels % 4], labels=labels, split=np.array(sets))
        import_features(file=file, out=tmp_path / name, index="none")
    with pytest.raises(UlfineError, match=r"fewer images in .*few than cifar10-lt-500-4000-100 takes"):
        make_split(cache=tmp_path / "few", preset="cifar10-lt-500-4000-100")
    assert FeatureCache.open(tmp_path / "few").split_names() == []
    with pytest.raises(UlfineError, match=r"judged on the test set of CIFAR-10, and .*untested has none"):
        make_split(cache=tmp_path / "untested", preset="cifar10-lt-500-4000-100")


def test_make_split__class_index_ranks(cifar10):
    figures = make_split(cache=cifar10, name="index", labelled_max=90, imbalance=9, ranks="class-index", seed=5)
    assert figures["ranks"] == list(range(10))
    assert figures["labelled_counts"] == sorted(figures["labelled_counts"], reverse=True)


def test_list_presets__needs_no_cache(tmp_path):
    assert make_split(cache=tmp_path / "none", preset="list") == {"presets": list_presets()}
    assert [preset["name"] for preset in list_presets()] == list(PRESETS)


def test_make_split__a_split_of_an_earlier_version_is_the_same_protocol(cifar10):
    """Protocols that were stored before `ranks` and `labelled_fraction` existed stand for their defaults."""
    from ulfine_cache.splitting.split_file import write_split

    make_split(cache=cifar10, name="old", labelled_max=9, imbalance=3, unlabelled_max=9)
    opened = FeatureCache.open(cifar10)
    split = opened.read_split("old")
    for key in ("ranks", "labelled_fraction"):
        del split.protocol[key]
    write_split(opened.path, split, opened.fingerprint)
    assert make_split(cache=cifar10, name="old", labelled_max=9, imbalance=3, unlabelled_max=9)["labelled"]
    with pytest.raises(UlfineError, match="another protocol"):
        make_split(cache=cifar10, name="old", labelled_max=9, imbalance=3, unlabelled_max=9, ranks="class-index")


def test_find_preset__protocols_are_valid():
    for name in PRESETS:
        SplitProtocol(**find_preset(name).protocol)


def test_presets__are_those_of_docs_splits():
    """Names are what people type and what runs are called by."""
    assert {name: preset.n_classes for name, preset in PRESETS.items()} == {
        "cifar10-lt-500-4000-100": 10,
        "cifar10-lt-500-4000-100-uniform": 10,
        "cifar10-lt-500-4000-100-reversed": 10,
        "cifar10-lt-500-4000-150": 10,
        "cifar10-lt-1500-3000-50": 10,
        "cifar10-lt-1500-3000-100": 10,
        "cifar10-lt-1500-3000-100-uniform": 10,
        "cifar10-lt-1500-3000-100-reversed": 10,
        "cifar10-lt-1500-3000-150": 10,
        "cifar100-lt-50-400-10": 100,
        "cifar100-lt-50-400-10-uniform": 100,
        "cifar100-lt-50-400-10-reversed": 100,
        "cifar100-lt-50-400-20": 100,
        "cifar100-lt-150-300-10": 100,
        "cifar100-lt-150-300-20": 100,
        "stl10-lt-150-10": 10,
        "stl10-lt-150-20": 10,
        "stl10-lt-450-10": 10,
        "stl10-lt-450-20": 10,
        "imagenet127-10": 127,
        "imagenet127-1": 127,
    }


def test_list_presets__figures_of_one():
    """They are what `ulfine split --preset list --json` prints."""
    found = {preset["name"]: preset for preset in list_presets()}
    assert found["cifar100-lt-50-400-10-reversed"] == {
        "name": "cifar100-lt-50-400-10-reversed",
        "data_set": "CIFAR-100",
        "classes": 100,
        "labelled": 1911,
        "unlabelled": 15651,
        "source": "ACR (Wei and Gan, CVPR 2023), public code",
        "differs": "",
    }
    assert "disjoint" in found["imagenet127-1"]["differs"]


@pytest.mark.parametrize(
    ("clipped", "words"),
    [
        (["a"], "class 'a' has fewer images in here than"),
        (["a", "b"], "class 'a' and 1 more class have fewer"),
        (["a", "b", "c"], "class 'a' and 2 more classes have fewer"),
    ],
)
def test_check_drawn__names_the_first_class_that_is_short(clipped, words):
    split = Split("x", *np.empty((4, 0), np.int64), protocol={"drawn": {"clipped": clipped}})
    with pytest.raises(UlfineError, match=words):
        check_drawn(PRESETS["cifar10-lt-500-4000-100"], split, "here")
    split.protocol["drawn"]["clipped"].clear()
    check_drawn(PRESETS["cifar10-lt-500-4000-100"], split, "here")
