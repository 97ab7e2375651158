"""Completion in the shell: commands, options, and the words that an option takes."""

import os
import subprocess

import pytest

from tests.cli.conftest import ULFINE
from ulfine_cli.commands import COMMANDS
from ulfine_fast.registry import METHODS


def completed(line: str) -> list[str]:
    """What bash would be offered for the last word of a line."""
    words = line.split(" ")
    asked = {"_ULFINE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run([ULFINE], env={**os.environ, **asked}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("ulfine ", [command.name for command in COMMANDS]),
        ("ulfine ex", ["export"]),
        ("ulfine fit cache --me", ["--method", "--memory"]),
        ("ulfine fit cache --method l", [name for name in METHODS if name.startswith("l")]),
        ("ulfine export run --precision ", ["fp32", "fp16", "int8"]),
    ],
)
def test_completion(line, offered):
    assert sorted(completed(line)) == sorted(offered)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_show_completion__prints_a_script(ulfine, shell, monkeypatch):
    # Typer would ask which shell started the tests; none did in a job.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert "_ULFINE_COMPLETE" in ulfine("--show-completion", shell).succeeded().out
