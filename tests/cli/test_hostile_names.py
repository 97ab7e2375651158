"""Names of files and classes with anything in them: nothing of it reaches the terminal, and all of it the files."""

import csv
import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.sources.tables.csv_table import CsvTable
from ulfine_exports.onnx_classifier import OnnxClassifier

pytestmark = pytest.mark.skipif(os.name == "nt", reason="names that are no text are POSIX")

FORGED = "x\nerror: the disk is full\x1b[2J.png"
FOLDERS = [b"caf\xe9", b"=cmd", b"a\n\x1b[2J<b>c</b>", b"@b|*d*"]
FILES = [os.fsencode(FORGED), b"-1.png", b"y\xff.png"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile-\udcff")
    generator = np.random.default_rng(0)
    for shade, name in enumerate(FOLDERS, start=1):
        place = os.fsencode(folder) + b"/photos/train/" + name
        (folder / "photos" / "train" / os.fsdecode(name)).mkdir(parents=True)
        for file in FILES:
            pixels = generator.integers(0, 255, (40, 40, 3), dtype=np.uint8) // shade
            Image.fromarray(pixels).save(os.fsdecode(place + b"/" + file))
        (folder / "photos" / "train" / os.fsdecode(name) / "=broken\n.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return folder


def plain(ended):
    """Nothing on either stream that a terminal would obey, no forged line, no internal error."""
    for text in (ended.out, ended.err):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", text), text
        assert "internal error" not in text
        assert "\nerror: the disk" not in text
    return ended


def test_ulfine__the_whole_way(ulfine_here, folder, monkeypatch):
    monkeypatch.chdir(folder)
    run = "run\udcff"
    plain(
        ulfine_here("cache-features", "photos", "--out", "cache\udcff", "--model", "builtin:tiny", "--device", "cpu")
    ).succeeded()
    plain(ulfine_here("fit", "cache\udcff", "--out", run, "--method", "lp")).succeeded()
    names = FeatureCache.open(folder / "cache\udcff").class_names
    assert "caf\udce9" in names
    for form in ("npy", "parquet", "clip-retrieval"):
        plain(ulfine_here("convert", "cache\udcff", "--to", form, "--out", form)).succeeded()
    assert "caf\\xe9" in json.loads((folder / "npy" / "class_names.json").read_text("utf-8"))
    plain(
        ulfine_here("export", run, "--onnx", "m.onnx", "--input", "pixels", "--triton", "triton", "--to-hub", "hub")
    ).succeeded()
    written = OnnxClassifier(folder / "m.onnx", device="cpu").metadata.class_names
    assert len(set(written)) == 4
    assert "caf\\xe9" in written
    assert len((folder / "triton" / "m" / "labels.txt").read_text("utf-8").splitlines()) == 4
    card = (folder / "hub" / "README.md").read_text("utf-8")
    assert "<b>" not in card
    assert "\\*" in card
    for model, out in (("m.onnx", "p.csv"), (run, "q.csv"), (run, "r.parquet"), ("m.onnx", "s.parquet")):
        ended = plain(ulfine_here("predict", model, "photos", "--out", out, "--json", "p.json"))
        assert ended.exit_code == 1
        assert len([line for line in ended.err.splitlines() if line.startswith("error: ")]) == 4
        json.loads((folder / "p.json").read_text("utf-8"))
    with (folder / "q.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.reader(file))
    assert len({tuple(row) for row in rows}) == 1 + 12
    assert not any(re.match("[=+@-]", cell) for row in rows for cell in row)
    table = CsvTable("q.csv", lambda: (folder / "q.csv").open("rb"))
    assert set(table.columns[3:]) == set(names)
    found = {str(row.cells[0]) for row in table.rows(["path"])}
    assert found == {f"photos/train/{os.fsdecode(place)}/{os.fsdecode(file)}" for place in FOLDERS for file in FILES}
    plain(ulfine_here("neighbours", "cache\udcff", "row:0", "--json", "n.json")).succeeded()
    for command in (("info", "m.onnx"), ("info", run), ("info", "cache\udcff"), ("verify", "cache\udcff")):
        plain(ulfine_here(*command)).succeeded()


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", FORGED, FORGED),
        ("fit", FORGED, "--out", "r"),
        ("fit", "cache", "--out", "r", "--set", FORGED),
        ("info", FORGED),
        (FORGED,),
        ("info", f"--{FORGED}"),
        ("export", FORGED, "--onnx", FORGED),
        ("verify", FORGED, "--debug"),
        ("cache-features", FORGED, "--out", "c\x1b"),
    ],
    ids=lambda arguments: "-".join(arguments).replace(FORGED, "NAME").replace("\x1b", ""),
)
def test_ulfine__errors_about_hostile_names(ulfine_here, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    ended = plain(ulfine_here(*arguments))
    assert ended.exit_code in (1, 2)
    assert [line for line in ended.err.splitlines() if line.startswith("error: ")] == ended.err.splitlines()[-1:]


def test_predict__a_surrogate_among_the_paths_of_a_table(ulfine_here, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    rows = {"features": generator.normal(size=(12, 8)).astype(np.float32), "labels": np.repeat([0, 1], 6)}
    names = np.array([f"{row}.jpg" for row in range(12)])
    np.savez("good.npz", **rows, paths=names)
    names[3] = "\ud800=.jpg"
    np.savez("bad.npz", **rows, paths=names)
    line = plain(ulfine_here("import-features", "bad.npz", "--out", "bad", "--index", "none")).failed(1)
    assert line.endswith("bad.npz: paths of row 3 holds a lone surrogate, which is no character: \\ud800=.jpg")
    plain(ulfine_here("import-features", "good.npz", "--out", "cache", "--index", "none")).succeeded()
    plain(ulfine_here("fit", "cache", "--out", "run", "--method", "lp")).succeeded()
    plain(ulfine_here("export", "run", "--onnx", "m.onnx")).succeeded()
    for model, out in (("run", "p.csv"), ("m.onnx", "p.parquet")):
        plain(ulfine_here("predict", model, "bad.npz", "--out", out, "--json", "p.json")).succeeded()
    assert json.loads((tmp_path / "p.json").read_text("utf-8"))["predictions"][3]["path"] == "\ud800=.jpg"
    assert "\n\\ud800=.jpg,class " in (tmp_path / "p.csv").read_text("utf-8")
