"""One picture in two classes is said, with counts; the rows stay as they are."""

import shutil

import numpy as np

from ulfine_cache.encoding.contradictions import contradiction
from ulfine_cache.feature_cache import FeatureCache


def test_pictures_in_several_classes_are_counted(run, photos):
    shutil.copy(photos / "red_fox" / "00.png", photos / "cat" / "fox.png")
    shutil.copy(photos / "red_fox" / "00.png", photos / "zebra" / "fox.png")
    shutil.copy(photos / "red_fox" / "01.png", photos / "zebra" / "other.png")
    # These contradict nothing.
    shutil.copy(photos / "cat" / "00.png", photos / "cat" / "again.png")
    shutil.copy(photos / "cat" / "01.png", photos / "unlabelled" / "cat.png")
    figures = run()
    said = [line for line in figures["warnings"] if "several classes" in line]
    assert said == [
        "2 pictures are in several classes, as 5 images of the same bytes: cat/fox.png and red_fox/00.png for one"
    ]
    assert figures["rows"] == 28


def test_pictures_of_one_class_and_of_none_are_no_contradiction(run, photos, tmp_path):
    shutil.copy(photos / "cat" / "00.png", photos / "cat" / "again.png")
    shutil.copy(photos / "cat" / "01.png", photos / "unlabelled" / "cat.png")
    assert not [line for line in run()["warnings"] if "several classes" in line]
    cache = FeatureCache.open(tmp_path / "cache")
    cache.labels = np.full_like(cache.labels, -1)
    assert contradiction(cache) == ""
