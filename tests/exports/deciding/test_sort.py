"""Sorting: every image in its folder, nothing overwritten, nothing lost, and all of it undone."""

import csv
import os
import shutil
from pathlib import Path

import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_exports.deciding import place_files
from ulfine_exports.deciding.folder_names import folded, folder_names
from ulfine_exports.sort import sort


@pytest.fixture
def photos(photographs: Path, tmp_path: Path) -> Path:
    """A few pictures, two of them with one name, and what is no picture."""
    from ulfine_exports.inference.pictures import find_images

    folder = tmp_path / "photos"
    images = find_images(photographs)
    for place, image in enumerate(images[:: len(images) // 8][:8]):
        target = folder / ("a" if place % 2 else "b") / f"{place // 2}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, target)
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "sorted.csv")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def table(folder: Path) -> list[list[str]]:
    with (folder / "sorted.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


@pytest.mark.parametrize("how", ["copy", "link", "move"])
def test_sort__and_back(pixel_run, photos, tmp_path, how):
    before, out = contents(photos), tmp_path / "out"
    found = sort(model=pixel_run, photos=[photos], out=out, doubtful=0.0, **{how: True})
    assert (found["images"], found["doubtful_images"], found["how"]) == (8, 0, how)
    assert [item["path"] for item in found["unreadable"]] == [str(photos / "broken.png")]
    lines = table(out)
    assert sorted(contents(out).values()) == sorted(before[name] for name in before if name != "broken.png")
    for path, place, label, said, _ in lines:
        assert place.split("/")[0] == label
        assert said == how
        assert (out / place).read_bytes() == before[os.path.relpath(path, photos)]
        assert (out / place).is_symlink() == (how == "link")
    assert contents(photos) == ({"broken.png": before["broken.png"]} if how == "move" else before)
    undone = sort(undo=out)
    assert (undone["undone"], undone["kept"], undone["table"]) == (8, [], None)
    assert contents(photos) == before
    assert list(out.iterdir()) == []


def test_sort__doubtful_ones_lie_apart(pixel_run, photos, tmp_path):
    found = sort(model=pixel_run, photos=[photos], out=tmp_path / "out", doubtful=1.0)
    assert found["doubtful_images"] == 8 - sum(found["classes"].values()) > 0
    assert len(list((tmp_path / "out" / "doubtful").iterdir())) == found["doubtful_images"]
    names = sorted(path.name for path in (tmp_path / "out").rglob("*.png"))
    assert names.count("0.png") >= 1
    assert len(names) == 8


@pytest.mark.parametrize("how", ["copy", "move"])
def test_sort__interrupted_work_goes_on(pixel_run, photos, tmp_path, monkeypatch, how):
    before, out, calls = contents(photos), tmp_path / "out", []
    unlink, copy2 = Path.unlink, shutil.copy2

    def full(source, target, **options):
        calls.append(source)
        if len(calls) == 4:
            Path(target).write_bytes(b"half")
            raise OSError(28, "No space left on device", str(target))
        return copy2(source, target, **options)

    monkeypatch.setattr(place_files.shutil, "copy2", full)
    with pytest.raises(OSError, match="space"):
        sort(model=pixel_run, photos=[photos], out=out, doubtful=0.0, **{how: True})
    assert len(contents(out)) == 3
    assert not list(out.rglob(".*"))
    # Every picture is somewhere, whole.
    assert set(before.values()) == {*contents(photos).values(), *contents(out).values()}
    monkeypatch.setattr(place_files.shutil, "copy2", copy2)
    assert unlink is Path.unlink
    found = sort(model=pixel_run, photos=[photos], out=out, doubtful=0.0, **{how: True})
    assert found["images"] == 8
    assert len(contents(out)) == 8
    sort(undo=out)
    assert contents(photos) == before


def test_sort__killed_between_the_copy_and_the_removal(pixel_run, photos, tmp_path):
    before, out = contents(photos), tmp_path / "out"
    sort(model=pixel_run, photos=[photos], out=out, doubtful=0.0, move=True)
    path, place, *_ = table(out)[0]
    Path(path).parent.mkdir(exist_ok=True)
    shutil.copy2(out / place, path)
    sort(model=pixel_run, photos=[photos / "broken.png", Path(path)], out=out, doubtful=0.0, move=True)
    assert not Path(path).exists()
    assert len(table(out)) == 8
    sort(undo=out)
    assert contents(photos) == before


def test_sort__new_image_under_the_name_of_a_sorted_one(pixel_run, photos, tmp_path):
    out = tmp_path / "out"
    sort(model=pixel_run, photos=[photos], out=out, doubtful=0.0, move=True)
    first, second = (Path(line[0]) for line in table(out)[:2])
    old = (out / table(out)[0][1]).read_bytes()
    other = (out / table(out)[1][1]).read_bytes()
    first.write_bytes(other)
    assert old != other
    found = sort(model=pixel_run, photos=[photos], out=out, doubtful=0.0, move=True)
    assert found["images"] == 9
    assert len(contents(out)) == 9
    undone = sort(undo=out)
    assert undone["undone"] == 8
    assert len(undone["kept"]) == 1
    assert first.read_bytes() == other
    assert second.read_bytes() == other
    assert old in contents(out).values()


def test_undo__touches_nothing_that_changed(pixel_run, photos, tmp_path):
    out = tmp_path / "out"
    sort(model=pixel_run, photos=[photos], out=out, doubtful=0.0, copy=True)
    (first, place, *_), (second, other, *_) = table(out)[:2]
    (out / place).write_bytes(b"edited")
    Path(second).unlink()
    undone = sort(undo=out)
    assert undone["undone"] == 6
    assert (out / place).read_bytes() == b"edited"
    assert (out / other).is_file()
    assert len(table(out)) == 2
    assert Path(first).exists()


def test_sort__links_are_left_alone(pixel_run, photos, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(photos / "a" / "0.png", elsewhere / "0.png")
    (photos / "link.png").symlink_to(elsewhere / "0.png")
    (photos / "folder").symlink_to(elsewhere, target_is_directory=True)
    found = sort(model=pixel_run, photos=[photos], out=tmp_path / "out", doubtful=0.0, move=True)
    assert found["images"] == 8
    assert (photos / "link.png").is_symlink()
    assert (elsewhere / "0.png").is_file()
    assert str(photos / "link.png") in [item["path"] for item in found["unreadable"]]
    inside = tmp_path / "trap"
    inside.mkdir()
    shutil.copy(photos / "link.png", photos / "again.png")
    label = next(iter(found["classes"]))
    for name in found["classes"]:
        (inside / name).symlink_to(elsewhere, target_is_directory=True)
    assert label
    with pytest.raises(UlfineError, match="a link, which is not followed"):
        sort(model=pixel_run, photos=[photos / "again.png"], out=inside, doubtful=0.0, move=True)
    assert [path.name for path in elsewhere.iterdir()] == ["0.png"]
    assert (photos / "again.png").is_file()


def test_sort__what_lies_there_is_not_overwritten(pixel_run, photos, tmp_path):
    first = sort(model=pixel_run, photos=[photos / "a"], out=tmp_path / "out", doubtful=0.0)
    label = next(iter(first["classes"]))
    (tmp_path / "other" / label).mkdir(parents=True)
    for number in range(4):
        (tmp_path / "other" / label / f"{number}.png").write_bytes(b"mine")
    sort(model=pixel_run, photos=[photos / "a"], out=tmp_path / "other", doubtful=0.0)
    assert list(contents(tmp_path / "other").values()).count(b"mine") == 4
    assert len(contents(tmp_path / "other")) == 8
    sort(undo=tmp_path / "other")
    assert list(contents(tmp_path / "other").values()) == [b"mine"] * 4


def test_sort__refusals(pixel_run, photos, tmp_path, feature_cache):
    with pytest.raises(UlfineError, match="inside"):
        sort(model=pixel_run, photos=[photos], out=photos / "sorted")
    with pytest.raises(UsageError, match="one of"):
        sort(model=pixel_run, photos=[photos], out=tmp_path / "out", copy=True, move=True)
    with pytest.raises(UsageError, match="alone"):
        sort(undo=tmp_path / "out", out=tmp_path / "out")
    with pytest.raises(UsageError, match="name a model"):
        sort(model=pixel_run, out=tmp_path / "out")
    with pytest.raises(UlfineError, match="features"):
        sort(model=pixel_run, photos=[feature_cache], out=tmp_path / "out")
    with pytest.raises(UlfineError, match=r"sorted\.csv"):
        sort(undo=tmp_path)


@pytest.mark.parametrize("place", ["../evil.png", "/etc/evil.png", "a/b/c.png", "a"])
def test_undo__hostile_table(tmp_path, place):
    line = f"/tmp/x.png,{place},a,move,1"
    (tmp_path / "sorted.csv").write_text(f"path,sorted,label,how,confidence\n{line}\n", "utf-8")
    with pytest.raises(UlfineError, match="no table"):
        sort(undo=tmp_path)


def test_folder_names__are_safe_and_different():
    names = ["cat/dog", "..", ".", "", "Owl", "owl", "doubtful", "CON", "nul.txt", "a" * 300, "é", "e\u0301", "x. "]
    names += ["line\nbreak", "C:\\x", "\u202egpj", "sorted.csv", "a" * 301, "-rf", "=1+1"]
    found = folder_names(names, ("doubtful", "sorted.csv"))
    assert len({folded(name) for name in found}) == len(names)
    for name in found:
        assert name and not name.startswith(".") and len(name.encode()) <= 110
        assert not set(name) & set('/\\:*?"<>|\n\u202e')
    assert not {"doubtful", "sorted.csv"} & set(found)
    assert found[4] == "Owl"
