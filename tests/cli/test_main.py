import os
import signal
import subprocess
import sys

import pytest

import ulfine_fast
from ulfine_cli.command import Command
from ulfine_cli.commands import COMMANDS


def test_version(ulfine):
    assert ulfine("--version").succeeded().out == f"ulfine-fast {ulfine_fast.__version__}\n"


def test_no_arguments__show_the_commands(ulfine_here):
    shown = ulfine_here().succeeded().out
    assert all(command.name in shown for command in COMMANDS)
    assert "..." not in shown.split("Commands:")[1]  # no summary is cut off


@pytest.mark.parametrize("command", COMMANDS, ids=[command.name for command in COMMANDS])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help__ends_with_an_example_that_parses(ulfine_here, command: Command, option: str):
    shown = ulfine_here(command.name, option).succeeded().out
    *_, title, example = shown.rstrip().splitlines()
    assert title.strip() == "Example:"
    assert example.strip().startswith(f"ulfine {command.name} ") or example.strip() == f"ulfine {command.name}"
    for name in ("--json", "--quiet", "--debug"):
        assert name in shown
    for word in example.split():
        if word.startswith("--"):
            assert word in shown.split("Example:")[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "no such command 'nonsense'"),
        (["--nonsense"], "no such option"),
        (["fit"], "missing argument 'CACHE'"),
        (["fit", "cache"], "missing option '--out'"),
        (["fit", "cache", "--out", "run", "--otu", "x"], "--out"),
        (["split", "cache", "--name", "a", "--labelled-max", "many", "--imbalance", "2"], "--labelled-max"),
        (["split", "c", "--name", "a", "--labelled-max", "4", "--imbalance", "2", "--unlabelled", "odd"], "head-tail"),
        (["info", "a", "b"], "unexpected extra argument"),
    ],
)
def test_wrong_usage__one_line_and_exit_code_2(ulfine_here, arguments, words):
    assert words in ulfine_here(*arguments).failed(2).lower().replace("cache", "CACHE")


def test_wrong_usage__as_a_process(ulfine):
    assert "`ulfine fit -h` shows the usage" in ulfine("fit").failed(2)


def test_broken_pipe__is_quiet(feature_file):
    command = f"{sys.executable} -m ulfine_cli.main --help"
    done = subprocess.run(["bash", "-c", f"{command} | true"], capture_output=True, text=True)
    assert done.stderr == ""


# A command that waits for ever stands in for one that computes for long; the second hears the signal in a destructor,
# where Python drops exceptions.
WAITING = """
import signal, sys, time
from ulfine_cli import app, command, main
signal.signal(signal.SIGINT, signal.default_int_handler)
def wait():
    sys.stdout.write("ready\\n"); sys.stdout.flush()
    time.sleep(60)
class Closes:
    def __del__(self):
        wait()
def work(**arguments):
    if "destructor" in sys.argv:
        del [Closes()][0]
        time.sleep(60)
    wait()
command.Command.function = lambda self: work
sys.argv = ["ulfine", "info", sys.argv[1]]
sys.exit(main.main())
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
@pytest.mark.parametrize("place", ["loop", "destructor"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals__say_how_to_go_on(number, place):
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, place], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=120)
    assert err == "interrupted: run the same command again to go on\n"
    assert process.returncode == 1


@pytest.fixture
def failing(monkeypatch):
    def with_error(error: BaseException) -> None:
        def work(**arguments: object) -> dict:
            raise error

        monkeypatch.setattr(Command, "function", lambda self: work)

    return with_error


def test_unexpected_error__one_line(ulfine_here, failing):
    failing(ZeroDivisionError("division by zero"))
    ended = ulfine_here("info", "x")
    assert ended.exit_code == 1
    assert (
        ended.err
        == "error: internal error (ZeroDivisionError: division by zero): run again with --debug to see where\n"
    )


def test_debug__shows_the_traceback_and_keeps_the_exit_code(ulfine_here, failing):
    from ulfine_cache.errors import UsageError

    failing(UsageError("no such thing"))
    ended = ulfine_here("info", "x", "--debug")
    assert ended.exit_code == 2
    assert "Traceback" in ended.err
    assert ended.err.splitlines()[-1] == "error: no such thing"


def test_full_disk__names_the_file(ulfine_here, failing):
    failing(OSError(28, "No space left on device", "cache/shards/00001.h5"))
    assert (
        ulfine_here("info", "x")
        .failed(1)
        .startswith("error: cache/shards/00001.h5: no space left on device: free some")
    )


def test_failures__are_listed_after_the_rest_was_done(ulfine_here, monkeypatch):
    figures = {"predictions": [], "unreadable": [{"path": "a.png", "reason": "is empty"}], "out": None}
    monkeypatch.setattr(Command, "function", lambda self: lambda **arguments: figures)
    ended = ulfine_here("predict", "model.onnx", "a.png")
    assert (ended.exit_code, ended.err) == (1, "error: a.png: is empty\n")
    assert ulfine_here("predict", "model.onnx", "a.png", "--quiet").out == ""
