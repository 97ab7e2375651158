"""Stage one from folder to cache: what is in it, what is skipped, what is refused, and going on."""

import csv
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.cache.conftest import write_picture
from ulfine_cache.encoders.encoder import ClipEncoder
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.pictures.pixels import decode


def shard_bytes(cache):
    return {path.name: path.read_bytes() for path in sorted((cache / "shards").glob("*.h5"))}


@pytest.mark.parametrize("inside", ["", "cache", "cat/cache"])
def test_cache_features__refuses_a_cache_inside_the_images(run, photos, inside):
    before = sorted(photos.rglob("*"))
    with pytest.raises(UlfineError, match=r"lies in the folder of images .*photos: choose a directory outside"):
        run(out=photos / inside)
    assert sorted(photos.rglob("*")) == before


def test_cache_features__rows_labels_and_features(run, photos, tmp_path, random_model):
    figures = run()
    assert (figures["rows"], figures["labelled"], figures["unlabelled"], figures["skipped"]) == (23, 18, 5, 0)
    cache = FeatureCache.open(tmp_path / "cache")
    assert cache.class_names == ["cat", "red fox", "zebra"]
    assert cache.paths == sorted(cache.paths)
    folders = ["cat", "red_fox", "zebra"]
    expected = [-1 if path.startswith("unlabelled") else folders.index(path.split("/")[0]) for path in cache.paths]
    assert cache.labels.tolist() == expected
    encoder = ClipEncoder.load(*random_model[:2], "cpu", "fp32")
    one_by_one = [encoder.preprocess.to_pixels(decode((photos / path).read_bytes())) for path in cache.paths]
    np.testing.assert_allclose(cache.features(), encoder.encode_images(np.stack(one_by_one)), atol=1e-3)
    text = encoder.encode_text(["a photo of a cat.", "a photo of a red fox.", "a photo of a zebra."])
    np.testing.assert_allclose(cache.text_features, text, atol=1e-6)
    assert (tmp_path / "cache" / "skipped.csv").read_text().split() == ["path,reason"]


def test_cache_features__prompt_ensemble(run, tmp_path, random_model):
    templates = tmp_path / "templates.txt"
    templates.write_text("a photo of a {}.\na drawing of a {}.\n")
    run(templates=str(templates))
    cache = FeatureCache.open(tmp_path / "cache")
    assert cache.prompts[1] == ["a photo of a red fox.", "a drawing of a red fox."]
    assert cache.prompt_features.shape == (3, 2, 16)
    mean = cache.prompt_features.mean(axis=1)
    np.testing.assert_allclose(cache.text_features, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("shard_size", [1, 4, 100])
def test_cache_features__shard_size_does_not_matter(run, tmp_path, shard_size):
    # One image at a time, because a CPU's matrix product may depend on the size of the batch in the last bit.
    run(batch_size=1)
    run(batch_size=1, shard_size=shard_size, out=tmp_path / "other")
    one, two = FeatureCache.open(tmp_path / "cache"), FeatureCache.open(tmp_path / "other")
    np.testing.assert_array_equal(one.features(), two.features())
    assert one.fingerprint == two.fingerprint
    assert one.paths == two.paths


def test_cache_features__again_is_a_no_op(run, tmp_path, recorder):
    run()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.h5")}
    figures = run(progress=recorder)
    assert figures["shards_encoded"] == 0
    assert any("complete: nothing to do" in note for note in recorder.notes)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.h5")}


def test_cache_features__goes_on_after_lost_shards(run, tmp_path, recorder):
    run()
    cache = tmp_path / "cache"
    before = shard_bytes(cache)
    (cache / "cache.h5").unlink()
    (cache / "shards" / "00001.h5").unlink()
    (cache / "shards" / "00003.h5").write_bytes(b"half a shard")
    (cache / "shards" / "00002.h5.partial").write_bytes(b"left over")
    with pytest.raises(UlfineError, match="unfinished: run the command that makes it again"):
        FeatureCache.open(cache)
    figures = run(progress=recorder)
    assert figures["shards_encoded"] == 2
    assert shard_bytes(cache) == before
    assert any("3 of 5 shards are complete" in note for note in recorder.notes)


def test_cache_features__changed_images_are_encoded_again(run, photos, tmp_path, recorder):
    run()
    before = FeatureCache.open(tmp_path / "cache")
    features = before.features()
    write_picture(photos / "cat" / "00.png", 999)
    figures = run(progress=recorder)
    assert figures["shards_encoded"] == 1
    assert (figures["images_encoded"], figures["images_kept"]) == (1, 4)
    assert any(
        "1 shard is out of date (1 file changed or touched): what is new in it" in note for note in recorder.notes
    )
    after = FeatureCache.open(tmp_path / "cache")
    differs = (features != after.features()).any(axis=1)
    assert differs.nonzero()[0].tolist() == [0]
    assert after.fingerprint != before.fingerprint


def test_cache_features__fewer_images_leave_no_old_shards(run, photos, tmp_path):
    run()
    shutil.rmtree(photos / "unlabelled")
    assert run()["rows"] == 18
    run(out=tmp_path / "fresh")
    assert shard_bytes(tmp_path / "cache") == shard_bytes(tmp_path / "fresh")


def test_cache_features__interrupt_leaves_a_state_to_go_on_from(run, tmp_path):
    class Interrupting:
        def update(self, stage, done, total, **figures):
            if done >= 12:
                raise KeyboardInterrupt

        def note(self, message):
            pass

    with pytest.raises(KeyboardInterrupt):
        run(progress=Interrupting())
    assert 0 < len(shard_bytes(tmp_path / "cache")) < 5
    assert run()["shards_encoded"] == 3
    run(out=tmp_path / "whole")
    assert shard_bytes(tmp_path / "cache") == shard_bytes(tmp_path / "whole")


def test_cache_features__unreadable_images_are_listed(run, photos, tmp_path, recorder):
    good = (photos / "cat" / "01.png").read_bytes()
    (photos / "cat" / "zero.jpg").write_bytes(b"")
    (photos / "cat" / "text.jpg").write_text("hello")
    (photos / "cat" / "cut.png").write_bytes(good[: len(good) // 2])
    (photos / "zebra" / "gone.jpg").symlink_to(photos / "nowhere.jpg")
    Image.new("L", (1, 1)).save(photos / "zebra" / "one.png")
    figures = run(progress=recorder)
    assert (figures["rows"], figures["skipped"], figures["images"]) == (24, 4, 28)
    with (tmp_path / "cache" / "skipped.csv").open(newline="") as file:
        rows = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert rows == {
        "cat/cut.png": rows["cat/cut.png"],
        "cat/text.jpg": "not an image",
        "cat/zero.jpg": "empty file",
        "zebra/gone.jpg": "cannot be read: no such file or directory",
    }
    assert any("4 images cannot be read" in note for note in recorder.notes)
    # Resuming writes the same list again, without reading the images of complete shards.
    (tmp_path / "cache" / "skipped.csv").unlink()
    assert run()["shards_encoded"] == 0
    with (tmp_path / "cache" / "skipped.csv").open(newline="") as file:
        assert {row["path"] for row in csv.DictReader(file)} == set(rows)


def test_cache_features__a_shard_without_rows(run, photos, tmp_path):
    for path in (photos / "cat").iterdir():
        path.write_bytes(b"")
    figures = run(shard_size=3)
    assert (figures["rows"], figures["skipped"]) == (17, 6)
    cache = FeatureCache.open(tmp_path / "cache")
    assert cache.features().shape == (17, 16)
    assert len(cache.paths) == len(set(cache.paths)) == 17
    # A folder without a readable image is no class.
    assert cache.class_names == ["red fox", "zebra"]


def test_cache_features__nothing_readable(run, photos, tmp_path):
    for path in photos.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(UlfineError, match=r"none of the 23 images .* can be read \(first: cat/00.png: empty file\)"):
        run()
    assert not (tmp_path / "cache" / "cache.h5").exists()


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"shard_size": 6}, "shard size 5 -> 6"),
        ({"precision": "bf16"}, "precision fp32 -> bf16"),
        ({"views": "five-crop"}, "preprocess .* -> .*, views center -> five-crop"),
    ],
)
def test_cache_features__another_request_is_refused(run, changes, difference):
    run()
    with pytest.raises(UlfineError, match=rf"made in another way \({difference}\): choose another --out"):
        run(**changes)


def test_cache_features__other_weights_are_refused_the_same_under_another_name_not(run, random_model, tmp_path):
    from safetensors.torch import load_file, save_file

    run()
    shutil.copy(random_model[1], tmp_path / "copy.safetensors")
    assert run(pretrained=str(tmp_path / "copy.safetensors"))["shards_encoded"] == 0
    weights = load_file(random_model[1])
    weights["logit_scale"] = weights["logit_scale"] + 1
    save_file(weights, tmp_path / "other.safetensors")
    with pytest.raises(UlfineError, match=r"pretrained .* -> other\.safetensors, weights .* -> "):
        run(pretrained=str(tmp_path / "other.safetensors"))


def test_cache_features__classes_file(run, tmp_path):
    (tmp_path / "classes.csv").write_text("folder,name,description\ncat,house cat,a pet\n")
    run(classes=tmp_path / "classes.csv")
    cache = FeatureCache.open(tmp_path / "cache")
    assert cache.class_names == ["house cat", "red fox", "zebra"]
    assert cache.prompts[0] == ["a photo of a house cat, a pet."]
    assert run()["images_encoded"] == 0
    assert FeatureCache.open(tmp_path / "cache").class_names == ["cat", "red fox", "zebra"]


def test_cache_features__index_can_be_changed(run, tmp_path):
    run(index="none")
    assert not (tmp_path / "cache" / "image.faiss").exists()
    assert run(index="auto")["index"] == "Flat"
    assert run(index="HNSW8")["index"] == "HNSW8"
    with pytest.raises(UsageError, match="FAISS has no such index"):
        run(index="Nonsense")
    assert FeatureCache.open(tmp_path / "cache").attributes["index"] == "HNSW8"


def test_cache_features__one_class_is_fine(run, photos):
    shutil.rmtree(photos / "cat")
    shutil.rmtree(photos / "zebra")
    assert run()["classes"] == 1


def test_cache_features__only_unlabelled(run, photos, tmp_path):
    for name in ("cat", "zebra", "red_fox"):
        shutil.rmtree(photos / name)
    assert run()["classes"] == 0
    (tmp_path / "classes.csv").write_text("folder,name\nx,cat\ny,dog\n")
    assert run(out=tmp_path / "named", classes=tmp_path / "classes.csv")["classes"] == 2
    assert FeatureCache.open(tmp_path / "named").text_features.shape == (2, 16)


def test_cache_features__targets_that_cannot_be_written(run, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UlfineError, match="cannot create the directory"):
        run(out=tmp_path / "file")
    with pytest.raises(UlfineError, match="cannot create the directory"):
        run(out=tmp_path / "file" / "below")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_cache_features__read_only_target(run, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(UlfineError, match="permission denied"):
        run(out=tmp_path / "locked")


def test_cache_features__full_disk(run, tmp_path, monkeypatch):
    import errno

    import h5py

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(h5py.File, "create_dataset", full)
    with pytest.raises(UlfineError, match=r"cannot write .*00000\.h5: no space left on device"):
        run()
    monkeypatch.undo()
    assert not list((tmp_path / "cache").rglob("*.partial"))
    assert run()["rows"] == 23


def test_cache_features__wrong_values(run, photos):
    for changes, message in (
        ({"views": "seven"}, "no views 'seven'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"shard_size": 0}, "shard_size=0"),
        ({"source": 3}, "source="),
        ({"precision": "fp8"}, "precision='fp8' cannot be used: choose auto, fp32, bf16, fp16 or int8"),
    ):
        with pytest.raises(UsageError, match=message):
            run(**changes)


def test_cache_features__names_that_were_not_made_for_people_are_noted(run, photos, tmp_path, recorder):
    for number, name in enumerate(("cat", "red_fox", "zebra")):
        (photos / name).rename(photos / f"{number:03d}.{name}")
    run(progress=recorder)
    note = "the classes' names begin with numbers, such as 000.cat, which tell a text encoder little"
    assert f"{note}: give it names in words with --classes" in recorder.notes
    (tmp_path / "classes.csv").write_text("folder,name\n000.cat,cat\n001.red_fox,red fox\n002.zebra,zebra\n")
    recorder.notes.clear()
    run(classes=tmp_path / "classes.csv", out=tmp_path / "named", progress=recorder)
    assert not any("the classes' names" in note for note in recorder.notes)


def test_cache_features__prompts_that_are_cut_are_noted(run, tmp_path, recorder):
    """The encoder reads 16 tokens, of which a start, an end, "a photo of a" and "." take seven."""
    longest = " ".join(["dog"] * 9)
    (tmp_path / "classes.csv").write_text(f"folder,name\ncat,{longest}\nzebra,{longest} dog\n")
    run(classes=tmp_path / "classes.csv", progress=recorder)
    prompt = f"a photo of a {longest} dog."
    line = "1 of 3 prompts are longer than the encoder reads, and their ends are cut off, first of"
    assert f"{line} {prompt!r}: give shorter names or descriptions with --classes" in recorder.notes
