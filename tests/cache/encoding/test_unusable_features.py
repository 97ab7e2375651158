"""Features that are NaN, infinite or all zeros: named with the image, encoded again in fp32, and never written."""

import shutil

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ulfine_cache.encoders.encoder import ClipEncoder, UnusableFeatures
from ulfine_cache.encoding.lanes import Lanes
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.neighbours import neighbours
from ulfine_cache.store.datasets import replacing_file
from ulfine_cache.store.digest_file import file_sha256
from ulfine_cache.store.shards import read_features, read_shard
from ulfine_cache.verify import verify


@pytest.fixture
def weights(random_model, tmp_path):
    """Write weights of the random model that are changed by a function, and return the file."""

    def change(function):
        state = load_file(random_model[1])
        function(state)
        save_file(state, tmp_path / "changed.safetensors")
        return str(tmp_path / "changed.safetensors")

    return change


def not_a_number(state):
    state["visual.proj"][3, 5] = torch.nan


def overflowing(state):
    """Activations near 1e5 before the projection: too large for fp16, whose largest number is 65504."""
    state["visual.ln_post.weight"] = state["visual.ln_post.weight"] * 1e5


def overflowing_for_some(state):
    """Bright pictures overflow, dark ones do not."""
    state["visual.ln_post.weight"] = state["visual.ln_post.weight"] * 30_000


def zeros(state):
    state["visual.proj"] = torch.zeros_like(state["visual.proj"])


@pytest.mark.parametrize(
    ("precision", "change", "pre_projection"),
    [
        ("fp32", not_a_number, False),
        ("fp32", not_a_number, True),
        ("fp16", not_a_number, False),
        ("bf16", not_a_number, True),
        ("fp32", zeros, False),
        ("fp16", zeros, False),
    ],
)
def test_cache_features__stops_and_names_the_image(run, weights, tmp_path, precision, change, pre_projection):
    file = weights(change)
    with pytest.raises(UlfineError) as caught:
        run(pretrained=file, precision=precision, pre_projection=pre_projection)
    line = str(caught.value)
    assert line.startswith("cat/00.png: the encoder ulfine-random-test ")
    assert file in line
    assert line.endswith("take other weights")
    assert ("its weights hold NaN or infinity (proj)" in line or "(visual.proj)" in line) == (change is not_a_number)
    assert list((tmp_path / "cache").rglob("*.h5")) == []
    assert not (tmp_path / "cache" / "image.faiss").exists()


def test_cache_features__stops_at_the_first_such_image(run, random_model, photos, tmp_path, monkeypatch):
    """Wherever in a batch it lies, and with shards before it that stay."""
    real = ClipEncoder.encode_images
    # No weights at hand fail for one picture alone.
    encoder = ClipEncoder.load(*random_model[:2], "cpu", "fp32")
    pixels = encoder.preprocess.to_pixels(Image.open(photos / "red_fox" / "03.png").convert("RGB"))

    def encode(self, batch):
        for row, picture in enumerate(batch):
            if np.array_equal(picture, pixels):
                raise UnusableFeatures("no direction", row)
        return real(self, batch)

    monkeypatch.setattr(ClipEncoder, "encode_images", encode)
    with pytest.raises(UlfineError, match=r"^red_fox/03.png: no direction$"):
        run()
    assert sorted(path.name for path in (tmp_path / "cache" / "shards").glob("*.h5")) == ["00000.h5"]
    monkeypatch.setattr(ClipEncoder, "encode_images", real)
    run()
    run(out=tmp_path / "whole")
    whole, cache = FeatureCache.open(tmp_path / "whole"), FeatureCache.open(tmp_path / "cache")
    np.testing.assert_array_equal(whole.features(), cache.features())


def test_cache_features__text_that_is_no_number(run, weights, tmp_path):
    def change(state):
        state["text_projection"][0, 0] = torch.inf

    with pytest.raises(UlfineError, match=r"^prompt 'a photo of a cat.': the encoder .*\(text_projection\)"):
        run(pretrained=weights(change))
    assert list((tmp_path / "cache").rglob("*.h5")) == []


@pytest.mark.parametrize("pre_projection", [False, True])
def test_cache_features__fp16_overflow_is_encoded_in_fp32(run, weights, tmp_path, recorder, pre_projection):
    file = weights(overflowing)
    low = ClipEncoder.load("ulfine-random-test", file, "cpu", "fp16")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    with torch.inference_mode():
        assert not low._model.encode_image(low._batch(pixels)).isfinite().all()  # pyright: ignore
    run(pretrained=file, precision="fp16", pre_projection=pre_projection, progress=recorder)
    run(pretrained=file, precision="fp32", pre_projection=pre_projection, out=tmp_path / "exact")
    cache, exact = FeatureCache.open(tmp_path / "cache"), FeatureCache.open(tmp_path / "exact")
    np.testing.assert_array_equal(cache.features(), exact.features())
    if pre_projection:
        np.testing.assert_array_equal(cache.features(pre_projection=True), exact.features(pre_projection=True))
    assert cache.attributes["precision"] == "fp16"
    note = "23 rows overflowed in fp16 and were encoded in fp32: --precision fp32 encodes all rows so"
    assert note in recorder.notes
    assert verify(cache=tmp_path / "cache")["damaged"] == []


def test_encode_images__only_rows_that_overflow_are_encoded_again(weights):
    file = weights(overflowing_for_some)
    low, high = (ClipEncoder.load("ulfine-random-test", file, "cpu", precision) for precision in ("fp16", "fp32"))
    pixels = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)
    with torch.inference_mode():
        raw = low._model.encode_image(low._batch(pixels)).float().numpy()  # pyright: ignore
    overflowed = ~np.isfinite(raw).all(axis=1)
    assert 0 < overflowed.sum() < 60
    features, exact = low.encode_images(pixels), high.encode_images(pixels)
    assert low.encoded_again == overflowed.sum()
    np.testing.assert_allclose(features[overflowed], exact[overflowed], atol=1e-6)
    plain = raw[~overflowed] / np.linalg.norm(raw[~overflowed], axis=1, keepdims=True)
    np.testing.assert_allclose(features[~overflowed], plain, atol=1e-6)


def test_encode_text__overflow_is_encoded_in_fp32(weights):
    def change(state):
        state["ln_final.weight"] = state["ln_final.weight"] * 1e5

    file = weights(change)
    low, high = (ClipEncoder.load("ulfine-random-test", file, "cpu", precision) for precision in ("fp16", "fp32"))
    np.testing.assert_allclose(low.encode_text(["a cat", "a fox"]), high.encode_text(["a cat", "a fox"]), atol=1e-6)


@pytest.fixture
def spoilt(run, tmp_path):
    """A finished cache one of whose shards holds NaN, as version 1 wrote it, without a digest of the shard."""
    run(index="Flat")
    cache = tmp_path / "cache"
    (cache / "shards" / "00001.h5.sha256").unlink()
    before = read_shard(cache / "shards" / "00001.h5")
    with h5py.File(cache / "shards" / "00001.h5", "r+") as file:
        rows = file["features"][:]  # pyright: ignore
        rows[2, 0, 3] = np.nan
        file["features"][:] = rows  # pyright: ignore
    return cache, before


def test_cache__that_holds_nan_is_refused_by_all_who_read_it(spoilt, tmp_path):
    from ulfine_cache.convert import convert

    cache, _ = spoilt
    line = r"shards/00001.h5 holds features that are NaN or infinite: delete it and run the command that made the cache"
    opened = FeatureCache.open(cache)
    for read in (
        lambda: opened.features(),
        lambda: opened.features(np.array([7])),
        lambda: convert(cache=cache, to="npy", out=tmp_path / "npy"),
        lambda: neighbours(cache=cache, queries=[opened.paths[7]]),
    ):
        with pytest.raises(UlfineError, match=line):
            read()
    assert opened.features(np.array([0, 1])).shape == (2, 16)
    assert [problem["path"] for problem in verify(cache=cache)["damaged"]] == [str(cache / "shards" / "00001.h5")]


def test_cache__that_holds_nan_is_mended_as_the_line_says(spoilt, run, tmp_path):
    cache, before = spoilt
    # Unfinished: the index and cache.h5 are made from what is there.
    (cache / "cache.h5").unlink()
    with pytest.raises(UlfineError, match=r"00001.h5 holds features that are NaN or infinite: delete it"):
        run(index="Flat")
    with pytest.raises(UlfineError, match=r"00001.h5 holds features that are NaN or infinite: delete it"):
        run(index="none")
    assert not (cache / "cache.h5").exists()
    (cache / "shards" / "00001.h5").unlink()
    assert run(index="Flat")["shards_encoded"] == 1
    np.testing.assert_array_equal(read_features(cache / "shards" / "00001.h5", None), before.features)


def test_cache__with_prototypes_that_are_nan_is_refused(run, tmp_path):
    run()
    with h5py.File(tmp_path / "cache" / "cache.h5", "r+") as file:
        file["text_features"][0, 0] = np.nan  # pyright: ignore
    (tmp_path / "cache" / "cache.h5.sha256").unlink()
    with pytest.raises(UlfineError, match=r"cache.h5 holds text prototypes that are NaN or infinite: run the command"):
        FeatureCache.open(tmp_path / "cache")
    assert run()["shards_encoded"] == 0
    assert FeatureCache.open(tmp_path / "cache").text_features is not None


def test_neighbours__an_index_of_nan_finds_nothing_and_says_so(run, tmp_path, photos):
    import faiss

    run(index="Flat")
    index = faiss.IndexFlatIP(16)
    index.add(np.full((23, 16), np.nan, np.float32))  # pyright: ignore
    faiss.write_index(index, str(tmp_path / "cache" / "image.faiss"))
    whole = tmp_path / "cache" / "cache.h5"
    with replacing_file(whole, start=whole, digest=True) as file:
        file.attrs["index_sha256"] = file_sha256(tmp_path / "cache" / "image.faiss")
    shutil.copy(photos / "cat" / "00.png", tmp_path / "picture.png")
    with pytest.raises(UlfineError, match=r"image.faiss finds nothing, as where features are NaN: `ulfine verify"):
        neighbours(cache=tmp_path / "cache", queries=[str(tmp_path / "picture.png")])


def test_encode_images__names_the_row_of_the_batch_where_fp32_fails_too(weights, monkeypatch):
    low = ClipEncoder.load("ulfine-random-test", weights(overflowing_for_some), "cpu", "fp16")
    pixels = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)
    low.encode_images(pixels)
    with torch.inference_mode():
        overflowed = np.flatnonzero(~low._model.encode_image(low._batch(pixels)).isfinite().all(dim=1).numpy())  # pyright: ignore

    def fail(batch):
        assert len(batch) == len(overflowed)
        raise UnusableFeatures("no direction", 2)

    monkeypatch.setattr(low._fp32, "encode_images", fail)
    with pytest.raises(UnusableFeatures) as caught:
        low.encode_images(pixels)
    assert caught.value.row == overflowed[2] != 2


def test_lanes__name_the_row_of_the_whole_where_a_batch_was_halved(random_model, recorder, monkeypatch):
    encoder = ClipEncoder.load(*random_model[:2], "cpu", "fp32")

    def encode(batch):
        if len(batch) > 4:
            raise torch.cuda.OutOfMemoryError("too large")
        if batch[1, 0, 0, 0] == 5:
            raise UnusableFeatures("no direction", 1)
        return np.ones((len(batch), 16), np.float32)

    monkeypatch.setattr(encoder, "encode_images", encode)
    pixels = np.zeros((8, 32, 32, 3), np.uint8) + np.arange(8, dtype=np.uint8)[:, None, None, None]
    lanes = Lanes(encoder, 8, pre_projection=False, progress=recorder)
    with lanes, pytest.raises(UnusableFeatures) as caught:
        lanes.encode(pixels)
    assert caught.value.row == 5
