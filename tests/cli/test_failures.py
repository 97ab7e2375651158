import errno
import os

import pytest
import typer

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cli.command import Command
from ulfine_cli.commands import COMMANDS
from ulfine_cli.failures import INTERRUPTED, describe, usage_line


@pytest.mark.parametrize(
    ("error", "line", "exit_code"),
    [
        (UlfineError("no images in photos/"), "error: no images in photos/", 1),
        (UlfineError("two\nlines"), "error: two lines", 1),
        (UsageError("unknown method 'x'"), "error: unknown method 'x'", 2),
        (KeyboardInterrupt(), "interrupted: run the same command again to go on", 1),
        (ZeroDivisionError("by zero"), "error: internal error (ZeroDivisionError: by zero): run again with --debug", 1),
    ],
)
def test_describe__line_and_exit_code(error, line, exit_code):
    described, code = describe(error)
    assert described.startswith(line)
    assert "\n" not in described
    assert code == exit_code


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.ENOTDIR, errno.EROFS, errno.EISDIR, errno.ENOENT])
def test_describe__os_error_names_path_and_remedy(number):
    line, code = describe(OSError(number, os.strerror(number), "some/where"))
    assert line.startswith(f"error: some/where: {os.strerror(number).lower()[:9]}") or "read-only" in line
    assert line.count(": ") >= 3 or "," in line
    assert code == 1


def test_describe__real_os_errors(tmp_path):
    (tmp_path / "file").write_text("")
    for attempt in (
        lambda: (tmp_path / "file" / "below").mkdir(),
        lambda: (tmp_path / "missing").read_text(),
        lambda: tmp_path.read_text(),
    ):
        with pytest.raises(OSError) as caught:
            attempt()
        assert str(tmp_path) in describe(caught.value)[0]


def test_describe__hdf5_error_names_the_file(tmp_path):
    h5py = pytest.importorskip("h5py")
    with pytest.raises(OSError) as caught:
        h5py.File(tmp_path / "missing.h5", "r")
    assert describe(caught.value)[0] == f"error: {tmp_path / 'missing.h5'}: no such file or directory: check the path"


def test_describe__unknown_os_error_keeps_its_words():
    assert describe(OSError("the disk sang"))[0] == "error: the disk sang: run again with --debug to see where"


def test_describe__undecodable_file_name():
    line, _ = describe(FileNotFoundError(errno.ENOENT, "No such file", b"caf\xe9.jpg"))
    line.encode("utf-8")
    assert "caf" in line


def test_usage_line__one_line_with_the_command():
    assert usage_line("Missing option\n '--out'.", "ulfine fit") == (
        "error: missing option '--out': `ulfine fit -h` shows the usage"
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_interrupted__says_what_the_same_command_does(command, monkeypatch, capsys):
    """Only what really goes on where it was says so."""

    def work(**arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Command, "function", lambda self: work)
    with pytest.raises(typer.Exit):
        command._run({}, json=None, quiet=True, debug=False)
    line = capsys.readouterr().err
    expected = {
        **dict.fromkeys(("quickstart", "cache-features", "info", "serve", "label"), INTERRUPTED),
        "verify": "interrupted: the same command starts from the beginning, and --repair goes on where it was",
        "sort": "interrupted: the same command goes on, and `ulfine sort --undo DIR` puts everything back",
    }
    assert line == expected.get(command.name, "interrupted: the same command starts from the beginning") + "\n"


def test_describe__torch_and_torchvision_that_do_not_fit():
    line, code = describe(RuntimeError("operator torchvision::nms does not exist"))
    assert line == "error: torch and torchvision are of different builds: install both from the same index"
    assert code == 1


def test_describe__what_the_small_distribution_leaves_out(monkeypatch):
    error = ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")
    assert describe(error) == ("error: torch is not installed, which this needs: pip install ulfine-fast brings it", 1)
    monkeypatch.setattr("ulfine_cli.failures.distribution", lambda name: name)
    line, code = describe(error)
    assert line.startswith("error: this needs torch, which ulfine-fast-runtime leaves out: ") and code == 1
