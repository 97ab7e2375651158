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
from ulfine_cache.stage_one import cache_features
from ulfine_exports.export import export_onnx
from ulfine_fast.fitting import fit

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")

MOMENTS = int(os.environ.get("ULFINE_INTERRUPTS", "4"))
"""Per command; more find more."""

COMMANDS = {
    "cache-features": ("photos", "--out", "new", "--model", "builtin:tiny", "--device", "cpu", "--shard-size", "2"),
    "import-features": ("features.npz", "--out", "new"),
    "verify": ("cache",),
    "convert": ("cache", "--to", "npy", "--out", "new"),
    "split": ("table", "--name", "new", "--labelled-max", "9", "--imbalance", "2"),
    "fit": ("table", "--out", "new"),
    "compare": ("table", "--methods", "lp,knn", "--seeds", "2"),
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
    fit(cache=folder / "cache", out=folder / "run", method="lp")
    fit(cache=folder / "table", out=folder / "run-table", method="lp")
    export_onnx(run=folder / "run", onnx=folder / "m.onnx", input="pixels")
    return folder


def start(folder, name):
    # The parent of a test may ignore SIGINT, as shells do for what they start in the background.
    return subprocess.Popen(
        [sys.executable, "-c", "import sys; from ulfine_cli.main import main; sys.exit(main())", name, *COMMANDS[name]],
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
    began = time.monotonic()
    with start(folder, name) as whole:
        _, err = whole.communicate()
    assert whole.returncode == 0, err
    took = time.monotonic() - began
    clean(folder)
    for moment in range(MOMENTS):
        with start(folder, name) as process:
            # Later than Python's own start, and than the first import of ours.
            time.sleep(0.3 + max(0.0, took - 0.3) * (moment + 0.5) / MOMENTS)
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


@pytest.mark.parametrize("file", ["ulfine_cli/failures.py", "ulfine_cache/stage_one.py", "ulfine_exports/export.py"])
def test_interrupt__while_the_commands_are_imported(file):
    code = f"""
import os, signal, sys
def interrupt(event, found):
    if event == "exec" and found[0].co_filename.endswith({file!r}):
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(interrupt)
from ulfine_cli.main import main
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "interrupted: run the same command again to go on\n"
