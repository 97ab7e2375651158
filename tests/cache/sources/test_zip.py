"""A zip file is read as a folder."""

import io
import os
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from pyarrow import parquet

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.open_source import open_source

JPEG = b"\xff\xd8\xff" + bytes(range(256)) * 20


def write_names(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


def listed(source):
    names = [*source.classes, None]
    return {item.path: (names[item.label], item.set_name) for item in source.items}


def read_all(source):
    found = {}
    for item in source.items:
        try:
            found[item.path] = source.read(item)
        except OSError as error:
            found[item.path] = reason(error)
    return found


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip__is_a_folder_of_folders(tmp_path, compression):
    members = ["pets/train/cat/1.jpg", "pets/train/dog/2.jpg", "pets/test/cat/3.jpg"]
    others = ["pets/readme.txt", "__MACOSX/pets/train/cat/._1.jpg", "pets/.DS_Store"]
    path = write_names(tmp_path / "pets.zip", [(name, JPEG) for name in members + others], compression)
    source = open_source(path)
    assert listed(source) == {
        "pets/test/cat/3.jpg": ("cat", "test"),
        "pets/train/cat/1.jpg": ("cat", "train"),
        "pets/train/dog/2.jpg": ("dog", "train"),
    }
    assert source.account.ignored == {".txt": 1, "in folders of the system": 1, "hidden": 1}
    assert source.location == str(path)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(source.read, list(source.items) * 50)) == {JPEG}
    os.utime(path, ns=(1, 1))
    with pytest.raises(OSError, match="its zip file has changed since it was listed"):
        source.read(source.items[0])


def test_zip__with_a_table_inside(tmp_path):
    members = [("images/a.jpg", JPEG), ("images/b.jpg", JPEG), ("metadata.csv", "file_name,label\nimages/a.jpg,cat\n")]
    source = open_source(write_names(tmp_path / "x.zip", members))
    assert listed(source) == {"images/a.jpg": ("cat", "")}
    assert source.account.ignored == {".csv": 1, "images that no row names": 1}
    buffer = io.BytesIO()
    parquet.write_table(pa.table({"file_name": ["images/b.jpg"], "label": ["dog"]}), buffer)
    members[-1] = ("metadata.parquet", buffer.getvalue())
    assert listed(open_source(write_names(tmp_path / "y.zip", members))) == {"images/b.jpg": ("dog", "")}


def test_zip__names_are_safe_and_damage_is_said(tmp_path):
    link = zipfile.ZipInfo("cat/link.jpg")
    link.external_attr = 0o120777 << 16
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("../../cat/1.jpg", JPEG)
        file.writestr("/cat/2.jpg", JPEG)
        file.writestr("cat/bad.jpg", JPEG)
        file.writestr(link, "/etc/passwd")
        file.writestr("dog/3.jpg", JPEG)
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("dog/3.jpg", JPEG)
        file.writestr("dog/4.jpg", JPEG)
        offset = file.getinfo("cat/bad.jpg").header_offset
    data = bytearray(path.read_bytes())
    data[offset + 30 + len("cat/bad.jpg") + 9] ^= 1
    path.write_bytes(data)
    source = open_source(path)
    assert read_all(source) == {
        "cat/1.jpg": JPEG,
        "cat/2.jpg": JPEG,
        "cat/bad.jpg": "damaged in the zip file: Bad CRC-32 for file 'cat/bad.jpg'",
        "cat/link.jpg": "a link in the zip file",
        "dog/3.jpg": "its name comes more than once in the archive",
        "dog/4.jpg": JPEG,
    }
    assert source.account.ignored == {"names that come again": 1}


def test_zip__encrypted_or_enormous_members(tmp_path):
    path = write_names(tmp_path / "x.zip", [("cat/1.jpg", JPEG), ("cat/2.jpg", JPEG), ("cat/3.jpg", JPEG)])
    data = bytearray(path.read_bytes())
    for number, (field, value) in enumerate([(8, struct.pack("<H", 1)), (24, struct.pack("<I", (1 << 30) + 1))]):
        at = -1
        for _ in range(number + 1):
            at = data.index(b"PK\x01\x02", at + 1)
        data[at + field : at + field + len(value)] = value
    path.write_bytes(data)
    assert read_all(open_source(path)) == {
        "cat/1.jpg": "encrypted in the zip file",
        "cat/2.jpg": "larger than 1 GiB: 1073741825 bytes",
        "cat/3.jpg": JPEG,
    }


def test_zip__names_in_utf8_that_do_not_say_so(tmp_path):
    path = write_names(tmp_path / "x.zip", [("K\u00e4fer/1.jpg", JPEG)])
    data = path.read_bytes()
    for start in (b"PK\x03\x04", b"PK\x01\x02"):
        at = data.index(start) + (6 if start[2] == 3 else 8)
        data = data[:at] + b"\0\0" + data[at + 2 :]
    path.write_bytes(data)
    assert open_source(path).classes == ["K\u00e4fer"]


def test_zip__that_is_none(tmp_path):
    path = write_names(tmp_path / "x.zip", [("cat/1.jpg", JPEG)])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UlfineError, match="is no zip file, or it is cut off: download it again"):
        open_source(path)
    with pytest.raises(UlfineError, match="no images in the folders of"):
        open_source(write_names(tmp_path / "empty.zip", [("a.txt", "x")]))
