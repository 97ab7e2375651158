"""What an unfinished cache says is missing, and files that say nonsense."""

import json
import os

import pytest

from ulfine_cache.store.plan_file import Plan, read_plan, remove_plan, what_is_missing, write_plan


def shards(cache, *numbers):
    (cache / "shards").mkdir(exist_ok=True)
    for number in numbers:
        (cache / "shards" / f"{number:05d}.h5").write_bytes(b"")


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ((), "12 shards are missing of 12: 0 to 11"),
        ((0, 1, 2, 3), "8 shards are missing of 12: 4 to 11"),
        ((0, 2, 3, 4, 6, 7, 8, 9, 10, 11), "2 shards are missing of 12: 1, 5"),
        (tuple(range(11)), "1 shard is missing of 12: 11"),
        (tuple(range(12)), "all of its 12 shards are there, and only what lies over them is missing"),
    ],
)
def test_what_is_missing(tmp_path, there, said):
    write_plan(tmp_path, Plan(12, "0" * 64))
    shards(tmp_path, *there)
    assert what_is_missing(tmp_path) == said
    remove_plan(tmp_path)
    assert what_is_missing(tmp_path) == ""
    remove_plan(tmp_path)


def test_what_is_missing__names_a_few_of_many(tmp_path):
    write_plan(tmp_path, Plan(1000, ""))
    shards(tmp_path, *range(1, 1000, 2))
    assert what_is_missing(tmp_path) == "500 shards are missing of 1000: 0, 2, 4, 6, 8, 10, 12, 14, ..."


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        "{}",
        json.dumps({"shards": 3}),
        json.dumps({"shards": "3", "listing": ""}),
        json.dumps({"shards": True, "listing": ""}),
        json.dumps({"shards": 3, "listing": "", "more": 1}),
        json.dumps({"shards": 0, "listing": ""}),
        json.dumps({"shards": -3, "listing": ""}),
        json.dumps({"shards": 10**12, "listing": ""}),
        "[" * 100_000,
        "ä",
    ],
)
def test_read_plan__takes_no_nonsense(tmp_path, content):
    (tmp_path / ".plan").write_text(content, encoding="utf-8")
    assert read_plan(tmp_path) is None
    assert what_is_missing(tmp_path) == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are POSIX")
def test_read_plan__does_not_wait_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / ".plan")
    assert read_plan(tmp_path) is None
