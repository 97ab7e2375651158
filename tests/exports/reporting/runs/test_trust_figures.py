"""Curves about confidence, against a slow and obvious computation."""

import numpy as np

from ulfine_exports.reporting.runs.trust_figures import (
    coverage_curve,
    coverage_figure,
    pseudo_label_figure,
    reliability_figure,
)


def test_coverage_curve__by_every_threshold():
    generator = np.random.default_rng(1)
    confidence = generator.integers(1, 20, 300) / 20
    right = generator.random(300) < confidence
    shares, accuracy = coverage_curve(confidence, right)
    thresholds = sorted(set(confidence.tolist()), reverse=True)
    assert np.allclose(shares, [(confidence >= level).mean() for level in thresholds])
    assert np.allclose(accuracy, [right[confidence >= level].mean() for level in thresholds])
    assert shares[-1] == 1


def test_figures__of_one_row_and_of_equal_confidences():
    """The smallest inputs that there are: nothing divides by zero."""
    for confidence, right in (([1.0], [True]), ([0.5] * 4, [True, False, False, True])):
        rows = np.array(confidence), np.array(right)
        groups = dict.fromkeys(("head", "medium", "tail"), np.zeros(len(right), bool))
        for svg in (reliability_figure(*rows), coverage_figure(*rows), pseudo_label_figure(*rows, groups)):
            assert svg.startswith("<svg")
            assert "nan" not in svg
