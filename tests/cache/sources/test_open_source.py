"""Which kind of source a path or a pattern is."""

import io
import tarfile
from itertools import islice

import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.archives.webdataset import WebDataset
from ulfine_cache.sources.folders.image_folder import ImageFolder
from ulfine_cache.sources.open_source import open_source
from ulfine_cache.sources.tables.table_source import TableSource
from ulfine_cache.sources.trees.file_pattern import expand_braces, matching_files


def write_tar(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("1.jpg")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("s-{000..002}.tar", ["s-000.tar", "s-001.tar", "s-002.tar"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{0..10..5}", ["0", "5", "10"]),
        ("{-1..1}", ["-1", "0", "1"]),
        ("{a,b}-*.tar", ["a-*.tar", "b-*.tar"]),
        ("{a,}x", ["ax", "x"]),
        ("{a,b}{1..2}", ["a1", "a2", "b1", "b2"]),
        ("{t-{00..01},v}.tar", ["t-00.tar", "t-01.tar", "v.tar"]),
        ("{a}{b", ["{a}{b"]),
        ("{a{1,2}}", ["{a1}", "{a2}"]),
        ("{x..z}", ["{x..z}"]),
    ],
)
def test_expand_braces__as_a_shell_does(pattern, names):
    assert list(expand_braces(pattern)) == names


def test_expand_braces__is_lazy():
    assert list(islice(expand_braces("{0..999999999999}"), 2)) == ["0", "1"]


def test_matching_files__sorted_without_repetition_and_complete(tmp_path, monkeypatch):
    touch(tmp_path, "b-1.tar", "a-1.tar", "a-2.tar", "deep/er/c.tar", "odd[1].tar")
    monkeypatch.chdir(tmp_path)
    expected = [str(tmp_path / name) for name in ("a-1.tar", "a-2.tar", "b-1.tar")]
    assert matching_files("{b,a}-*.tar") == expected
    assert matching_files(f"{tmp_path}/{{a-1,a-*,b-1}}.tar") == expected
    assert matching_files("**/c.tar") == [str(tmp_path / "deep/er/c.tar")]
    assert matching_files("odd[1].tar") == [str(tmp_path / "odd[1].tar")]
    with pytest.raises(UlfineError, match=r"no file matches a-3.tar \(of a-\{1..3\}.tar\): check the pattern"):
        matching_files("a-{1..3}.tar")
    with pytest.raises(UlfineError, match=r"no file matches x\*.tar: check"):
        matching_files("x*.tar")


def test_open_source__kinds(tmp_path):
    touch(tmp_path, "folder/cat/1.jpg", "beside/cat/1.jpg", "list.csv")
    (tmp_path / "list.csv").write_text("path\nfolder/cat/1.jpg\n")
    write_tar(tmp_path / "one.tar")
    write_tar(tmp_path / "shards" / "0.tar")
    write_tar(tmp_path / "shards" / "1.TAR")
    touch(tmp_path, "shards/README.md", "shards/0_stats.json")
    write_tar(tmp_path / "beside" / "archive.tar")
    write_tar(tmp_path / "odd{1,2}.tar")
    kinds = {
        "folder": ImageFolder,
        "beside": ImageFolder,
        "list.csv": TableSource,
        "one.tar": WebDataset,
        "shards": WebDataset,
        "shards/*.[tT][aA][rR]": WebDataset,
        "shards/{0.tar,1.TAR}": WebDataset,
        "odd{1,2}.tar": WebDataset,
    }
    assert {name: type(open_source(tmp_path / name)) for name in kinds} == kinds
    assert [item.path for item in open_source(tmp_path / "shards").items] == ["0.tar/1.jpg", "1.TAR/1.jpg"]


def test_open_source__location(tmp_path, monkeypatch):
    write_tar(tmp_path / "shards" / "0.tar")
    monkeypatch.chdir(tmp_path)
    for name in ("shards", "shards/0.tar", "shards/{0..0}.tar"):
        assert open_source(tmp_path.joinpath(name).relative_to(tmp_path)).location == str(tmp_path / name)


def refusal(path):
    with pytest.raises(UlfineError) as caught:
        open_source(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_open_source__pickles_are_not_read(tmp_path):
    touch(tmp_path, "cifar-10/data_batch_1", "cifar-10/batches.meta", "cifar-100/train", "cifar-100/meta", "x.pkl")
    for name in ("cifar-10", "cifar-10/data_batch_1", "cifar-100", "x.pkl"):
        message = refusal(tmp_path / name)
        assert str(tmp_path / name) in message
        assert "pickles are not read, because they can run code; write the images out as <class>/*.png" in message
    # A folder called "train" beside a file called "meta" is none of them.
    touch(tmp_path, "mine/train/cat/1.jpg", "mine/meta")
    assert open_source(tmp_path / "mine").items[0].set_name == "train"


def test_open_source__archives_beside_a_list_of_names(tmp_path):
    touch(tmp_path / "both", "a.npz", "b.npz", "names.json")
    assert "holds 'a.npz', 'b.npz' and no folders of images: give these instead" in refusal(tmp_path / "both")


def test_open_source__refusals(tmp_path):
    touch(tmp_path, "a.tar.gz", "b.tgz", "c.zip", "e.jpg", "flat/1.jpg", "flat/2.tar", "f.csv", "f.tar")
    assert "is compressed, so its images cannot be read one by one: expand it (gunzip)" in refusal(
        tmp_path / "a.tar.gz"
    )
    assert "(gunzip)" in refusal(tmp_path / "b.tgz")
    assert "is no zip file, or it is cut off: download it again" in refusal(tmp_path / "c.zip")
    assert "is no source of images" in refusal(tmp_path / "e.jpg")
    assert "1 image lies directly in it" in refusal(tmp_path / "flat")
    assert (
        refusal(tmp_path / "f.*")
        == f"{tmp_path}/f.* matches {tmp_path}/f.csv: patterns are for .tar files only, or for tables only"
    )
    assert refusal(tmp_path / "no").startswith(f"no folder {tmp_path}/no: expected a folder with one folder per class")
    assert refusal(tmp_path / "no.csv").startswith(f"no file {tmp_path}/no.csv: ")
    assert refusal(tmp_path / "c.zip" / "x").startswith("no folder ")
    assert "only local files are read" in refusal(type(tmp_path)("https://example.org/x.tar"))
    assert "file name too long" in refusal(tmp_path / ("x" * 300))
    assert "no file matches" in refusal(tmp_path / ("x" * 300 + "*"))
