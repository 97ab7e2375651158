"""Importing features: every alias, every refusal in one line, and the real files."""

import io

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(12, 5)).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, -1, -1, -1])
TEXT = RNG.normal(size=(3, 5)).astype(np.float32)
NAMES = np.array(["cat", "dog", "cow"])


def imported(tmp_path, progress=None, **arrays):
    np.savez(tmp_path / "features.npz", **arrays)
    extra = {} if progress is None else {"progress": progress}
    return import_features(file=tmp_path / "features.npz", out=tmp_path / "cache", **extra)


def unit(values):
    values = values.astype(np.float64)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def test_import_features__everything(tmp_path):
    sets = np.array(["train"] * 6 + ["val"] + ["test"] * 2 + ["train"] * 3)
    paths = np.array([f"bild {k} ü.jpg" for k in range(12)])
    figures = imported(
        tmp_path, features=FEATURES, labels=LABELS, text_features=TEXT, class_names=NAMES, split=sets, paths=paths
    )
    assert figures["rows"] == 12
    assert (figures["labelled"], figures["unlabelled"], figures["val"], figures["test"]) == (6, 3, 1, 2)
    cache = FeatureCache.open(tmp_path / "cache")
    np.testing.assert_allclose(cache.features(), unit(FEATURES), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(cache.features(), axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(cache.text_features, unit(TEXT), atol=1e-6)
    np.testing.assert_array_equal(cache.labels, LABELS)
    assert cache.set_names.tolist() == sets.tolist()
    assert cache.paths == paths.tolist()
    assert cache.class_names == ["cat", "dog", "cow"]
    assert cache.attributes["model"] == "imported"


def test_import_features__without_text_and_names(tmp_path):
    imported(tmp_path, features=FEATURES.astype(np.float16), labels=LABELS.astype(np.int8))
    cache = FeatureCache.open(tmp_path / "cache")
    assert cache.text_features is None
    assert cache.class_names == ["class 0", "class 1", "class 2"]
    assert cache.n_views == 1


def test_import_features__views(tmp_path):
    views = RNG.normal(size=(12, 3, 5)).astype(np.float64)
    imported(tmp_path, image_features=views, labels=LABELS)
    cache = FeatureCache.open(tmp_path / "cache")
    assert cache.n_views == 3
    for view in range(3):
        np.testing.assert_allclose(cache.features(view=view), unit(views[:, view]), atol=1e-3)
    assert cache.attributes["views"] == "imported"


def test_import_features__says_what_the_views_are(tmp_path):
    views = RNG.normal(size=(12, 3, 5))
    imported(tmp_path, features=views, labels=LABELS, views=np.array("weak-strong:2"))
    assert FeatureCache.open(tmp_path / "cache").attributes["views"] == "weak-strong:2"


@pytest.mark.parametrize(
    ("views", "words"),
    [
        (np.array("five-crop"), "makes 5 views of an image, features hold 3"),
        (np.array("ten-crop"), "no views 'ten-crop'"),
        (np.array(["weak-strong:2"] * 2), "one string"),
        (np.array(3), "one string"),
    ],
)
def test_import_features__refuses_views_that_do_not_fit(tmp_path, views, words):
    with pytest.raises(UlfineError, match=words):
        imported(tmp_path, features=RNG.normal(size=(12, 3, 5)), labels=LABELS, views=views)


def test_import_features__pool_and_eval(tmp_path, recorder):
    imported(
        tmp_path,
        recorder,
        pool_features=FEATURES[:8],
        pool_labels=LABELS[:8],
        eval_features=FEATURES[8:],
        eval_labels=np.array([0, 1, 2, 0]),
        text_features_single_prompt=TEXT,
    )
    cache = FeatureCache.open(tmp_path / "cache")
    split = cache.read_split(None)
    assert split.labelled.tolist() == list(range(8))
    assert split.test.tolist() == [8, 9, 10, 11]
    assert any("text_features_single_prompt" in note for note in recorder.notes)


def test_import_features__text_features_by_name(tmp_path):
    np.savez(tmp_path / "f.npz", features=FEATURES, labels=LABELS, text_features=TEXT, other=-TEXT)
    import_features(file=tmp_path / "f.npz", out=tmp_path / "a", text_features="other")
    np.testing.assert_allclose(FeatureCache.open(tmp_path / "a").text_features, unit(-TEXT), atol=1e-6)
    import_features(file=tmp_path / "f.npz", out=tmp_path / "b", text_features="none")
    assert FeatureCache.open(tmp_path / "b").text_features is None
    with pytest.raises(UlfineError, match="has no array typo"):
        import_features(file=tmp_path / "f.npz", out=tmp_path / "c", text_features="typo")


def test_import_features__large_values_do_not_overflow(tmp_path):
    imported(tmp_path, features=np.full((3, 4), 60_000, np.float16), labels=np.array([0, 1, -1]))
    np.testing.assert_allclose(FeatureCache.open(tmp_path / "cache").features(), 0.5, atol=1e-3)


def changed(values, where, value):
    values = values.copy()
    values[where] = value
    return values


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": LABELS}, "expected exactly one of features"),
        ({"features": FEATURES, "image_features": FEATURES, "labels": LABELS}, "found features and image_features"),
        ({"features": FEATURES}, "has no array labels"),
        ({"features": FEATURES, "labels": LABELS[:5]}, r"labels has shape \(5,\), expected \(12,\)"),
        ({"features": FEATURES, "labels": LABELS.astype(complex)}, "expected integers"),
        ({"features": FEATURES, "labels": changed(LABELS, 4, -2)}, "label of row 4 is -2"),
        ({"features": FEATURES, "labels": changed(LABELS, 4, 3), "class_names": NAMES}, "label of row 4 is 3"),
        ({"features": FEATURES.astype(int), "labels": LABELS}, "has type int64"),
        ({"features": FEATURES[0], "labels": LABELS}, "has shape"),
        ({"features": FEATURES[:0], "labels": LABELS[:0]}, "has shape"),
        ({"features": changed(FEATURES, (7, 2), np.nan), "labels": LABELS}, "in 1 row, first in row 7"),
        ({"features": changed(FEATURES, (7, 2), np.inf), "labels": LABELS}, "NaN or infinity in 1 row"),
        ({"features": changed(FEATURES, 3, 0), "labels": LABELS}, "only zeros in 1 row, first in row 3"),
        ({"features": FEATURES, "labels": LABELS, "text_features": TEXT[:, :4]}, r"expected \(classes, 5\)"),
        ({"features": FEATURES, "labels": LABELS, "text_features": changed(TEXT, 1, np.nan)}, "text_features has NaN"),
        (
            {"features": FEATURES, "labels": LABELS, "text_features": TEXT, "class_names": np.array(list("abcd"))},
            "3 rows for 4 classes",
        ),
        ({"features": FEATURES, "labels": LABELS, "class_names": np.array(["a", "b", "a"])}, "holds 'a' twice"),
        ({"features": FEATURES, "labels": LABELS, "class_names": np.array(["a", " ", "b"])}, "empty name at 1"),
        ({"features": FEATURES, "labels": np.full(12, -1)}, "all labels are -1"),
        ({"features": FEATURES, "labels": LABELS, "split": np.array(["later"] * 12)}, "split of row 0 is 'later'"),
        ({"features": FEATURES, "labels": LABELS, "paths": np.array(["a"] * 3)}, "paths has 3 entries for 12 rows"),
        ({"features": FEATURES, "labels": LABELS, "class_names": NAMES.astype(object)}, "array of Python objects"),
        ({"pool_features": FEATURES, "pool_labels": LABELS}, "has no array eval_features"),
        (
            {
                "pool_features": FEATURES,
                "pool_labels": LABELS,
                "eval_features": FEATURES[:, :3],
                "eval_labels": LABELS,
            },
            "differ in shape",
        ),
    ],
)
def test_import_features__refusals_are_one_line(tmp_path, arrays, message):
    with pytest.raises(UlfineError, match=message) as caught:
        imported(tmp_path, **arrays)
    assert "\n" not in str(caught.value)
    assert "features.npz" in str(caught.value)
    assert not (tmp_path / "cache" / "cache.h5").exists()


def test_import_features__not_an_npz(tmp_path):
    path = tmp_path / "f.npz"
    with pytest.raises(UlfineError, match="no file"):
        import_features(file=path, out=tmp_path / "cache")
    path.write_bytes(b"hello")
    with pytest.raises(UlfineError, match=r"f\.npz"):
        import_features(file=path, out=tmp_path / "cache")
    buffer = io.BytesIO()
    np.save(buffer, FEATURES)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(UlfineError, match=r"is not an \.npz file"):
        import_features(file=path, out=tmp_path / "cache")
    np.savez(path, features=FEATURES, labels=LABELS)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UlfineError, match=r"f\.npz"):
        import_features(file=path, out=tmp_path / "cache")


def test_import_features__again_is_a_no_op_and_another_file_is_refused(tmp_path, recorder):
    imported(tmp_path, features=FEATURES, labels=LABELS)
    before = (tmp_path / "cache" / "cache.h5").stat().st_mtime_ns
    imported(tmp_path, recorder, features=FEATURES, labels=LABELS)
    assert any("nothing to do" in note for note in recorder.notes)
    assert (tmp_path / "cache" / "cache.h5").stat().st_mtime_ns == before
    with pytest.raises(UlfineError, match=r"made in another way \(sha256 .* -> .*choose another --out"):
        imported(tmp_path, features=FEATURES[:6], labels=LABELS[:6])


@pytest.mark.parametrize("name", ["whurs19_vit-b-32", "whurs19_rn50", "caltech54_vit-b-32", "dtd_vit-b-32"])
def test_import_features__real_clip_features(tmp_path, shared_data, name):
    file = shared_data / "clip-features" / f"{name}.npz"
    figures = import_features(file=file, out=tmp_path / "cache")
    cache = FeatureCache.open(tmp_path / "cache")
    with np.load(file) as arrays:
        pool = "pool_features" if "pool_features" in arrays else "image_features"
        expected = arrays[pool].astype(np.float32)
        names = arrays["class_names"].tolist()
    np.testing.assert_allclose(cache.features(np.arange(len(expected))), expected, atol=2e-3)
    assert cache.class_names == names
    assert figures["text"] == ("dtd" not in name)


def test_import_features__prototypes_whose_squares_overflow(tmp_path):
    imported(tmp_path, features=FEATURES, labels=LABELS, text_features=TEXT.astype(np.float64) * 1e200)
    np.testing.assert_allclose(FeatureCache.open(tmp_path / "cache").text_features, unit(TEXT), atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["features", "text_features"])
def test_import_features__what_is_no_number_writes_nothing(tmp_path, name, value):
    arrays = {"features": FEATURES.copy(), "text_features": TEXT.copy()}
    arrays[name][1, 2] = value
    line = rf"{name} has NaN or infinity in 1 row, first in row 1: leave such rows out, or compute them again$"
    with pytest.raises(UlfineError, match=line):
        imported(tmp_path, labels=LABELS, class_names=NAMES, **arrays)
    assert not (tmp_path / "cache").exists()
