"""`make attacks` in small, and that it counts what is lost."""

import os
import subprocess
import sys

import pytest

from tests.attacks.__main__ import ENVIRONMENT, ROOT, attack, kinds, table
from tests.attacks.attempts import asked, flips, lost, refused, typed
from tests.cli.conftest import Ended
from ulfine_cache.errors import UlfineError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills and pipes are POSIX")


def raising(error):
    def question():
        raise error

    return question


def test_asked__what_survives_and_what_is_lost():
    assert asked(raising(UlfineError("x.h5 is damaged"))) == ""
    assert asked(lambda: 3, 3) == ""
    assert asked(lambda: 3) == ""
    assert asked(lambda: 4, 3) == "another answer"
    assert asked(raising(UlfineError("two\nlines"))).startswith("not one line")
    assert asked(raising(KeyError("x"))) == "KeyError: 'x'"
    assert asked(raising(RecursionError("deep"))) == "RecursionError: deep"


@pytest.mark.parametrize(
    ("ended", "survives"),
    [
        (Ended(0, "done", ""), True),
        (Ended(1, "", "a note\nerror: x.csv is empty\n"), True),
        (Ended(2, "", "error: no such option\n"), True),
        (Ended(1, "", "error: internal error (KeyError: 'x')\n"), False),
        (Ended(1, "", "Traceback (most recent call last):\nerror: x\n"), False),
        (Ended(1, "", "error: one\nerror: two\n"), False),
        (Ended(1, "", "error: one\nand more\n"), False),
        (Ended(1, "", ""), False),
        (Ended(-11, "", "error: one\n"), False),
    ],
    ids=lambda value: getattr(value, "err", None),
)
def test_lost__a_command(ended, survives):
    assert (lost(ended) == "") is survives


def test_lost__a_wrong_answer_with_exit_code_0():
    assert lost(Ended(0, "12", ""), lambda: False).startswith("exit code 0 with another answer")
    assert refused(Ended(0, "12", ""))


def test_flips__every_place_once_and_then_as_before(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(9))
    seen = [(place, path.read_bytes()) for place in flips(path, 100)]
    assert [place for place, _ in seen] == list(range(9))
    assert all(sum(byte.bit_count() for byte in data) == 1 and data[place] for place, data in seen)
    assert path.read_bytes() == bytes(9)


def test_typed__a_command_in_this_process(tmp_path):
    ended = typed("verify", tmp_path / "nothing")
    assert ended.exit_code == 1
    assert ended.out == ""
    assert refused(ended) == ""


def test_table__counts_what_is_lost():
    lines = []
    assert table({"one": [("a", ""), ("b", "")], "other": [("c", "")]}, lines.append) == 0
    assert lines[2:] == ["| one   |     2 |        2 |", "| other |     1 |        1 |", "| all   |     3 |        3 |"]
    lines.clear()
    assert table({"one": [("a", ""), ("b", "another answer")]}, lines.append) == 1
    assert lines[2] == "| one |     2 |        1 |"
    assert lines[-1] == "\nlost: one: b\nanother answer"
    # A kind that tries nothing shows nothing.
    assert table({"one": []}, lines.append) == 1


def test_attack__one_kind_as_a_process(tmp_path):
    """And one that cannot even begin is lost."""
    tried = attack("checkpoints, damaged or with code", tmp_path, 0.02)
    assert len(tried) == 16
    assert [attempt for attempt in tried if attempt[1]] == []
    ((what, loss),) = attack("runs, a bit flipped", tmp_path, 0.01)
    assert what == "the whole"
    assert "FileNotFoundError" in loss


def test_command__a_kind_that_is_not_known():
    done = subprocess.run(
        [sys.executable, "-m", "tests.attacks", "nothing"], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert all(name in done.stderr for name in kinds())


def test_attack__silence_is_a_loss(tmp_path):
    ((what, loss),) = attack("runs, a bit flipped", tmp_path, 0.01, silence=0.01)
    assert (what, loss) == ("after the start", "no end in 0.01 s")
