"""Every source names the file that holds an image, so that one that was replaced is noticed."""

import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.cache.conftest import write_picture
from ulfine_cache.sources.open_source import open_source
from ulfine_cache.sources.source import identity


@pytest.fixture
def folder(tmp_path):
    for number in range(4):
        write_picture(tmp_path / "photos" / f"class{number % 2}" / f"{number}.png", number)
    return tmp_path / "photos"


def table(folder: Path) -> Path:
    rows = [f"{path.relative_to(folder)},{path.parent.name}" for path in sorted(folder.glob("*/*.png"))]
    (folder / "table.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    return folder / "table.csv"


def zipped(folder: Path) -> Path:
    with zipfile.ZipFile(folder.parent / "photos.zip", "w") as file:
        for path in sorted(folder.glob("*/*.png")):
            file.write(path, path.relative_to(folder))
    return folder.parent / "photos.zip"


def tar_of_folders(folder: Path) -> Path:
    with tarfile.open(folder.parent / "photos.tar", "w") as file:
        file.add(folder, "photos")
    return folder.parent / "photos.tar"


def samples(folder: Path) -> Path:
    with tarfile.open(folder.parent / "samples.tar", "w") as file:
        for number, path in enumerate(sorted(folder.glob("*/*.png"))):
            (folder / "label.cls").write_text(path.parent.name)
            file.add(path, f"{number}.png")
            file.add(folder / "label.cls", f"{number}.cls")
    return folder.parent / "samples.tar"


def arrays(folder: Path) -> Path:
    images = np.zeros((4, 8, 8, 3), np.uint8)
    np.savez(folder.parent / "a.npz", train_images=images, train_labels=np.arange(4) % 2)
    return folder.parent / "a.npz"


def parquet(folder: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    pictures = [{"bytes": path.read_bytes(), "path": path.name} for path in sorted(folder.glob("*/*.png"))]
    files.write_table(pyarrow.table({"image": pictures, "label": ["a", "b", "a", "b"]}), folder.parent / "a.parquet")
    return folder.parent / "a.parquet"


@pytest.mark.parametrize("make", [Path, table])
def test_file_of_its_own(folder, make):
    source = open_source(make(folder))
    assert {Path(source.holder(item)).name for item in source.items} == {f"{number}.png" for number in range(4)}
    numbers = [identity(source, item) for item in source.items]
    assert len(set(numbers)) == 4
    assert numbers == [identity(source, item) for item in open_source(make(folder)).items]
    # Another file with the same bytes, size and time.
    first = Path(source.holder(source.items[0]))
    shutil.copy2(first, first.with_name("copy"))
    first.with_name("copy").replace(first)
    assert identity(source, source.items[0]) != numbers[0]
    first.unlink()
    assert identity(source, source.items[0]) == 0


@pytest.mark.parametrize("make", [zipped, tar_of_folders, samples, arrays, parquet])
def test_one_file_of_many_images(folder, make):
    path = make(folder)
    source = open_source(path)
    assert len(source.items) == 4
    assert {Path(source.holder(item)) for item in source.items} == {path}
    (number,) = {identity(source, item) for item in source.items}
    assert number
    shutil.copy2(path, path.with_name("copy"))
    path.with_name("copy").replace(path)
    assert {identity(source, item) for item in source.items} != {number}


def test_a_link_that_leads_nowhere(folder):
    (folder / "class0" / "lost.png").symlink_to("nowhere")
    source = open_source(folder)
    (item,) = (item for item in source.items if item.path == "class0/lost.png")
    assert identity(source, item) == 0


def test_a_name_that_is_no_text(folder):
    name = b"odd\xff.png".decode("utf-8", "surrogateescape")
    try:
        shutil.copy(folder / "class0" / "0.png", folder / "class0" / name)
    except OSError:
        pytest.skip("this file system takes text only")
    source = open_source(folder)
    assert all(identity(source, item) for item in source.items)
