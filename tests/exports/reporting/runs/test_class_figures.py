"""Figures with a place for each class: few are named, of many only the rank is drawn."""

import numpy as np
import pytest

from ulfine_exports.reporting.runs.class_figures import MOST_NAMED, counts_figure, recall_figure


@pytest.mark.parametrize("n_classes", [1, 2, MOST_NAMED, MOST_NAMED + 1, 300])
def test_figures__of_any_number_of_classes(n_classes):
    names = [f"class number {k}" for k in range(n_classes)]
    labelled = np.maximum(1, 1000 // (np.arange(n_classes) + 1))
    recalls = {"zero-shot": np.linspace(0, 1, n_classes), "ulfine": np.linspace(1, 0, n_classes)}
    recalls["ulfine"][0] = recalls["zero-shot"][0] = np.nan
    for svg in (
        counts_figure(names, labelled, labelled * 0, labelled / 3),
        counts_figure(names, labelled, None, None),
        recall_figure(names, recalls),
    ):
        assert ("class number 0" in svg) == (n_classes <= MOST_NAMED)
        assert "nan" not in svg
        assert len(svg) < 300_000
