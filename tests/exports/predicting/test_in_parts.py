"""Predictions of a whole source in parts: the rows of one file, after any kill, and what is refused."""

import csv
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile

import numpy as np
import pytest
from pyarrow import parquet

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Silent
from ulfine_cache.sources.open_unlabelled import open_unlabelled
from ulfine_exports.export import export_onnx
from ulfine_exports.predict import predict
from ulfine_exports.predicting import part_work
from ulfine_exports.predicting.part_place import is_for_parts


@pytest.fixture
def photos(photographs, tmp_path):
    """36 images, of which one is broken, in folders and one at the top."""
    folder = tmp_path / "photos"
    files = sorted(photographs.rglob("*.png"))
    for number, file in enumerate(files):
        place = folder / f"camera {number % 3}" if number else folder
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:02d}.png").write_bytes(file.read_bytes())
    (folder / "camera 1" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    return folder


class Notes(Silent):
    """Keeps what is said."""

    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)


def table(folder):
    """All parts as one table, in order."""
    import pyarrow

    parts = [parquet.read_table(path).replace_schema_metadata() for path in sorted(folder.glob("part-*.parquet"))]
    return pyarrow.concat_tables(parts)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_predict__parts_hold_what_one_file_holds(pixel_onnx, photos, tmp_path):
    found = predict(model=pixel_onnx, inputs=[photos], out=tmp_path / "parts", part_size=10, batch_size=4)
    one = predict(model=pixel_onnx, inputs=[photos], out=tmp_path / "one.parquet")
    names = ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet", "part-00003.parquet"]
    assert sorted(contents(tmp_path / "parts")) == [*names, "settings.json", "skipped.csv"]
    ours, theirs = table(tmp_path / "parts"), parquet.read_table(tmp_path / "one.parquet")
    assert ours.schema == theirs.schema
    paths = ours.column("path").to_pylist()
    assert paths == sorted(paths)
    of_path = dict(zip(theirs.column("path").to_pylist(), theirs.to_pylist(), strict=True))
    for row in ours.to_pylist():
        other = of_path[str(photos / row.pop("path"))]
        assert row.pop("label") == other.pop("label")
        np.testing.assert_allclose(list(row.values()), [other[name] for name in row], atol=1e-5)
    with (tmp_path / "parts" / "skipped.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["path", "reason"], ["camera 1/broken.png", one.unreadable[0]["reason"]]]
    figures = found.figures()
    wanted = {"images": 37, "predicted": 36, "skipped": 1, "parts": 4, "parts_kept": 0, "out": str(tmp_path / "parts")}
    assert {name: figures[name] for name in wanted} == wanted
    assert figures["images_per_second"] > 0
    assert "predictions" not in figures


def test_predict__the_same_again_does_nothing(pixel_onnx, photos, tmp_path, monkeypatch):
    arguments = {"model": pixel_onnx, "inputs": [photos], "out": tmp_path / "parts", "part_size": 10}
    predict(**arguments)
    before = contents(tmp_path / "parts")
    monkeypatch.setattr(part_work, "_classified", lambda *given: pytest.fail("again"))
    found = predict(**arguments).figures()
    assert (found["parts_kept"], found["images_per_second"]) == (4, 0.0)
    assert contents(tmp_path / "parts") == before


@pytest.mark.parametrize("damage", ["gone", "cut", "foreign"])
def test_predict__goes_on_with_the_parts_that_are_whole(pixel_onnx, photos, tmp_path, damage):
    arguments = {"model": pixel_onnx, "inputs": [photos], "out": tmp_path / "parts", "part_size": 10, "batch_size": 3}
    predict(**arguments)
    before = contents(tmp_path / "parts")
    part = tmp_path / "parts" / "part-00001.parquet"
    kept = (tmp_path / "parts" / "part-00002.parquet").stat().st_mtime_ns
    if damage == "gone":
        part.unlink()
    elif damage == "cut":
        part.write_bytes(part.read_bytes()[:-20])
    else:
        parquet.write_table(parquet.read_table(part).replace_schema_metadata(), part)
    (tmp_path / "parts" / "part-00001.parquet.partial").write_bytes(b"left by a kill")
    watching = Notes()
    predict(**arguments, progress=watching)
    assert "going on: 3 of 4 parts are complete" in watching.notes
    assert contents(tmp_path / "parts") == before
    assert (tmp_path / "parts" / "part-00002.parquet").stat().st_mtime_ns == kept


def test_predict__killed_it_ends_with_the_same_bytes(pixel_onnx, photos, tmp_path):
    code = (
        "import os, signal, sys\n"
        "from ulfine_exports.predicting import part_files\n"
        "from ulfine_cli.main import main\n"
        "write, after = part_files.write_predictions, int(sys.argv.pop())\n"
        "def killed(path, **given):\n"
        "    if path.name == f'part-{after:05d}.parquet':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    write(path, **given)\n"
        "part_files.write_predictions = killed\n"
        "raise SystemExit(main())\n"
    )
    call = ["predict", str(pixel_onnx), str(photos), "--part-size", "10", "--batch-size", "4", "--quiet", "--out"]
    predict(model=pixel_onnx, inputs=[photos], out=tmp_path / "whole", part_size=10, batch_size=4)
    whole = contents(tmp_path / "whole")
    for after in (1, 3, 99):
        command = [sys.executable, "-c", code, *call, str(tmp_path / "parts"), str(after)]
        ended = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=300)
        if after != 99:
            assert ended.returncode == -signal.SIGKILL, ended.stderr
            assert not (tmp_path / "parts" / "skipped.csv").exists()
            assert len(list((tmp_path / "parts").glob("part-*.parquet"))) == after
    assert (ended.returncode, ended.stderr) == (0, "")
    assert contents(tmp_path / "parts") == whole
    other = [*command[:3], *call, str(tmp_path / "parts"), "--part-size", "9", "99"]
    ended = subprocess.run(other, env=os.environ, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        f"error: {tmp_path / 'parts'} holds predictions made in another way (part size 10 -> 9): choose another --out"
    ]


def test_is_for_parts__paths_as_the_command_line_gives_them(tmp_path):
    assert is_for_parts("predictions") and is_for_parts(tmp_path) and is_for_parts(str(tmp_path))
    assert not is_for_parts("predictions.csv") and not is_for_parts(None)


def test_predict__other_settings_are_refused(pixel_onnx, pixel_run, photos, tmp_path):
    arguments = {"model": pixel_onnx, "inputs": [photos], "out": tmp_path / "parts", "part_size": 20}
    predict(**arguments)
    before = contents(tmp_path / "parts")
    for change, words in [
        ({"model": pixel_run}, r"another way \(model [0-9a-f]{16} -> [0-9a-f]{16}\): choose another --out"),
        ({"part_size": 21}, "part size 20 -> 21"),
        ({"batch_size": 5}, "batch size 32 -> 5"),
        ({"test_prior": "uniform"}, "test prior None -> "),
    ]:
        with pytest.raises(UlfineError, match=words):
            predict(**{**arguments, **change})
    assert contents(tmp_path / "parts") == before


def test_predict__a_source_that_changed_is_classified_anew_where_it_did(pixel_onnx, photos, tmp_path):
    arguments = {"model": pixel_onnx, "inputs": [photos], "out": tmp_path / "parts", "part_size": 10}
    predict(**arguments)
    first = (tmp_path / "parts" / "part-00000.parquet").stat().st_mtime_ns
    for path in sorted((photos / "camera 2").iterdir())[2:]:
        path.unlink()
    found = predict(**arguments).figures()
    assert (found["images"], found["parts"], found["parts_kept"]) == (27, 3, 2)
    assert (tmp_path / "parts" / "part-00000.parquet").stat().st_mtime_ns == first
    assert len(list((tmp_path / "parts").glob("part-*.parquet"))) == 3
    assert table(tmp_path / "parts").num_rows == 26


def test_predict__sources_of_every_kind(pixel_onnx, photos, tmp_path):
    predict(model=pixel_onnx, inputs=[photos], out=tmp_path / "folder")
    wanted = table(tmp_path / "folder").to_pylist()
    (tmp_path / "list.csv").write_text("path\n" + "".join(f"{row['path']}\n" for row in wanted))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for row in wanted:
            archive.write(photos / row["path"], row["path"])
    with tarfile.open(tmp_path / "shard-000.tar", "w") as archive:
        for row in wanted:
            archive.add(photos / row["path"], row["path"].replace("/", "-").replace(".", "-", 0))
    sources = {
        "table": ({"root": photos}, tmp_path / "list.csv"),
        "zip": ({}, tmp_path / "all.zip"),
        "tar": ({}, tmp_path / "shard-{000..000}.tar"),
    }
    for name, (options, source) in sources.items():
        predict(model=pixel_onnx, inputs=[source], out=tmp_path / name, **options)
        found = table(tmp_path / name).to_pylist()
        assert [row["label"] for row in found] == [row["label"] for row in wanted], name
        assert len(found) == 36


def test_predict__runs_and_whole_pictures(pixel_run, photos, tmp_path):
    image_onnx = tmp_path / "image.onnx"
    export_onnx(run=pixel_run, onnx=image_onnx, input="image")
    of_run = predict(model=pixel_run, inputs=[photos], out=tmp_path / "run", part_size=20)
    predict(model=image_onnx, inputs=[photos], out=tmp_path / "image", part_size=20)
    assert table(tmp_path / "run").column("label") == table(tmp_path / "image").column("label")
    assert of_run.figures()["predicted"] == 36


def test_predict__under_a_test_prior(pixel_onnx, photos, tmp_path):
    found = predict(model=pixel_onnx, inputs=[photos], out=tmp_path / "parts", test_prior="uniform")
    one = predict(model=pixel_onnx, inputs=[photos], test_prior="uniform")
    ours = table(tmp_path / "parts").to_pylist()
    of_path = dict(zip(one.paths, one.confidences.tolist(), strict=True))
    np.testing.assert_allclose(
        [row["confidence"] for row in ours], [of_path[str(photos / row["path"])] for row in ours], atol=1e-5
    )
    assert found.figures()["test_prior"] == "uniform"
    with pytest.raises(UsageError, match="estimate needs all answers at once"):
        predict(model=pixel_onnx, inputs=[photos], out=tmp_path / "other", test_prior="estimate")


def test_predict__what_parts_are_not_for(pixel_onnx, feature_onnx, feature_cache, photos, tmp_path):
    with pytest.raises(UsageError, match="takes one source"):
        predict(model=pixel_onnx, inputs=[photos, photos], out=tmp_path / "parts")
    with pytest.raises(UlfineError, match="holds features: write their predictions"):
        predict(model=feature_onnx, inputs=[feature_cache], out=tmp_path / "parts")
    with pytest.raises(UlfineError, match="takes features, not images"):
        predict(model=feature_onnx, inputs=[photos], out=tmp_path / "parts")
    with pytest.raises(UlfineError, match="lies in the folder of images"):
        predict(model=pixel_onnx, inputs=[photos], out=photos / "parts")
    with pytest.raises(UlfineError, match=r"no folder .*missing"):
        predict(model=pixel_onnx, inputs=[tmp_path / "missing"], out=tmp_path / "parts")
    with pytest.raises(UsageError, match="--root is for a table whose predictions go to a folder"):
        predict(model=pixel_onnx, inputs=[photos], out=tmp_path / "p.csv", root=photos)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(UlfineError, match=r"holds other files \(letter.txt\)"):
        predict(model=pixel_onnx, inputs=[photos], out=tmp_path / "full")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(UlfineError, match=r"none of the 1 image in .* can be read \(first: a.jpg: not an image"):
        predict(model=pixel_onnx, inputs=[tmp_path / "broken"], out=tmp_path / "none")


def test_predict__memory_holds_a_bounded_number_of_pictures(pixel_onnx, photos, tmp_path, monkeypatch):
    """Decoding never runs further ahead than two batches, however slow the model is."""
    from ulfine_exports.predicting.predictors import OnnxPredictor

    read, answered, ahead = [], [], []
    classify = OnnxPredictor.images

    def slow(self, pictures):
        time.sleep(0.05)
        ahead.append(len(read) - len(answered))
        answered.extend(pictures)
        return classify(self, pictures)

    reader = OnnxPredictor.reader

    def counting(self):
        inner = reader(self)

        def one(picture):
            read.append(picture)
            return inner(picture)

        return one

    monkeypatch.setattr(OnnxPredictor, "images", slow)
    monkeypatch.setattr(OnnxPredictor, "reader", counting)
    predict(model=pixel_onnx, inputs=[photos], out=tmp_path / "parts", batch_size=2, workers=2)
    assert len(answered) == 36
    # Two batches with the model and one waiting, two batches ahead, one image in each worker's hands.
    assert max(ahead) <= 2 * 2 + 2 + 2 * 2 + 2 + 1


def test_open_unlabelled__folders_without_classes_and_columns(photos, tmp_path):
    items = open_unlabelled(photos).items
    assert len(items) == 37
    assert {item.label for item in items} == {-1}
    (tmp_path / "empty").mkdir()
    with pytest.raises(UlfineError, match="no images"):
        open_unlabelled(tmp_path / "empty")
