"""A collection that grew: only what is new is encoded, and the cache is what a fresh one would be."""

import csv
import os
import re
import shutil

import numpy as np
import pytest

from tests.cache.conftest import write_picture
from ulfine_cache.encoding.former_rows import FormerRows
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.sources.source import SourceItem, stamp
from ulfine_cache.store.shards import Shard, content_hash, shard_path, write_shard
from ulfine_cache.verify import verify


@pytest.fixture
def encoded_batches(monkeypatch):
    """Numbers of images that the encoder was given, one for each batch."""
    from ulfine_cache.encoding.lanes import Lanes

    batches, encode = [], Lanes.encode

    def counted(self, pixels):
        batches.append(len(pixels))
        return encode(self, pixels)

    monkeypatch.setattr(Lanes, "encode", counted)
    return batches


def touch_all(folder):
    for path in folder.rglob("*.png"):
        os.utime(path, (1_600_000_000, 1_600_000_000))


def shard_bytes(cache):
    return {path.name: path.read_bytes() for path in sorted((cache / "shards").glob("*.h5"))}


def assert_same_cache(one, other):
    one, other = FeatureCache.open(one), FeatureCache.open(other)
    assert one.paths == other.paths
    assert one.class_names == other.class_names
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(one.set_names, other.set_names)
    np.testing.assert_array_equal(one.text_features, other.text_features)
    # Another batch may round the last bit of a float16 otherwise.
    np.testing.assert_allclose(one.features(), other.features(), atol=1e-3)


def grow(photos):
    """Five added (one of them first of all), one changed, one removed, one moved to another class, all touched."""
    write_picture(photos / "ant" / "00.png", 500)
    for number in (3, 17):
        write_picture(photos / "cat" / f"0{number}b.png", 600 + number)
    write_picture(photos / "zebra" / "zz.png", 700)
    write_picture(photos / "unlabelled" / "0.png", 701)
    write_picture(photos / "red_fox" / "01.png", 800)
    (photos / "cat" / "02.png").unlink()
    (photos / "cat" / "03.png").rename(photos / "zebra" / "was_a_cat.png")
    touch_all(photos)


def test_growing__only_what_is_new_is_encoded(run, photos, tmp_path, recorder, encoded_batches):
    run()
    grow(photos)
    encoded_batches.clear()
    figures = run(progress=recorder)
    assert sum(encoded_batches) == 6  # five added and one changed
    assert (figures["images_encoded"], figures["images_kept"], figures["rows"]) == (6, 21, 27)
    assert any("found among those of before by what is in them: 21" in note for note in recorder.notes)
    assert not (tmp_path / "cache" / ".former").exists()
    run(out=tmp_path / "fresh")
    assert_same_cache(tmp_path / "cache", tmp_path / "fresh")
    assert verify(cache=tmp_path / "cache")["damaged"] == []
    assert run()["shards_encoded"] == 0


def changes(notes):
    """What the line about shards that are out of date says of the kinds of changes."""
    return re.search(r"out of date \((.*)\): what is new", "\n".join(notes))[1]


def test_growing__the_kinds_of_changes_are_said(run, photos, recorder):
    run()
    grow(photos)
    run(progress=recorder)
    assert changes(recorder.notes) == ("6 images added, 2 images removed, 21 files changed or touched, 1 class added")
    recorder.notes.clear()
    (photos / "ant" / "00.png").rename(photos / "cat" / "ant.png")
    run(progress=recorder)
    assert changes(recorder.notes) == "1 image added, 1 image removed, 1 class removed"


def test_growing__changes_of_labels_sets_and_words_are_said(run, tmp_path, photos, recorder):
    table = photos / "table.csv"
    names = [f"cat/0{number}.png" for number in range(6)] + [f"zebra/0{number}.png" for number in range(4)]

    def written(labels, sets):
        rows = zip(names, labels, sets, strict=True)
        table.write_text("path,label,set\n" + "".join(f"{','.join(row)}\n" for row in rows))
        recorder.notes.clear()
        return run(source=table, progress=recorder)

    labels = ["cat"] * 6 + ["zebra"] * 4
    written(labels, ["train"] * 10)
    assert written(["cat"] * 5 + ["zebra"] * 5, ["train"] * 10)["images_encoded"] == 0
    assert changes(recorder.notes) == "1 label changed"
    written(["cat"] * 4 + [""] + ["zebra"] * 5, ["test"] * 2 + ["train"] * 8)
    assert changes(recorder.notes) == "1 label changed, 2 sets changed"
    written(["cat"] * 4 + ["ant"] + ["zebra"] * 5, ["test"] * 2 + ["train"] * 8)
    # The numbers of the other classes moved, their names did not.
    assert changes(recorder.notes) == "1 label changed, 1 class added"
    run(source=table, progress=recorder, templates="imagenet")
    assert changes(recorder.notes[-4:]) == "other templates"
    words = tmp_path / "classes.csv"
    words.write_text("folder,name\ncat,tom cat\nzebra,zebra\nant,ant\n")
    recorder.notes.clear()
    run(source=table, progress=recorder, templates="imagenet", classes=words)
    assert changes(recorder.notes) == "other classes"


def test_growing__a_corrected_label_costs_nothing(run, photos, tmp_path, encoded_batches):
    rows = [[path.name, path.parent.name] for path in sorted(photos.glob("*/*.png"))]
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, (row, path) in enumerate(zip(rows, sorted(photos.glob("*/*.png")), strict=True)):
        row[0] = f"{number:02d}.png"
        shutil.copy2(path, flat / row[0])
    table = flat / "labels.csv"

    def write():
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([("path", "label"), *rows])

    write()
    run(source=table)
    rows[0][1] = "zebra"
    write()
    encoded_batches.clear()
    assert (run(source=table)["images_encoded"], encoded_batches) == (0, [])
    cache = FeatureCache.open(tmp_path / "cache")
    assert cache.class_names[cache.labels[0]] == "zebra"
    run(source=table, out=tmp_path / "fresh")
    # The same batches were encoded, so it is the same to the last bit.
    assert cache.fingerprint == FeatureCache.open(tmp_path / "fresh").fingerprint


def test_growing__an_image_that_has_several_classes_now_is_left_out(run, photos, tmp_path, recorder):
    table = photos / "table.csv"
    table.write_text("path,cat,dog\ncat/00.png,1,0\ncat/01.png,0,1\ncat/02.png,1,0\n")
    assert run(source=table)["rows"] == 3
    table.write_text("path,cat,dog\ncat/00.png,1,0\ncat/01.png,0,1\ncat/02.png,1,1\n")
    figures = run(source=table, progress=recorder)
    assert (figures["rows"], figures["unlabelled"], figures["images_encoded"]) == (2, 0, 0)
    assert figures["skipped_reasons"] == {"has several classes": 1}
    with (tmp_path / "cache" / "skipped.csv").open(newline="") as file:
        assert list(csv.reader(file))[1:] == [["cat/02.png", "has several classes: cat, dog"]]
    assert f"1 image has several classes: see {tmp_path / 'cache' / 'skipped.csv'}" in recorder.notes
    table.write_text("path,cat,dog\ncat/00.png,1,0\ncat/01.png,0,1\ncat/02.png,0,1\n")
    assert run(source=table)["rows"] == 3


def test_growing__a_touch_costs_nothing(run, photos, tmp_path, encoded_batches):
    run()
    before = FeatureCache.open(tmp_path / "cache").fingerprint
    touch_all(photos)
    encoded_batches.clear()
    assert (run()["images_encoded"], encoded_batches) == (0, [])
    assert FeatureCache.open(tmp_path / "cache").fingerprint == before


def test_growing__files_that_were_not_touched_are_not_read(run, photos, tmp_path, monkeypatch):
    from ulfine_cache.sources.folders.image_folder import ImageFolder

    run()
    write_picture(photos / "ant" / "00.png", 500)
    read, names = ImageFolder.read, []

    def noted(self, item):
        names.append(item.path)
        return read(self, item)

    monkeypatch.setattr(ImageFolder, "read", noted)
    assert run()["images_kept"] == 23
    assert names == ["ant/00.png"]


def test_growing__other_words_for_the_classes_cost_no_image(run, photos, tmp_path, encoded_batches):
    run()
    classes = tmp_path / "classes.csv"
    classes.write_text("folder,name\nred_fox,Vulpes vulpes\n")
    encoded_batches.clear()
    assert run(classes=classes, templates="imagenet")["images_encoded"] == 0
    assert encoded_batches == []
    run(classes=classes, templates="imagenet", out=tmp_path / "fresh")
    assert_same_cache(tmp_path / "cache", tmp_path / "fresh")
    assert shard_bytes(tmp_path / "cache") == shard_bytes(tmp_path / "fresh")


def test_growing__views_and_what_lies_before_the_projection_are_kept(run, photos, tmp_path):
    options = {"views": "weak-strong:2", "pre_projection": True}
    run(**options)
    grow(photos)
    assert run(**options)["images_encoded"] == 6
    run(out=tmp_path / "fresh", **options)
    for one, other in zip(
        *(sorted((tmp_path / name / "shards").iterdir()) for name in ("cache", "fresh")), strict=True
    ):
        assert one.stat().st_size == other.stat().st_size
    one, other = FeatureCache.open(tmp_path / "cache"), FeatureCache.open(tmp_path / "fresh")
    for view in range(3):
        for pre in (False, True):
            np.testing.assert_allclose(
                one.features(view=view, pre_projection=pre), other.features(view=view, pre_projection=pre), atol=2e-3
            )


@pytest.mark.parametrize("stop_at", [1, 8, 15, 26])
def test_growing__interrupted_and_gone_on_with_is_the_same(run, photos, tmp_path, stop_at):
    class Interrupting:
        def update(self, stage, done, total, **figures):
            if stage == "encoding" and done >= stop_at:
                raise KeyboardInterrupt

        def note(self, message):
            pass

    run()
    shutil.copytree(tmp_path / "cache", tmp_path / "whole")
    grow(photos)
    # New content that comes twice, so that a shard of this very run could be taken for one of before.
    shutil.copy2(photos / "ant" / "00.png", photos / "zebra" / "zzz.png")
    run(out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(progress=Interrupting())
    with pytest.raises(UlfineError, match="unfinished"):
        FeatureCache.open(tmp_path / "cache")
    run()
    assert shard_bytes(tmp_path / "cache") == shard_bytes(tmp_path / "whole")
    assert not (tmp_path / "cache" / ".former").exists()


def test_growing__what_was_put_aside_belongs_to_its_request(run, photos, tmp_path):
    run()
    shutil.move(tmp_path / "cache" / "shards", tmp_path / "cache" / ".former")
    (tmp_path / "cache" / "cache.h5").unlink()
    with pytest.raises(UlfineError, match=r"made in another way \(precision fp32 -> bf16\)"):
        run(precision="bf16")
    assert run()["images_encoded"] == 0


def test_growing__a_damaged_shard_of_before_is_encoded_again(run, photos, tmp_path):
    run()
    shutil.move(tmp_path / "cache" / "shards", tmp_path / "cache" / ".former")
    (tmp_path / "cache" / ".former" / "00001.h5").write_bytes(b"no shard")
    figures = run()
    assert (figures["images_encoded"], figures["images_kept"]) == (5, 18)


def test_growing__a_damaged_shard_too_many_does_not_stay(run, photos, tmp_path):
    run()
    shutil.rmtree(photos / "unlabelled")
    last = tmp_path / "cache" / "shards" / "00004.h5"
    with last.open("r+b") as file:
        file.seek(1200)
        file.write(b"damage")
    run()
    assert not last.exists()
    assert run()["shards_encoded"] == 0


def test_growing__a_cache_of_version_1_is_grown(run, photos, tmp_path):
    import h5py

    run()
    for path in (tmp_path / "cache" / "shards").glob("*.h5"):
        with h5py.File(path, "r+") as file:
            del file["stamp"]
        path.with_name(f"{path.name}.sha256").unlink()
    write_picture(photos / "ant" / "00.png", 500)
    assert run()["images_kept"] == 23


def test_former_rows__the_first_row_of_a_content_counts(tmp_path):
    def shard(values, contents):
        features = np.array(values, np.float16)[:, None, None]
        n = len(values)
        items = [SourceItem(f"{content}-{number}", 0, "", 1, 1) for number, content in enumerate(contents)]
        return Shard(
            features,
            np.zeros(n, np.int64),
            [item.path for item in items],
            [""] * n,
            [content_hash(content.encode()) for content in contents],
            stamps=[stamp(item) for item in items],
        )

    (tmp_path / "shards").mkdir()
    write_shard(shard_path(tmp_path, 0), shard([1, 2, 3], ["a", "b", "a"]))
    write_shard(shard_path(tmp_path, 1), shard([4, 5], ["b", "c"]))
    (tmp_path / "shards").rename(tmp_path / ".former")
    former = FormerRows(tmp_path)
    places = [former.of_content(content_hash(content)) for content in (b"c", b"a", b"b")]
    assert former.features(places)[:, 0, 0].tolist() == [5, 1, 2]
    assert former.of_content(content_hash(b"d")) is None
    # A file that was not touched is found by its stamp, also where another row has the same content.
    place, content = former.of_file(SourceItem("a-2", 7, "test", 1, 1))
    assert (former.features([place])[0, 0, 0], content) == (3, content_hash(b"a"))
    assert former.of_file(SourceItem("a-2", 7, "test", 1, 2)) is None
    assert former.of_file(SourceItem("a-2", 7, "test", 2, 1)) is None
