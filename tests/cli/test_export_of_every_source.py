"""`ulfine export` reads the images of a cache again from every kind of source: none of them is "gone"."""

import csv
import io
import json
import shutil
import tarfile

import pyarrow
import pyarrow.parquet
import pytest


def images_of(photographs):
    """(path relative to the photographs, label, set) of each image; unlabelled ones have the label ""."""
    for file in sorted(photographs.rglob("*.png")):
        path = file.relative_to(photographs)
        yield path.as_posix(), "" if path.parts[1] == "unlabelled" else path.parts[1], path.parts[0]


def as_folder(photographs):
    return photographs


def as_csv(photographs):
    table = photographs / "photographs.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "split"), *images_of(photographs)])
    return table


def as_parquet(photographs):
    table = photographs / "photographs.parquet"
    columns = zip(*images_of(photographs), strict=True)
    named = dict(zip(("path", "label", "split"), map(list, columns), strict=True))
    pyarrow.parquet.write_table(pyarrow.table(named), table)
    return table


def as_tars(photographs):
    shards = photographs.parent / "shards"
    shards.mkdir()
    for set_name in ("train", "test"):
        with tarfile.open(shards / f"{set_name}-000.tar", "w") as tar:
            for number, (path, label, of) in enumerate(images_of(photographs)):
                members = {".png": (photographs / path).read_bytes(), ".cls": label.encode()}
                for suffix, content in members.items() if of == set_name else ():
                    member = tarfile.TarInfo(f"{number:03d}{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return shards


@pytest.fixture(scope="module")
def run_on(photographs, tmp_path_factory):
    """Make the same images into one kind of source, cache it and fit a run, by commands."""

    def run(form, ulfine_here):
        place = tmp_path_factory.mktemp(form.__name__)
        shutil.copytree(photographs, place / "photographs")
        encoder = ("--model", "builtin:tiny", "--device", "cpu", "--precision", "fp32", "--index", "none")
        ulfine_here("cache-features", form(place / "photographs"), "--out", place / "cache", *encoder).succeeded()
        ulfine_here("fit", place / "cache", "--out", place / "run", "--method", "lp").succeeded()
        return place / "run"

    return run


def exported(ulfine_here, run, *arguments):
    said = run.parent / "said.json"
    ended = ulfine_here("export", run, "--onnx", run.parent / "model.onnx", "--json", said, *arguments).succeeded()
    assert "gone" not in ended.err
    assert "parity is checked on synthetic rows" not in ended.err
    return json.loads(said.read_text("utf-8"))


@pytest.mark.parametrize("form", [as_folder, as_csv, as_parquet, as_tars])
def test_export__pixels_are_compared_and_judged_on_the_test_images(form, run_on, ulfine_here):
    run = run_on(form, ulfine_here)
    figures = exported(ulfine_here, run, "--input", "pixels", "--precision", "fp16", "--max-drop", 100)
    for part in ("parity", "comparison"):
        assert (part, figures[part]["source"], figures[part]["rows"]) == (part, "test rows", 6)


def test_export__whole_images_of_a_table(run_on, ulfine_here):
    figures = exported(ulfine_here, run_on(as_csv, ulfine_here), "--input", "image")
    # Six test images and eleven synthetic ones of awkward sizes.
    assert (figures["parity"]["source"], figures["parity"]["rows"]) == ("test rows and synthetic rows", 17)
