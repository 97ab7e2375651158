"""The rows that a lower precision is judged on, from folders and from shards."""

import tarfile
from io import BytesIO

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_exports.gate.judged_rows import judged_rows
from ulfine_exports.gate.run_rows import RunRows
from ulfine_exports.inference.pictures import to_pixels
from ulfine_fast.fitting import fit
from ulfine_fast.run import load_run


@pytest.fixture(scope="module")
def shard_run(photographs, tmp_path_factory):
    """The run on photographs again, its images in .tar shards."""
    from ulfine_cache.stage_one import cache_features

    folder = tmp_path_factory.mktemp("shards")
    (folder / "source").mkdir()
    for name in ("train", "test"):
        with tarfile.open(folder / "source" / f"{name}-000.tar", "w") as shard:
            for file in sorted((photographs / name).rglob("*.png")):
                key = f"{file.parent.name}-{file.stem}"
                for suffix, content in ((".png", file.read_bytes()), (".cls", file.parent.name.encode())):
                    member = tarfile.TarInfo(key + suffix)
                    member.size = len(content)
                    shard.addfile(member, BytesIO(content))
    cache_features(
        source=folder / "source",
        out=folder / "cache",
        model="builtin:tiny",
        device="cpu",
        precision="fp32",
        index="none",
    )
    return fit(cache=folder / "cache", out=folder / "run", method="lp").path


def read_all(rows):
    batches = list(rows.batches())
    return np.concatenate([batch for batch, _ in batches]), np.concatenate([labels for _, labels in batches])


def test_judged_rows__pixels_are_those_of_the_test_images(pixel_run, photographs):
    rows = judged_rows(RunRows(load_run(pixel_run)), "pixels")
    assert rows.source == "test rows"
    pixels, labels = read_all(rows)
    files = [photographs / rows.cache.paths[row] for row in rows.judged]
    assert {file.parts[-3] for file in files} == {"test"}
    assert [rows.cache.class_names[label] for label in labels] == [file.parent.name for file in files]
    from ulfine_cache.preprocess import Preprocess

    preprocess = Preprocess.from_json(rows.cache.attributes["preprocess"])
    expected = preprocess.normalise(np.stack([to_pixels(file, preprocess) for file in files]))
    assert np.array_equal(pixels, expected)
    calibrated = sum(len(batch) for batch in rows.calibration_batches())
    assert calibrated == len(rows.calibration) == 24
    assert not set(rows.calibration) & set(rows.judged)


def test_judged_rows__shards_give_the_same_images(shard_run, pixel_run):
    (pixels, labels), (expected, truth) = (
        read_all(judged_rows(RunRows(load_run(run)), "pixels")) for run in (shard_run, pixel_run)
    )
    assert np.array_equal(np.sort(labels), np.sort(truth))
    assert {row.tobytes() for row in pixels} == {row.tobytes() for row in expected}


def test_judged_rows__whole_images(pixel_run):
    rows = judged_rows(RunRows(load_run(pixel_run)), "image")
    batches = list(rows.batches())
    assert len(batches) == 12
    assert {(batch.shape, batch.dtype) for batch, _ in batches} == {((1, 70, 90, 3), np.dtype(np.uint8))}


def test_judged_rows__unreadable_images_are_left_out(pixel_run, photographs):
    rows = judged_rows(RunRows(load_run(pixel_run)), "pixels")
    lost = photographs / rows.cache.paths[rows.judged[0]]
    content = lost.read_bytes()
    lost.write_bytes(b"no image")
    try:
        pixels, labels = read_all(judged_rows(RunRows(load_run(pixel_run)), "pixels"))
    finally:
        lost.write_bytes(content)
    assert len(pixels) == len(labels) == len(rows.judged) - 1


def test_judged_rows__shards_gone(shard_run):
    source = shard_run.parent / "source"
    source.rename(source.with_name("away"))
    try:
        with pytest.raises(UlfineError, match=r"are gone.*--precision fp32") as caught:
            judged_rows(RunRows(load_run(shard_run)), "pixels")
    finally:
        source.with_name("away").rename(source)
    assert "\n" not in str(caught.value)
