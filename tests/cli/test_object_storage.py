"""From photographs on object storage to a classifier, by the command line, and one line where that cannot be."""

import json
import shutil

import pytest

from tests.cli.conftest import draw_shapes
from tests.object_storage import at_random
from ulfine_cache.remote import storage

STAGE_ONE = ("--model", "builtin:tiny", "--device", "cpu", "--shard-size", 6)


@pytest.fixture
def bucket(s3, tmp_path):
    """The URL of a bucket with photographs of two classes."""
    _, url, _ = s3
    for shape, seed in (("ellipse", 1), ("rectangle", 2)):
        draw_shapes(tmp_path / "photos" / shape, shape, 8, seed)
    for path in (tmp_path / "photos").rglob("*.png"):
        storage.write_over(f"{url}/photos/{path.relative_to(tmp_path / 'photos').as_posix()}", path.read_bytes())
    return url


def test_all_commands__over_a_network_that_cuts(bucket, s3, ulfine_here, tmp_path, copies):
    network, _, _ = s3
    network.fault = at_random(0.1, 4)
    cache, run = f"{bucket}/cache", tmp_path / "run"
    done = ulfine_here("cache-features", f"{bucket}/photos", "--out", cache, *STAGE_ONE).succeeded()
    assert f"cache              {cache}" in done.out
    shutil.rmtree(copies)
    assert ulfine_here("info", cache).succeeded().out.count(f"{bucket}/photos") == 1
    ulfine_here(
        "split", cache, "--name", "lt", "--labelled-max", 3, "--imbalance", 3, "--test-per-class", 4
    ).succeeded()
    assert "damaged   0" in ulfine_here("verify", cache).succeeded().out
    fit = ("fit", cache, "--split", "lt", "--out", run, "--no-report", "--local-cache", "1MB")
    assert str(copies) not in ulfine_here(*fit).succeeded().err
    ended = ulfine_here("evaluate", run, "--json", tmp_path / "figures.json").succeeded()
    assert f"of {cache}" in ended.err
    assert json.loads((tmp_path / "figures.json").read_text())["cache"] == cache
    assert "ellipse" in ulfine_here("neighbours", cache, "ellipse/00.png").succeeded().out
    # Nothing that a run or a cache holds speaks of the copies or the keys of this machine.
    written = [path.read_bytes() for path in run.rglob("*") if path.is_file()]
    written += [path.read_bytes() for path in copies.rglob("*") if path.is_file()]
    assert not [data for data in written if str(copies).encode() in data or b"testing" in data]
    again = ulfine_here("cache-features", f"{bucket}/photos", "--out", cache, *STAGE_ONE).succeeded()
    assert f"{cache} is complete: nothing to do" in again.err


@pytest.mark.parametrize(
    ("arguments", "exit_code", "line"),
    [
        (("info", "{bucket}/nothing"), 1, "no cache at {bucket}/nothing"),
        (("info", "{bucket}/photos"), 1, "{bucket}/photos is not a cache: it has no index.json"),
        (("info", "s3://no-such-bucket-at-all/x"), 1, "there is no bucket s3://no-such-bucket-at-all"),
        (("info", "s3:/bucket/x"), 1, "s3:/bucket/x is neither a URL nor there"),
        (("fit", "{bucket}/nothing", "--out", "{tmp}/run"), 1, "no cache at {bucket}/nothing"),
        (("fit", "{bucket}/nothing", "--out", "{bucket}/run"), 2, "{bucket}/run is a URL, and what is asked for here"),
        (("evaluate", "{bucket}/run"), 2, "has to be on this machine"),
        (("info", "s3://key:hush@bucket/x"), 1, "s3://***@bucket/x holds a user or a password"),
        (("cache-features", "azure://c/x", "--out", "{tmp}/c"), 1, "its protocol is none of s3://"),
        (("cache-features", "{bucket}/photo", "--out", "{tmp}/c"), 1, "nothing at {bucket}/photo: expected"),
        (("cache-features", "{tmp}/photos", "--out", "s3:/x/y"), 1, "a local path of that name is written ./s3:/x/y"),
        (("cache-features", "{bucket}/photos", "--out", "{bucket}/photos/cache"), 1, "lies in the folder of images"),
        (("verify", "{bucket}/nothing", "--local-cache", "much"), 2, "local cache 'much' is no size"),
    ],
)
def test_command__that_cannot_be_done(bucket, ulfine_here, tmp_path, monkeypatch, arguments, exit_code, line):
    monkeypatch.chdir(tmp_path)
    given = [text.format(bucket=bucket, tmp=tmp_path) for text in arguments]
    said = ulfine_here(*given).failed(exit_code)
    assert line.format(bucket=bucket) in said
    assert "hush" not in said
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(":")]


def test_help__names_the_option_where_urls_are_taken(ulfine_here):
    assert "--local-cache SIZE" in ulfine_here("fit", "-h").succeeded().out
    assert "--local-cache" not in ulfine_here("export", "-h").succeeded().out
