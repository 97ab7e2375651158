import json
import os
from pathlib import Path

import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cli.json_file import prepare_json, write_json


def test_write_json__not_finite_becomes_null(tmp_path):
    write_json(tmp_path / "f.json", {"a": float("nan"), "b": [float("inf"), 0.5], "c": {"d": (1, None)}, "é": "ü"})
    assert json.loads((tmp_path / "f.json").read_text("utf-8")) == {
        "a": None,
        "b": [None, 0.5],
        "c": {"d": [1, None]},
        "é": "ü",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["f.json"]


def test_write_json__failure_keeps_the_old_file(tmp_path):
    write_json(tmp_path / "f.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "f.json", {"a": object()})
    assert json.loads((tmp_path / "f.json").read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["f.json"]


def test_prepare_json__makes_parents_and_leaves_nothing_else(tmp_path):
    prepare_json(tmp_path / "a" / "b" / "f.json")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_prepare_json__below_a_file_names_the_target(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"f\.json"):
        prepare_json(tmp_path / "file" / "f.json")
    with pytest.raises(IsADirectoryError):
        prepare_json(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_write_json__devices_are_written_in_place():
    prepare_json(Path("/dev/null"))
    write_json(Path("/dev/null"), {"a": 1})
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OSError, match="No space left"):
        write_json(Path("/dev/full"), {"a": 1})


def test_write_json__unwritable_directory(tmp_path):
    with pytest.raises(UlfineError, match=r"cannot write .*f\.json"):
        write_json(tmp_path / "gone" / "f.json", {"a": 1})


def test_write_json__file_names_that_are_no_unicode(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    write_json(tmp_path / "f.json", {"path": name})
    assert json.loads((tmp_path / "f.json").read_text("utf-8")) == {"path": name}
