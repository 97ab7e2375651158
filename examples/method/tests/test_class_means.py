"""Run with pytest where ulfine-fast and this package are installed."""

import numpy as np

from ulfine_fast import ULFineClassifier


def test_class_means__tells_clusters_apart():
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(3, 16))
    labels = np.repeat(["ash", "birch", "elm"], 20)
    rows = np.repeat(centres, 20, axis=0) + 0.3 * generator.normal(size=(60, 16))
    classifier = ULFineClassifier("class-means").fit(rows[::2], labels[::2])
    assert classifier.score(rows[1::2], labels[1::2]) == 1.0
