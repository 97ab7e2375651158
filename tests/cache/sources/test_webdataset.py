"""WebDataset shards: real tar files, sound and otherwise."""

import copy
import gzip
import io
import json
import os
import tarfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.sources.open_source import open_source
from ulfine_cache.sources.source import listing_digest
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.stage_one import cache_features

JPEG = b"\xff\xd8\xff"


def write_tar(path, *members, format=tarfile.PAX_FORMAT):
    """Write (name, content) pairs; content is bytes, text, a dict for JSON, or a TarInfo without a name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as tar:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                tar.addfile(content)
                continue
            data = json.dumps(content).encode() if isinstance(content, dict) else content
            data = data.encode() if isinstance(data, str) else data
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def listed(source):
    return {
        item.path: (source.classes[item.label] if item.label >= 0 else None, item.set_name) for item in source.items
    }


def read_all(source):
    """Return the bytes of each item, or the reason why there are none."""
    found = {}
    for item in source.items:
        try:
            found[item.path] = source.read(item)
        except OSError as error:
            found[item.path] = reason(error)
    return found


def labels(tmp_path, *members):
    return {path: label for path, (label, _) in listed(open_source(write_tar(tmp_path / "s.tar", *members))).items()}


def test_webdataset__labels_of_every_kind(tmp_path):
    found = labels(
        tmp_path,
        ("a.jpg", b"A"),
        ("a.cls", "3\n"),
        ("b.PNG", b"B"),
        ("b.cls", "cat"),
        ("c.cls", b"\xef\xbb\xbf10"),
        ("c.webp", b"C"),
        ("d.jpeg", b"D"),
        ("d.json", {"label": "fire engine", "split": "train"}),
        ("e.jpg", b"E"),
        ("e.json", {"cls": 3}),
        ("f.jpg", b"F"),
        ("f.json", {"class": "cat", "label": None}),
        ("g.jpg", b"G"),
        ("g.txt", " a  dog\n"),
        ("deep/h.jpg", b"H"),
        ("deep/h.cls", "-1"),
        ("i.jpg", b"I"),
        ("j.jpg", b"J"),
        ("j.txt", ""),
        ("k.cls", "3"),
        ("readme.md", "no image"),
    )
    assert found == {
        "s.tar/a.jpg": "3",
        "s.tar/b.PNG": "cat",
        "s.tar/c.webp": "10",
        "s.tar/d.jpeg": "fire engine",
        "s.tar/e.jpg": "3",
        "s.tar/f.jpg": "cat",
        "s.tar/g.jpg": None,
        "s.tar/deep/h.jpg": None,
        "s.tar/i.jpg": None,
        "s.tar/j.jpg": None,
    }
    source = open_source(tmp_path / "s.tar")
    assert source.classes == ["3", "10", "cat", "fire engine"]
    assert list(read_all(source).values()) == [letter.encode() for letter in "ABCDEFGHIJ"]
    status = (tmp_path / "s.tar").stat()
    assert source.items[0][3:] == (1, status.st_mtime_ns)


def test_webdataset__one_label_of_several(tmp_path):
    found = labels(
        tmp_path,
        ("a.jpg", b""),
        ("a.cls", "207"),
        ("a.txt", "a photograph of my dog"),
        ("a.json", {"label": "golden retriever", "caption": "x"}),
        ("b.jpg", b""),
        ("b.json", {"label": "cat", "cls": 3}),
        ("b.txt", "a caption"),
        ("c.jpg", b""),
        ("c.cls", ""),
        ("c.txt", "cat"),
    )
    assert list(found.values()) == ["207", "cat", None]


def test_webdataset__samples_that_cannot_be_used_say_why(tmp_path):
    link, pipe = tarfile.TarInfo(), tarfile.TarInfo()
    link.type, link.linkname, pipe.type = tarfile.SYMTYPE, "/etc/passwd", tarfile.FIFOTYPE
    hard, device = tarfile.TarInfo(), tarfile.TarInfo()
    hard.type, hard.linkname, device.type = tarfile.LNKTYPE, "good.jpg", tarfile.CHRTYPE
    tar = write_tar(
        tmp_path / "s.tar",
        *(("contra.jpg", b""), ("contra.cls", "3"), ("contra.json", {"label": 4})),
        *(("two-in-one.jpg", b""), ("two-in-one.json", {"label": "cat", "class": "dog"})),
        *(("again.jpg", b""), ("again.cls", "3"), ("again.cls", "4")),
        *(("json.jpg", b""), ("json.json", "{")),
        *(("list.jpg", b""), ("list.json", "[1]")),
        *(("float.jpg", b""), ("float.json", {"label": 1.5})),
        *(("split.jpg", b""), ("split.json", {"split": "later"})),
        *(("bytes.jpg", b""), ("bytes.cls", b"\xff")),
        *(("large.jpg", b""), ("large.txt", b"x" * (1 << 20) + b"x")),
        *(("linked.jpg", b""), ("linked.cls", copy.copy(link))),
        *(("two.jpg", b"1"), ("two.png", b"2"), ("two.cls", "3")),
        *(("twice.jpg", b"1"), ("twice.jpg", b"2")),
        *(("link.jpg", link), ("hard.jpg", hard), ("device.jpg", device), ("pipe.jpg", pipe)),
        *(("dotted.v2.jpg", b""), ("dotted.v2.cls", "3")),
        *(("good.jpg", b"good"), ("good.mask.png", b"mask"), ("good.cls", "3")),
    )
    problems = read_all(open_source(tar))
    assert problems == {
        "s.tar/contra.jpg": "its labels contradict each other: contra.cls says '3', contra.json (label) '4'",
        "s.tar/two-in-one.jpg": "its labels contradict each other: two-in-one.json (label) says 'cat', "
        "two-in-one.json (class) 'dog'",
        "s.tar/again.jpg": "its labels contradict each other: again.cls says '3', again.cls '4'",
        "s.tar/json.jpg": "its label json.json: not JSON",
        "s.tar/list.jpg": "its label list.json: not a JSON object",
        "s.tar/float.jpg": "its label float.json: a label is a class name or a whole number",
        "s.tar/split.jpg": "its label split.json: the set 'later' is none of train, val, test",
        "s.tar/bytes.jpg": "its label bytes.cls: not UTF-8",
        "s.tar/large.jpg": "its label large.txt: larger than 1048576 bytes",
        "s.tar/linked.jpg": "its label linked.cls: a link in the tar file",
        "s.tar/two.jpg": "its sample has several images: two.jpg, two.png",
        "s.tar/two.png": "its sample has several images: two.jpg, two.png",
        "s.tar/twice.jpg": "its name comes more than once in the tar file",
        "s.tar/link.jpg": "a link in the tar file",
        "s.tar/hard.jpg": "a link in the tar file",
        "s.tar/device.jpg": "is a device",
        "s.tar/pipe.jpg": "is a named pipe",
        "s.tar/dotted.v2.jpg": "its name has several dots: only what follows the key and the first dot is the ending",
        "s.tar/good.jpg": b"good",
    }


def test_webdataset__names_are_safe(tmp_path):
    folder = tarfile.TarInfo()
    folder.type = tarfile.DIRTYPE
    tar = write_tar(
        tmp_path / "s.tar",
        *(("/etc/a.jpg", b"a"), ("../../b.jpg", b"b"), ("x/../../c.jpg", b"c"), ("./d.jpg", b"d"), ("e//f.jpg", b"f")),
        *(("._d.jpg", b"Finder"), (".jpg", b"hidden"), ("folder.jpg", folder), ("..", b"")),
    )
    assert read_all(open_source(tar)) == {
        "s.tar/etc/a.jpg": b"a",
        "s.tar/b.jpg": b"b",
        "s.tar/c.jpg": b"c",
        "s.tar/d.jpg": b"d",
        "s.tar/e/f.jpg": b"f",
    }


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_webdataset__long_names_and_other_bytes(tmp_path, format):
    long = "/".join(["folder" * 10] * 10)
    odd = os.fsdecode(b"\xe4")
    tar = write_tar(
        tmp_path / "s.tar", (f"{long}.jpg", b"x"), (f"{long}.cls", "cat"), (f"{odd}.jpg", b"y"), format=format
    )
    assert read_all(open_source(tar)) == {f"s.tar/{long}.jpg": b"x", f"s.tar/{odd}.jpg": b"y"}
    assert open_source(tar).items[0].label == 0


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_webdataset__finds_what_tarfile_finds(tmp_path, format):
    names = ["/".join(["f" * 50] * 3 + ["n" * length]) + ".jpg" for length in (1, 90)]
    names += ["n" * length + ".jpg" for length in (1, 94, 95, 96)]
    tar = write_tar(tmp_path / "s.tar", *((name, name * 20) for name in names), format=format)
    with tarfile.open(tar) as file:
        expected = {f"s.tar/{member.name}": file.extractfile(member).read() for member in file}
    assert read_all(open_source(tar)) == expected
    assert len(expected) == len(names)


def test_webdataset__sparse_members(tmp_path):
    sparse = tarfile.TarInfo("a.jpg")
    sparse.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "4"}
    data = b"1\n0\n4\n".ljust(512, b"\0") + b"data"
    sparse.size = len(data)
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        tar.addfile(sparse, io.BytesIO(data))
    assert list(read_all(open_source(tmp_path / "s.tar")).values()) == ["sparse in the tar file"]


def test_webdataset__sets_by_json_then_by_name(tmp_path):
    plain = ("a.jpg", b"")
    for name in (
        "cifar10-train-000.tar",
        "Validation_1.tar",
        "valid.tar",
        "contest.tar",
        "train-test.tar",
        "test/000.tar",
        "test/train.tar",
        "other/000.tar",
    ):
        write_tar(tmp_path / name, plain)
    write_tar(tmp_path / "train-001.tar", plain, ("a.json", {"split": "valid"}), ("b.jpg", b""), ("b.json", {}))
    assert {path: name for path, (_, name) in listed(open_source(tmp_path / "**" / "*.tar")).items()} == {
        "Validation_1.tar/a.jpg": "val",
        "cifar10-train-000.tar/a.jpg": "train",
        "contest.tar/a.jpg": "",
        "other/000.tar/a.jpg": "",
        "test/000.tar/a.jpg": "test",
        "test/train.tar/a.jpg": "train",
        "train-001.tar/a.jpg": "val",
        "train-001.tar/b.jpg": "train",
        "train-test.tar/a.jpg": "",
        "valid.tar/a.jpg": "val",
    }


def test_webdataset__captions_are_classes_only_when_asked(tmp_path):
    # As img2dataset writes it, with few captions.
    members = []
    for number, text in enumerate(["a dog on a lawn", "cat", "cat", "word " * 100]):
        members += [(f"{number}.jpg", b""), (f"{number}.txt", text), (f"{number}.json", {"caption": text, "width": 9})]
    path = write_tar(tmp_path / "00000.tar", *members)
    source = open_source(path)
    assert (source.classes, {item.label for item in source.items}) == ([], {-1})
    assert source.account.notes == ["4 texts (.txt) are taken for captions, not for classes: see --captions-as-classes"]
    asked = open_source(path, SourceOptions(captions_as_classes=True))
    assert [label for label, _ in listed(asked).values()] == ["a dog on a lawn", "cat", "cat", None]


def test_webdataset__everything_is_an_item_or_counted(tmp_path):
    members = [
        *(("a.jpg_large", b"1"), ("b", JPEG), ("c.heic", b"3"), ("d.v2", JPEG), ("d.cls", "3"), ("e.xyz", b"no image")),
        *(("f.jpg", JPEG), ("f.mask.png", b"mask"), ("f.cls", "4"), ("g", b"text"), ("._f.jpg", b"Finder")),
    ]
    source = open_source(write_tar(tmp_path / "s.tar", *members))
    assert listed(source) == {
        "s.tar/a.jpg_large": (None, ""),
        "s.tar/b": (None, ""),
        "s.tar/c.heic": (None, ""),
        "s.tar/d.v2": ("3", ""),
        "s.tar/f.jpg": ("4", ""),
    }
    assert source.account.ignored == {
        ".cls": 2,
        ".xyz": 1,
        "images beside another of the same key": 1,
        "without extension": 1,
        "hidden": 1,
    }
    assert len(source.items) + sum(source.account.ignored.values()) == len(members)


def test_webdataset__labels_by_the_rule_of_tables(tmp_path):
    assert labels(
        tmp_path,
        *(
            ("a.jpg", b""),
            ("a.cls", "10.0"),
            ("b.jpg", b""),
            ("b.cls", "-1.0"),
            ("c.jpg", b""),
            ("c.json", {"cls": 9.0}),
        ),
        *(("d.jpg", b""), ("d.cls", "nan")),
    ) == {"s.tar/a.jpg": "10", "s.tar/b.jpg": None, "s.tar/c.jpg": "9", "s.tar/d.jpg": None}


def test_tar__folders_are_classes_where_no_image_has_a_label(tmp_path):
    tar = write_tar(
        tmp_path / "pets.tar",
        *(("pets/train/cat/1.v2.jpg", JPEG), ("pets/train/dog/2.jpg", JPEG), ("pets/test/cat/3.jpg", JPEG)),
        *(("pets/readme.md", "text"), ("pets/train/cat/._1.jpg", b"Finder")),
    )
    source = open_source(tar)
    assert listed(source) == {
        "pets.tar/pets/train/cat/1.v2.jpg": ("cat", "train"),
        "pets.tar/pets/train/dog/2.jpg": ("dog", "train"),
        "pets.tar/pets/test/cat/3.jpg": ("cat", "test"),
    }
    assert set(read_all(source).values()) == {JPEG}
    assert source.account.ignored == {".md": 1, "hidden": 1}
    assert source.account.notes[0] == "the folder pets.tar/pets is walked through: it is the only one with images"
    os.utime(tar, ns=(1, 1))
    with pytest.raises(OSError, match="its tar file has changed since it was listed"):
        source.read(source.items[0])


def test_tar__one_a_set(tmp_path):
    write_tar(tmp_path / "train.tar", ("cat/1.jpg", JPEG), ("dog/2.jpg", JPEG))
    write_tar(tmp_path / "val.tar", ("cat/3.jpg", JPEG))
    assert listed(open_source(tmp_path)) == {
        "train.tar/cat/1.jpg": ("cat", "train"),
        "train.tar/dog/2.jpg": ("dog", "train"),
        "val.tar/cat/3.jpg": ("cat", "val"),
    }


def test_tar__of_tars_as_imagenet_has_it(tmp_path):
    inner = {}
    for name in ("n01440764", "n02102040"):
        path = write_tar(
            tmp_path / "inner" / f"{name}.tar", *((f"{name}_{n}.JPEG", JPEG + name.encode()) for n in (1, 20))
        )
        inner[name] = path.read_bytes()
    cut = inner["n02102040"][: 512 + 5]
    members = [*((f"{name}.tar", data) for name, data in inner.items()), ("n09.tar", cut), ("n10.tar", b"no tar")]
    source = open_source(write_tar(tmp_path / "ILSVRC2012_img_train.tar", *members))
    top = "ILSVRC2012_img_train.tar"
    assert {path: label for path, (label, _) in listed(source).items()} == {
        f"{top}/n01440764/n01440764_1.JPEG": "n01440764",
        f"{top}/n01440764/n01440764_20.JPEG": "n01440764",
        f"{top}/n02102040/n02102040_1.JPEG": "n02102040",
        f"{top}/n02102040/n02102040_20.JPEG": "n02102040",
        f"{top}/n09/n02102040_1.JPEG": None,
        f"{top}/n09.tar": None,
        f"{top}/n10.tar": None,
    }
    found = read_all(source)
    assert found[f"{top}/n02102040/n02102040_20.JPEG"] == JPEG + b"n02102040"
    assert found[f"{top}/n10.tar"] == "truncated file"
    assert found[f"{top}/n09.tar"] == "truncated: it ends inside n02102040_1.JPEG"
    assert found[f"{top}/n09/n02102040_1.JPEG"] == "the tar file ends in the middle of it"


@pytest.fixture
def six(tmp_path):
    """A tar file of six labelled images of 700 bytes, each member in 3 or 2 blocks; returns its path."""
    members = []
    for number in range(6):
        members += [(f"{number}.jpg", bytes([number]) * 700), (f"{number}.cls", "cat")]
    return write_tar(tmp_path / "six.tar", *members)


SAMPLE = 5 * 512  # header and two blocks of the image, header and one block of the label


@pytest.mark.parametrize(
    ("length", "whole", "problem"),
    [
        (0, 0, "empty file"),
        (100, 0, "not a tar file"),
        (2 * SAMPLE, 2, "no end mark: it may be cut off"),
        (2 * SAMPLE + 100, 2, "truncated file"),
        (2 * SAMPLE + 512 + 600, 2, "truncated: it ends inside 2.jpg"),
        (2 * SAMPLE + 512 + 701, 2, "truncated: it ends inside 2.jpg"),
        (2 * SAMPLE + 512 + 1024, 2, "no end mark: it may be cut off"),
        (2 * SAMPLE + 512 + 1024 + 512, 2, "truncated: it ends inside 2.cls"),
        (6 * SAMPLE + 512, 6, ""),
    ],
)
def test_webdataset__truncated(six, length, whole, problem):
    expected = {f"six.tar/{number}.jpg": bytes([number]) * 700 for number in range(whole)}
    with six.open("rb+") as file:
        file.truncate(length)
    found = read_all(open_source(six))
    assert found.pop("six.tar", "") == problem
    assert {path: data for path, data in found.items() if isinstance(data, bytes)} == expected
    # An image whose label was cut off is not unlabelled.
    others = [why for why in found.values() if isinstance(why, str)]
    assert len(others) == (length > 2 * SAMPLE + 512) * (whole < 6)
    assert set(others) <= {
        "the tar file ends in the middle of it",
        "its label is missing, perhaps behind the damage of its tar file",
        "its label 2.cls: the tar file ends in the middle of it",
    }


def test_webdataset__damage_in_the_middle_is_noticed(six):
    data = bytearray(six.read_bytes())
    data[3 * SAMPLE] ^= 1
    six.write_bytes(data)
    found = read_all(open_source(six))
    assert found.pop("six.tar") == f"damaged header at byte {3 * SAMPLE}: what follows is not read"
    assert list(found) == ["six.tar/0.jpg", "six.tar/1.jpg", "six.tar/2.jpg"]


def test_webdataset__joined_files_are_noticed(six):
    six.write_bytes(six.read_bytes() * 2)
    assert (
        read_all(open_source(six))["six.tar"]
        == "more follows behind its end mark (joined tar files?), which is not read"
    )


def test_webdataset__one_damaged_file_does_not_end_the_job(six, tmp_path):
    (tmp_path / "empty.tar").write_bytes(b"")
    (tmp_path / "text.tar").write_bytes(b"this is a text" * 100)
    (tmp_path / "none.tar").write_bytes(bytes(10240))
    (tmp_path / "gone.tar").symlink_to(tmp_path / "nowhere.tar")
    os.mkfifo(tmp_path / "pipe.tar")
    found = read_all(open_source(tmp_path))
    assert {path: why for path, why in found.items() if isinstance(why, str)} == {
        "empty.tar": "empty file",
        "gone.tar": "cannot be read: no such file or directory",
        "pipe.tar": "cannot be read: is a named pipe",
        "text.tar": "not a tar file",
    }
    assert len(found) == 10


def set_size(path, at, size, kind=b"0"):
    """Write another size and type into the header at a byte, with a right checksum."""
    data = bytearray(path.read_bytes())
    # Base 256 is how tar writes what does not fit into 11 octal digits.
    data[at + 124 : at + 136] = (
        size.to_bytes(12, "big", signed=True) if size < 0 else b"\x80" + size.to_bytes(11, "big")
    )
    data[at + 148 : at + 157] = b" " * 8 + kind
    data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    path.write_bytes(data)


def test_webdataset__headers_that_lead_backwards_come_to_an_end(six):
    # Python 3.11 and 3.12 go round in circles on it.
    set_size(six, SAMPLE, -SAMPLE)
    assert read_all(open_source(six)) == {
        "six.tar/0.jpg": bytes(700),
        "six.tar": f"damaged header at byte {SAMPLE}: what follows is not read",
    }


@pytest.mark.parametrize("kind", [b"x", b"g", b"L"])
def test_webdataset__extended_headers_are_not_read_whatever_their_size(six, kind):
    # Sparse, so that there is something to read.
    with six.open("rb+") as file:
        file.truncate(1 << 30)
    for at, problem in (
        (SAMPLE, f"damaged header at byte {SAMPLE}: what follows is not read"),
        (0, "not a tar file"),
    ):
        with six.open("rb+") as file:
            head = six.with_suffix(".head")
            head.write_bytes(file.read(6 * SAMPLE))
            set_size(head, at, 1 << 29, kind)
            file.seek(0)
            file.write(head.read_bytes())
        tracemalloc.start()
        assert read_all(open_source(six))["six.tar"] == problem
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 10 << 20


def test_webdataset__refusals(tmp_path, six):
    (tmp_path / "zipped.tar").write_bytes(gzip.compress(six.read_bytes()))
    with pytest.raises(UlfineError, match=r"zipped.tar is compressed, .* expand it \(gunzip\)"):
        open_source(tmp_path / "zipped.tar")
    with pytest.raises(UlfineError, match=r"no images in .*words.tar: expected members KEY.jpg with KEY.cls"):
        open_source(write_tar(tmp_path / "words.tar", ("a.txt", "cat")))


def test_webdataset__notices_changes(six):
    source = open_source(six)
    before = listing_digest(source.items)
    status = six.stat()
    os.utime(six, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert listing_digest(open_source(six).items) != before
    with pytest.raises(OSError, match="its tar file has changed since it was listed"):
        source.read(source.items[0])
    six.unlink()
    with pytest.raises(FileNotFoundError):
        source.read(source.items[0])


def test_webdataset__read_from_many_threads_in_any_order(tmp_path):
    rng = np.random.default_rng(0)
    contents = {f"{tar}.tar/{number}.jpg": rng.bytes(3000) for tar in "ba" for number in (2, 10, 1)}
    for tar in "ab":
        members = [(path[6:], data) for path, data in contents.items() if path.startswith(tar)]
        write_tar(tmp_path / f"{tar}.tar", *members)
    source = open_source(tmp_path)
    # Files by name, members as they lie in the file.
    order = ["2.jpg", "10.jpg", "1.jpg"]
    assert [item.path for item in source.items] == [f"{tar}.tar/{name}" for tar in "ab" for name in order]
    items = [source.items[number] for number in rng.integers(0, 6, 600)]
    with ThreadPoolExecutor(8) as pool:
        assert all(data == contents[item.path] for item, data in zip(items, pool.map(source.read, items), strict=True))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 6 * SAMPLE + 1023), value=st.integers(0, 255), cut=st.booleans())
def test_webdataset__damaged_bytes_give_items_or_an_error(tmp_path, position, value, cut):
    members = [("0.jpg", b"0" * 700), ("0.cls", "cat"), ("n" * 120 + ".jpg", b"1"), ("2.json", {"label": 1})]
    path = write_tar(tmp_path / "damaged.tar", *members)
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    path.write_bytes(data[: position % len(data) + 1] if cut else data)
    try:
        assert read_all(open_source(path))
    except UlfineError as error:
        assert "\n" not in str(error)


def picture(seed):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_webdataset__gives_the_features_of_the_same_images_in_folders(tmp_path, random_model):
    members = []
    for number in range(5):
        folder = tmp_path / "folders" / str(number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(picture(number))
        members += [(f"{number}.png", picture(number)), (f"{number}.cls", str(number % 2))]
    write_tar(tmp_path / "train-0.tar", *members, ("bad.png", b"no image"), ("bad.cls", "0"))
    names = tmp_path / "names.csv"
    names.write_text("folder,name\n0,cat\n1,dog\n")
    options = {"model": random_model[0], "pretrained": random_model[1], "device": "cpu", "precision": "fp32"}
    options |= {"classes": names, "batch_size": 1}
    figures = cache_features(source=tmp_path / "train-{0..0}.tar", out=tmp_path / "one", **options)
    assert (figures["rows"], figures["skipped"], figures["classes"]) == (5, 1, 2)
    cache_features(source=tmp_path / "folders", out=tmp_path / "other", **options)
    one, other = FeatureCache.open(tmp_path / "one"), FeatureCache.open(tmp_path / "other")
    assert one.class_names == other.class_names == ["cat", "dog"]
    assert one.paths == [f"train-0.tar/{number}.png" for number in range(5)]
    order = [other.paths.index(f"{number % 2}/{number}.png") for number in range(5)]
    np.testing.assert_array_equal(one.features(), other.features()[order])
    np.testing.assert_array_equal(one.labels, other.labels[order])
    assert (tmp_path / "one" / "skipped.csv").read_text().splitlines() == [
        "path,reason",
        "train-0.tar/bad.png,not an image",
    ]


def test_webdataset__real_shards(shared_data: Path, tmp_path):
    figures = cache_features(
        source=shared_data / "images" / "cifar10-*.tar", out=tmp_path / "cache", model="builtin:tiny", index="none"
    )
    expected = {"images": 4000, "rows": 4000, "skipped": 0, "classes": 10, "labelled": 3000, "test": 1000}
    assert {name: figures[name] for name in expected} == expected
    cache = FeatureCache.open(tmp_path / "cache")
    assert cache.class_names == [str(number) for number in range(10)]
    # The key begins with the name of the class, and CIFAR-10's classes are in alphabetical order.
    pairs = {
        (path.partition("/")[2].split("_")[0], label) for path, label in zip(cache.paths, cache.labels, strict=True)
    }
    assert [name for name, _ in sorted(pairs, key=lambda pair: pair[1])] == sorted({name for name, _ in pairs})
    assert len(pairs) == 10
