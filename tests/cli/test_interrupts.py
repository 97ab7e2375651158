"""Ctrl-C at any moment of any command: exit code 1 and one line, never a traceback, never silence."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import draw_shapes
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_cache.stage_one import cache_features
from ulfine_exports.export import export_onnx
from ulfine_fast.fitting import fit

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")

MOMENTS = int(os.environ.get("ULFINE_INTERRUPTS", "3"))
"""Per command; more find more."""

COMMANDS = {
    "cache-features": ("photos", "--out", "new", "--model", "builtin:tiny", "--device", "cpu", "--shard-size", "2"),
    "import-features": ("features.npz", "--out", "new"),
    "verify": ("cache",),
    "convert": ("cache", "--to", "npy", "--out", "new"),
    "split": ("table", "--name", "new", "--labelled-max", "9", "--imbalance", "2"),
    "fit": ("table", "--out", "new"),
    "compare": ("table", "--split", "lt", "--methods", "lp,knn", "--seeds", "2"),
    "evaluate": ("run-table",),
    "export": ("run-table", "--onnx", "new.onnx"),
    "predict": ("m.onnx", "photos", "--out", "new.csv"),
    "info": ("cache",),
    "neighbours": ("cache", "row:0"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, feature_file):
    folder = tmp_path_factory.mktemp("interrupted")
    for number, shape in enumerate(("ellipse", "rectangle")):
        draw_shapes(folder / "photos" / shape, shape, 6, number)
    shutil.copy(feature_file, folder / "features.npz")
    cache_features(source=folder / "photos", out=folder / "cache", model="builtin:tiny", device="cpu", shard_size=2)
    import_features(file=feature_file, out=folder / "table", index="none")
    make_split(cache=folder / "table", name="lt", labelled_max=9, imbalance=2)
    fit(cache=folder / "cache", out=folder / "run", method="lp")
    fit(cache=folder / "table", out=folder / "run-table", method="lp")
    export_onnx(run=folder / "run", onnx=folder / "m.onnx", input="pixels")
    return folder


STARTED = """
import sys
from ulfine_cli.main import main
sys.stderr.write("started\\n"); sys.stderr.flush()
sys.exit(main())
"""
"""What the installed command does; before its first line Python itself is starting, which nobody can make quiet."""


def start(folder, name):
    # The parent of a test may ignore SIGINT, as shells do for what they start in the background.
    return subprocess.Popen(
        [sys.executable, "-c", STARTED, name, *COMMANDS[name]],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def clean(folder):
    for path in [*folder.glob("new*"), *folder.glob(".new*"), *(folder / "table" / "splits").glob("new*")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("name", COMMANDS)
def test_interrupt__one_line_and_1(folder, name):
    with start(folder, name) as whole:
        whole.stderr.readline()
        began = time.monotonic()
        _, err = whole.communicate()
    assert whole.returncode == 0, err
    took = time.monotonic() - began
    clean(folder)
    for moment in range(MOMENTS):
        with start(folder, name) as process:
            process.stderr.readline()
            # Not at once: main() has to be reached first. Its first moments have a test of their own.
            time.sleep(took * (moment + 0.5) / MOMENTS)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
        assert process.returncode in (0, 1), (moment, process.returncode, err)
        assert "Traceback" not in err, (moment, err)
        assert "Exception ignored" not in err, (moment, err)
        if process.returncode:
            last = err.splitlines()[-1]
            assert "interrupted" in last, (moment, err)
        else:
            assert out, (moment, err)
        clean(folder)


@pytest.mark.parametrize("module", ["typing", "typer", "ulfine_cache.command", "ulfine_cli.app"])
def test_interrupt__while_the_command_line_is_imported(module):
    imported_by_then = f"""
import sys
from ulfine_cli.main import main
class Tell:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.stderr.write("started\\n"); sys.stderr.flush()
            sys.stdin.read()
sys.modules.pop({module!r}, None)
sys.meta_path.insert(0, Tell())
sys.argv = ["ulfine", "--version"]
sys.exit(main())
"""
    command = [sys.executable, "-c", imported_by_then]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        command, **pipes, text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    ) as process:
        assert process.stderr.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        assert (process.stdout.read(), process.stderr.read()) == (
            "",
            "interrupted: run the same command again to go on\n",
        )
        assert process.returncode == 1
