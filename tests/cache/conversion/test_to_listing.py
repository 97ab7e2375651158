"""A listing of a cache, and the cache that is made from it again."""

import numpy as np
import pytest

from ulfine_cache.convert import convert
from ulfine_cache.errors import UsageError
from ulfine_cache.feature_cache import FeatureCache


def test_round_trip(run, photos, tmp_path):
    """The labels that were decided are the labels of the new cache, whose features are the same."""
    (photos / "cat" / "00.png").rename(photos / "cat" / "=00, a.png")
    run()
    (tmp_path / "labels.csv").write_text("path,label\nunlabelled/00.png,lynx\nzebra/00.png,\ncat/01.png,red fox\n")
    out = tmp_path / "lists" / "listing.csv"
    figures = convert(cache=tmp_path / "cache", to="listing", out=out, apply=tmp_path / "labels.csv")
    assert figures == {
        "cache": str(tmp_path / "cache"),
        "to": "listing",
        "out": str(out),
        "rows": 23,
        "labelled": 18,
        "source": str(photos),
    }
    run(source=out, out=tmp_path / "new", root=photos)
    old, new = FeatureCache.open(tmp_path / "cache"), FeatureCache.open(tmp_path / "new")
    assert new.class_names == ["cat", "lynx", "red fox", "zebra"]
    names = dict(zip(new.paths, (new.class_names[label] if label >= 0 else "" for label in new.labels), strict=True))
    assert (names["unlabelled/00.png"], names["zebra/00.png"], names["cat/01.png"]) == ("lynx", "", "red fox")
    assert names["cat/=00, a.png"] == "cat"
    assert new.paths == old.paths
    np.testing.assert_allclose(new.features(), old.features(), atol=1e-3)


def test_other_formats_hold_the_decided_labels(run, tmp_path):
    run()
    (tmp_path / "labels.csv").write_text("path,label\nzebra/00.png,\n")
    convert(cache=tmp_path / "cache", to="npy", out=tmp_path / "npy", apply=tmp_path / "labels.csv")
    labels = np.load(tmp_path / "npy" / "labels.npy")
    row = FeatureCache.open(tmp_path / "cache").paths.index("zebra/00.png")
    assert labels[row] == -1
    assert (labels == -1).sum() == 6
    assert '"applied"' in (tmp_path / "npy" / "about.json").read_text()


def test_name_of_the_file(run, tmp_path):
    run()
    with pytest.raises(UsageError, match=r"does not end in \.csv"):
        convert(cache=tmp_path / "cache", to="listing", out=tmp_path / "listing")
