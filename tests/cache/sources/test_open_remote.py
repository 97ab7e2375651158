"""Images on object storage are listed and read as those on a disk."""

import io
import shutil
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from tests.object_storage import THROTTLED, at_random
from ulfine_cache.errors import UlfineError
from ulfine_cache.remote import storage
from ulfine_cache.remote.failures import StorageError
from ulfine_cache.remote.places import place
from ulfine_cache.sources.open_source import open_source
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.sources.trees import remote_file


def picture(seed: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), (seed * 5 % 256, 90, 30)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Pictures in folders of classes, with what is no picture beside them, a table, and tar files."""
    root = tmp_path / "data"
    rows = ["path,label,set"]
    for number in range(9):
        name = f"{('cat', 'red fox')[number % 2]}/{number}.png"
        for part in ("folders/train", "tables"):
            (root / part / name).parent.mkdir(parents=True, exist_ok=True)
            (root / part / name).write_bytes(picture(number))
        rows.append(f"{name},{name.partition('/')[0]},{'test' if number > 6 else 'train'}")
    (root / "folders" / "readme.txt").write_text("no picture")
    (root / "folders" / "test" / "cat").mkdir(parents=True)
    (root / "folders" / "test" / "cat" / "x.jpeg").write_bytes(picture(20))
    (root / "tables" / "train.csv").write_text("\n".join(rows[:8]))
    (root / "tables" / "more.csv").write_text("\n".join([rows[0], *rows[8:]]))
    (root / "tars").mkdir()
    for part in range(2):
        with tarfile.open(root / "tars" / f"train-{part:03d}.tar", "w") as tar:
            for number in range(part * 5, part * 5 + 5):
                for name, data in ((f"{number}.png", picture(number)), (f"{number}.cls", b"cat")):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return root


def send(folder: Path, url: str) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            storage.write_over(f"{url}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return url


@pytest.fixture
def url(request, copies, folder):
    url = f"memory://{request.node.name.partition('[')[0]}"
    storage._opened(url)[0].store.clear()
    return send(folder, url)


def listed(source):
    return [(item.path, item.label, item.set_name, item.size) for item in source.items]


@pytest.mark.parametrize(
    "name",
    [
        "folders",
        "folders/train/cat",
        "tables/train.csv",
        "tables/{train,more}.csv",
        "tables/*.csv",
        "tables",
        "tars",
        "tars/train-{000..001}.tar",
        "tars/train-*.tar",
        "tars/train-001.tar",
    ],
)
def test_source__is_that_of_a_disk(url, folder, name):
    if name.endswith("cat"):
        # Images that lie in no class folder are an error in both.
        for source in (folder / name, place(f"{url}/{name}")):
            with pytest.raises(UlfineError):
                open_source(source)
        return
    here, there = open_source(folder / name), open_source(place(f"{url}/{name}"))
    assert listed(there) == listed(here)
    assert there.classes == here.classes
    assert there.account.ignored == here.account.ignored
    assert there.account.notes == here.account.notes
    assert there.location == f"{url}/{name}"
    assert [there.read(item) for item in there.items] == [here.read(item) for item in here.items]
    assert there.holder(there.items[0]).startswith(url)


def test_table__of_urls(url):
    rows = ["path,label", f"{url}/tables/cat/0.png,cat", f"{url}/tables/red fox/1.png,fox"]
    storage.write_over(f"{url}/tables/urls.csv", "\n".join(rows).encode())
    source = open_source(place(f"{url}/tables/urls.csv"))
    assert [item.path for item in source.items] == ["cat/0.png", "red fox/1.png"]
    storage.write_over(f"{url}/tables/urls.csv", f"path,label\n{url}/folders/x.png,cat".encode())
    with pytest.raises(UlfineError, match=r"urls\.csv, line 2: .* is absolute and not below"):
        open_source(place(f"{url}/tables/urls.csv"))


def test_table__here_of_images_there(url, folder):
    shutil.copy(folder / "tables" / "train.csv", folder / "here.csv")
    source = open_source(folder / "here.csv", SourceOptions(root=place(f"{url}/tables")))
    assert [source.read(item) for item in source.items][:2] == [picture(0), picture(1)]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("nothing", "nothing at memory://.*/nothing: expected a folder of images, a table"),
        ("tars/train-{000..002}.tar", r"no file matches .*train-002\.tar \(of .*\): check the pattern"),
        ("none-*.tar", "no file matches"),
        ("folders/readme.txt", "is not read from a storage: expected a folder of images"),
    ],
)
def test_source__that_is_none(url, name, line):
    with pytest.raises(UlfineError, match=line):
        open_source(place(f"{url}/{name}"))


def test_image__that_changed_is_another_one(url):
    before = open_source(place(f"{url}/folders")).items
    storage.write_over(f"{url}/folders/test/cat/x.jpeg", picture(21))
    after = open_source(place(f"{url}/folders")).items
    assert [one.path for one, other in zip(before, after, strict=True) if one != other] == ["test/cat/x.jpeg"]


def test_image__that_is_gone_has_no_row(url):
    source = open_source(place(f"{url}/folders"))
    storage.remove(f"{url}/folders/test/cat/x.jpeg")
    with pytest.raises(FileNotFoundError):
        source.read(next(item for item in source.items if item.path == "test/cat/x.jpeg"))


def test_tar__is_read_in_ranges(s3, folder, monkeypatch):
    network, bucket, _ = s3
    monkeypatch.setattr(remote_file, "BLOCK", 2048)
    remote_file._blocks.clear()
    send(folder / "tars", f"{bucket}/tars")
    network.fault = at_random(0.25, 2)
    source = open_source(place(f"{bucket}/tars"))
    assert [source.read(item) for item in source.items] == [picture(number) for number in range(10)]


def test_tar__that_changed_while_it_was_read(url, folder, monkeypatch):
    monkeypatch.setattr(remote_file, "BLOCK", 1024)
    remote_file._blocks.clear()
    source = open_source(place(f"{url}/tars"))
    storage.write_over(f"{url}/tars/train-001.tar", (folder / "tars" / "train-000.tar").read_bytes())
    remote_file._blocks.clear()
    with pytest.raises(OSError, match="its tar file has changed since it was listed"):
        source.read(source.items[-1])
    source = open_source(place(f"{url}/tars"))
    source.read(source.items[0])
    storage.write_over(f"{url}/tars/train-000.tar", bytes(20_000))
    remote_file._blocks.clear()
    with pytest.raises(OSError, match="its tar file has changed since it was listed"):
        source.read(source.items[4])


def test_image__that_cannot_be_had_stops_the_work(s3, folder, monkeypatch):
    """Nothing is left out because of the network: the same command goes on."""
    network, bucket, _ = s3
    monkeypatch.setenv("ULFINE_STORAGE_PATIENCE", "0.3")
    send(folder / "folders", f"{bucket}/folders")
    source = open_source(place(f"{bucket}/folders"))
    network.fault = lambda method, path: THROTTLED
    with pytest.raises(StorageError, match=rf"gave up on {bucket}/folders/test/cat/x\.jpeg"):
        source.read(source.items[0])


@pytest.mark.parametrize(
    ("fault", "line"),
    [("403 InvalidAccessKeyId", "does not know the access key"), ("403 AccessDenied", "permission denied; docs/")],
)
def test_source__that_may_not_be_seen(s3, folder, fault, line):
    network, bucket, _ = s3
    send(folder / "tars", f"{bucket}/tars")
    network.fault = lambda method, path: fault
    with pytest.raises(StorageError, match=line):
        open_source(place(f"{bucket}/tars"))


def test_folder__with_the_marker_that_consoles_make(s3, folder):
    _, bucket, _ = s3
    send(folder / "folders" / "train", f"{bucket}/train")
    files, key = storage._opened(f"{bucket}/train/cat/")
    files.pipe_file(key, b"")
    assert len(open_source(place(f"{bucket}/train")).items) == 9
