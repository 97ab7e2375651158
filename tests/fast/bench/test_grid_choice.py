"""The choice sees labelled rows alone, and is that of a cross-validation by hand."""

import numpy as np
import torch

from ulfine_cache.progress import Silent
from ulfine_fast.bench.contender import find_contenders
from ulfine_fast.bench.grid_choice import N_FOLDS, choose_from_grid
from ulfine_fast.rows.cross_validation import kept
from ulfine_fast.rows.folds import stratified_folds
from ulfine_fast.rows.training_data import load_training_data


def test_choice__by_hand(opened):
    data = load_training_data(opened, opened.read_split("lt"))
    [contender] = find_contenders("knn", grid=["knn.neighbours=[1],[5],[20, 40]"])
    settings, tried = choose_from_grid(contender, data, seed=3)
    folds = stratified_folds(data.labels, N_FOLDS, torch.Generator().manual_seed(3))
    for values, found in zip(contender.grid, tried["left_out_macro_accuracy"], strict=True):
        right = torch.zeros(len(data.labels))
        for fold in range(N_FOLDS):
            out = folds == fold
            model = contender.method.fit(kept(data, ~out), values, 3, Silent()).model
            right[out] = (model(data.features[out]).argmax(1) == data.labels[out]).float()
        recalls = [right[data.labels == label].mean().item() for label in range(data.n_classes)]
        assert abs(found - np.mean(recalls)) < 1e-6
    best = max(tried["left_out_macro_accuracy"])
    assert tried["left_out_macro_accuracy"][contender.grid.index(settings)] == best


def test_choice__class_of_one_row_without_text(bare_cache):
    import dataclasses

    from ulfine_cache.feature_cache import FeatureCache

    opened = FeatureCache.open(bare_cache)
    data = load_training_data(opened, opened.read_split("lt"))
    first = torch.nonzero(data.labels == 0).flatten()[1:]
    keep = torch.ones(len(data.labels), dtype=torch.bool)
    keep[first] = False
    data = kept(dataclasses.replace(data, text=None), keep)
    assert int(data.labelled_counts[0]) == 1
    [contender] = find_contenders("ulfine", grid=["ulfine.anchor_ridge=1,10"])
    settings, tried = choose_from_grid(contender, data, seed=0)
    assert settings in contender.grid
    assert len(tried["left_out_macro_accuracy"]) == 2
