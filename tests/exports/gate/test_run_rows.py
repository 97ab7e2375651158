"""The rows of a run's cache: one opening for a whole export, evenly spaced rows, images from every kind of source."""

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.splits import make_split
from ulfine_cache.stage_one import cache_features
from ulfine_exports.export import export_onnx
from ulfine_exports.gate.judged_rows import judged_rows
from ulfine_exports.gate.parity_rows import picture_batches, picture_rows
from ulfine_exports.gate.run_rows import RunRows
from ulfine_fast.fitting import fit
from ulfine_fast.run import load_run


@pytest.fixture(scope="module")
def table_run(photographs, tmp_path_factory):
    """A run on the photographs again, named by a table."""
    place = tmp_path_factory.mktemp("table")
    shutil.copytree(photographs, place / "photographs")
    files = sorted(file.relative_to(place / "photographs") for file in (place / "photographs").rglob("*.png"))
    rows = [(file.as_posix(), file.parts[1], file.parts[0]) for file in files]
    with (place / "photographs" / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    cache_features(
        source=place / "photographs" / "table.csv",
        out=place / "cache",
        model="builtin:tiny",
        device="cpu",
        precision="fp32",
        index="none",
    )
    return fit(cache=place / "cache", out=place / "run", method="lp").path


@pytest.fixture
def opened(monkeypatch):
    """Directories of the caches that were opened."""
    paths = []
    really = FeatureCache.open.__func__

    def counted(cls, path):
        paths.append(path)
        return really(cls, path)

    monkeypatch.setattr(FeatureCache, "open", classmethod(counted))
    return paths


def test_export_onnx__opens_the_cache_once(feature_run, feature_cache, opened, tmp_path):
    """An estimated prior, the rows of the gate and those that fp16 is judged on are all of one cache."""
    options = {"test_prior": "estimate", "precision": "fp16", "max_drop": 100.0}
    figures = export_onnx(run=feature_run, onnx=tmp_path / "m.onnx", **options)
    assert (figures["parity"]["source"], figures["comparison"]["source"]) == ("test rows", "test rows")
    assert opened == [feature_cache]


def test_export_onnx__fp32_of_images_opens_the_cache_once(table_run, opened, tmp_path):
    figures = export_onnx(run=table_run, onnx=tmp_path / "m.onnx", input="pixels")
    assert figures["parity"]["source"] == "test rows"
    assert len(opened) == 1


@pytest.mark.parametrize("kind", ["pixels", "image"])
def test_rows__a_table_and_a_folder_give_the_same(kind, pixel_run, table_run):
    from ulfine_cache.preprocess import Preprocess

    arrays = []
    for run in (pixel_run, table_run):
        rows = RunRows(load_run(run))
        if kind == "pixels":
            preprocess = Preprocess.from_json(rows.cache.attributes["preprocess"])
            compared = picture_rows(rows, preprocess)
            assert (compared.source, compared.obstacle) == ("test rows", "")
            pictures = list(compared.rows)
        else:
            batches = picture_batches(rows, (32, 32))
            assert (batches.source, batches.obstacle) == ("test rows and synthetic rows", "")
            pictures = [picture for batch in batches.batches[:8] for picture in batch]
        judged = [picture for batch, _ in judged_rows(rows, kind).batches() for picture in batch]
        # What fp16 is judged on are the same twelve pictures, read in the same way.
        assert {picture.tobytes() for picture in pictures} <= {picture.tobytes() for picture in judged}
        arrays.append(sorted(picture.tobytes() for picture in pictures))
    assert arrays[0] == arrays[1]


def test_sample__test_rows_then_labelled_ones_then_any(feature_run, feature_cache, tmp_path):
    rows = RunRows(load_run(feature_run))
    test = rows.split.test
    chosen, source = rows.sample(5)
    # Forty test rows: the first, the last, and three at equal distances between them.
    assert (chosen.tolist(), source) == (test[[0, 10, 20, 29, 39]].tolist(), "test rows")
    rows.split = replace(rows.split, test=test[:0])
    chosen, source = rows.sample(3)
    assert (set(chosen) <= set(rows.split.labelled), len(chosen), source) == (True, 3, "labelled rows")
    rows.split, rows.cache.labels = replace(rows.split, labelled=test[:0]), np.full(rows.cache.n_rows, -1)
    chosen, source = rows.sample(2)
    assert (chosen.tolist(), source) == ([0, rows.cache.n_rows - 1], "rows of the cache")


def test_split__deleted_since(feature_run, feature_cache, tmp_path):
    shutil.copytree(feature_cache, tmp_path / "cache")
    make_split(cache=tmp_path / "cache", name="other", labelled_max=3, imbalance=1.0)
    run = fit(cache=tmp_path / "cache", out=tmp_path / "run", split="other", method="lp").path
    (tmp_path / "cache" / "splits" / "other.h5").unlink()
    rows = RunRows(load_run(run))
    assert rows.split.name == ""
    assert rows.sample(4)[1] == "test rows"


def test_pictures__the_table_is_gone(table_run):
    table = table_run.parent / "photographs" / "table.csv"
    table.rename(table.with_suffix(".away"))
    try:
        with pytest.raises(UlfineError, match=r"the images of the cache .* are gone \(no file .*table\.csv") as caught:
            next(RunRows(load_run(table_run)).pictures(np.arange(3)))
    finally:
        table.with_suffix(".away").rename(table)
    assert "\n" not in str(caught.value)


def test_judged_rows__no_row_has_a_class(feature_run):
    rows = RunRows(load_run(feature_run))
    rows.split = replace(rows.split, labelled=rows.split.test[:0], test=rows.split.test[:0])
    rows.cache.labels = np.full(rows.cache.n_rows, -1)
    with pytest.raises(UlfineError, match=r"holds no labelled rows, so .* --precision fp32"):
        judged_rows(rows, "features")
