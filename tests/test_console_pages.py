"""What README and tutorial show of the terminal is what the commands print."""

import shutil
from pathlib import Path

import pytest

from documentation import console

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the commands run in bash")


def test_readme__shows_what_the_quickstart_prints(tmp_path):
    found = console.commands((ROOT / "README.md").read_text("utf-8"))
    assert [command.line for command in found] == ["ulfine quickstart"]
    console.run(found, tmp_path)
    assert found[0].code == 0, found[0].complaints
    assert console.differences(found[0]) == []


def test_differences__are_other_words_numbers_and_lines():
    def told(shown, printed):
        return console.differences(console.Command("x", shown, printed))

    assert told("macro  93.8\nseconds 12.1\n", "macro 92.9\nseconds 80\n") == []
    assert told("macro  93.8\n", "macro 90.1\n") == ["macro  93.8"]
    assert told("64 images\n", "65 images\n") == ["64 images"]
    assert told("two\n", "three\n") == ["two"]
    assert told("a\n", "a\nb\n") == ["(it printed more lines than are shown)"]
    assert told("a\n...\nc\n", "a\nb\nb\nc\n") == []
    assert told("c\n...\na\n", "a\nb\nc\n") == ["a"]
    assert told("difference 6.0e-07\n", "difference 2.2e-07\n") == []


def test_run__is_one_shell(tmp_path):
    page = "```console\n$ mkdir here && cd here\n$ pwd\n/x\n```\ntext\n```console\n$ echo port 8000; false\nport 8000\n```\n"
    found = console.commands(page)
    console.run(found, tmp_path, {"8000": "8123"})
    assert [command.code for command in found] == [0, 0, 1]
    assert found[1].printed == f"{tmp_path / 'here'}\n"
    assert found[2].printed == "port 8000\n"
    assert console.written(page, found) == page.replace("/x", str(tmp_path / "here"))
