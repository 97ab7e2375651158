"""URLs and what stands for them."""

from collections import OrderedDict
from pathlib import Path

import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.remote.places import in_words, local, named, place, url_of, without_secrets

pytestmark = pytest.mark.usefixtures("copies")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/a b/c.tar", "s3://bucket/a b/c.tar"),
        ("S3://bucket/x", "s3://bucket/x"),
        ("gs://bucket/x", "gs://bucket/x"),
        ("gcs://bucket/x", "gs://bucket/x"),
        ("memory://x/y", "memory://x/y"),
        ("s3://bucket/../etc/./passwd", "s3://bucket/../etc/./passwd"),
        ("s3://bucket/t-{000..012}.tar", "s3://bucket/t-{000..012}.tar"),
        ("s3://bucket/100%/x", "s3://bucket/100%/x"),
        ("s3://bucket/who@where/ümlaut", "s3://bucket/who@where/ümlaut"),
    ],
)
def test_place__stands_for_a_url(copies, url, name):
    found = place(url)
    assert url_of(found) == name == named(found)
    assert url_of(found / "shards" / "00000.h5") == f"{name}/shards/00000.h5"
    assert found.resolve().is_relative_to(copies.resolve())
    # Once more, as commands hand it to one another.
    assert place(found) == found == place(str(found))


@pytest.mark.parametrize("path", ["photos", "/srv/photos", "C:/photos", "a/s3://b", "./s3:/b", "s3:", "with:colon/x"])
def test_place__leaves_local_paths_alone(path):
    assert place(path) == local(path) == Path(path)
    assert url_of(Path(path)) is None


def test_place__file_is_the_path_that_it_names():
    assert place("file:///srv/a b") == Path("/srv/a b")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("s3:/bucket/x", r"s3:/bucket/x is neither a URL nor there: .* s3://bucket/x, .* \./s3:/bucket/x"),
        ("s3:bucket", r"s3:bucket is neither"),
        (Path("s3://bucket/x"), r"a URL is text"),
        ("ftp://h/x", r"ftp://h/x is not on this machine, and its protocol is none of s3://"),
        ("https://u:secret@h/x", r"https://\*\*\*@h/x is not on this machine"),
        ("s3://key:secret@bucket/x", r"s3://\*\*\*@bucket/x holds a user or a password"),
        ("s3:/key:secret@bucket/x", r"s3:/\*\*\*@bucket/x is neither"),
        ("s3://", "no whole URL"),
        ("s3://bucket//x", "no whole URL"),
        ("file://host/x", "names another machine"),
    ],
)
def test_place__refuses(given, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UlfineError, match=line) as raised:
        place(given)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_place__of_a_local_folder_that_is_called_like_a_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s3:/bucket").mkdir(parents=True)
    assert url_of(place("s3:/bucket")) is None
    assert url_of(place("s3://bucket")) == "s3://bucket"


def test_local__refuses_urls():
    with pytest.raises(UsageError, match="s3://bucket/run is a URL, and what is asked for here has to be on this"):
        local("s3://bucket/run")


def test_in_words__puts_urls_where_their_paths_stood():
    said = f"{place('s3://bucket/cache') / 'cache.h5'} is damaged"
    assert in_words(said) == "s3://bucket/cache/cache.h5 is damaged"
    assert in_words({"a": [said, 3], "b": None}) == {"a": ["s3://bucket/cache/cache.h5 is damaged", 3], "b": None}
    assert type(in_words(OrderedDict(a=said))) is OrderedDict


def test_without_secrets():
    assert without_secrets("a s3://k:p@b/x and http://t@h") == "a s3://***@b/x and http://***@h"
    assert without_secrets("s3://bucket/who@where") == "s3://bucket/who@where"
