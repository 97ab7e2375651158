"""Files of decisions, as `ulfine label` and people write them."""

import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.labelling.decisions import class_decided, complete_length, read_decisions


def written(tmp_path, content):
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    return path


def test_last_line_counts(tmp_path, recorder):
    content = b"path,label,former,time\na.jpg,cat,,t\nb.jpg,dog,,t\na.jpg,dog,cat,t\n"
    decisions = read_decisions(written(tmp_path, content), recorder)
    assert decisions.labels == {"a.jpg": "dog", "b.jpg": "dog"}
    assert decisions.lines == {"a.jpg": "line 4", "b.jpg": "line 3"}
    assert [note.split(": ", 1)[1] for note in recorder.notes] == [
        "1 line is about images that come again later: the last counts"
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfpath,label\r\na.jpg,cat\r\n'=b.jpg,\r\n",
        b"sep=;\r\nlabel;path\r\ncat;a.jpg\r\n;'=b.jpg\r\n",
        b"path\tlabel\tx\na.jpg\tcat\ty\n'=b.jpg\tunlabelled\t\n",
        b'"path","label"\n"a.jpg"," cat "\n"\'=b.jpg","-1"',
        "path,label\na.jpg,cat\n'=b.jpg,\n".encode("utf-16"),
    ],
    ids=["spreadsheet", "semicolons", "tabs", "quotes", "utf-16"],
)
def test_forms(tmp_path, content):
    assert read_decisions(written(tmp_path, content)).labels == {"a.jpg": "cat", "=b.jpg": ""}


def test_digest__is_of_what_was_decided_alone(tmp_path):
    one = read_decisions(written(tmp_path, b"path,label\na,cat\nb,dog\n")).digest
    other = read_decisions(written(tmp_path, b"path,label,former,time\nb,cat,,1\nb,dog,cat,2\na,cat,,3\n")).digest
    assert one == other
    assert read_decisions(written(tmp_path, b"path,label\na,cat\nb,cat\n")).digest != one


@pytest.mark.parametrize("cut", range(1, 38))
def test_last_line_cut_off_anywhere(tmp_path, recorder, cut):
    """A killed writer leaves a part of its line: neither a class 'ca' nor an image 'b,' comes of it."""
    whole = b'path,label,former,time\na.jpg,cat,,2026-01-01T00:00:00Z\n"b,\n1.jpg",dog,,2026-01-01T00:00:00Z\n'
    decisions = read_decisions(written(tmp_path, whole[:-cut]), recorder)
    assert decisions.labels == {"a.jpg": "cat"}
    assert len(recorder.notes) == (0 if whole[:-cut].endswith(b"00Z\n") else 1)


def test_own_file_without_last_line_end(tmp_path):
    assert read_decisions(written(tmp_path, b"path,label\na.jpg,cat")).labels == {"a.jpg": "cat"}


def test_complete_length():
    assert complete_length(b'h\n"a\n') == 2
    assert complete_length(b'h\n"a\n"') == 2
    assert complete_length(b'h\n"a\n"\n') == 7
    assert complete_length(b'"h\n') == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"file,label\na,b\n", "has not one column 'path' among 'file', 'label'"),
        (b"path,label,label\na,b,c\n", "has not one column 'label'"),
        (b"", "has not one column 'path' among nothing"),
        (b"path,label\na.jpg,cat\n,dog\n", "line 3: a decision without a path"),
        (b"path,label\na,b,c\n", "line 2: 3 fields under 2 columns"),
    ],
)
def test_unusable(tmp_path, content, words):
    with pytest.raises(UlfineError, match=words) as raised:
        read_decisions(written(tmp_path, content))
    assert str(tmp_path / "labels.csv") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_file(tmp_path):
    with pytest.raises(UlfineError, match=r"cannot read the decisions in .*: no such file"):
        read_decisions(tmp_path / "labels.csv")


@pytest.mark.parametrize("name", ["", "  ", "-1", "Unlabelled", "NaN", "a\x00b", "x" * 300])
def test_no_class(name):
    with pytest.raises(ValueError, match=r"means that there is no class|characters"):
        class_decided(name)
