"""Kills, interrupts, and two writers of one file: nothing is lost, and the same command goes on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.attacks.attempts import Attempt, Kind, lost, typed
from tests.cli.conftest import Ended

ULFINE = (sys.executable, "-c", "import sys; from ulfine_cli.main import main; sys.exit(main())")


def forked(*arguments: object) -> int:
    """Start a command in a copy of this process, in silence; gives its number."""
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os._exit(typed(*arguments).exit_code)
    return child


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_after(seconds: float, *arguments: object):
    child = forked(*arguments)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    wait(child)


def whole(folder: Path) -> dict[str, bytes]:
    """What has to be the same: all but logs with their times, and what records times and places."""
    kept = (".h5", ".csv", ".onnx", ".safetensors", ".faiss", ".npy")
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name: path.read_bytes() if path.suffix in kept and path.name not in ("cache.h5", "history.csv") else b""
        for name, path in files.items()
        if "tfevents" not in name and path.name != ".lock"
    }


def killed(work: tuple[object, ...], place: Path, name: str, moments: int, times: int = 1) -> Iterator[Attempt]:
    """Kill a command at so many moments, several times in a row, and give it again."""
    undisturbed, folder = place / "undisturbed", place / "killed"

    def told(where: Path) -> list[object]:
        return [where / word[4:] if isinstance(word, str) and word.startswith("new/") else word for word in work]

    undisturbed.mkdir()
    began = time.monotonic()
    if wait(forked(*told(undisturbed))):
        yield name, "it does not end well by itself"
        return
    took = time.monotonic() - began
    expected = whole(undisturbed)
    for moment in range(moments):
        folder.mkdir()
        for _ in range(times):
            killed_after(took * (moment + 0.5) / moments, *told(folder))
        ended = typed(*told(folder))
        # What was complete before the kill came is not replaced without being told.
        complete = ended.exit_code == 1 and "exists" in ended.err
        same = whole(folder) == expected
        loss = "" if complete and same else lost(ended, lambda same=same: same)
        yield f"{name}, moment {moment + 1} of {moments}", loss or ("" if same else "lost work")
        shutil.rmtree(folder)
    shutil.rmtree(undisturbed)


def kills(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    # Imports that a killed copy does not pay for again, so that moments hit the work; torch gets no threads here.
    import faiss  # noqa: F401
    import open_clip  # noqa: F401

    import ulfine_fast.fitting  # noqa: F401

    photos, cache, run = victims / "photos", victims / "cache", victims / "run"
    encoding = ("cache-features", photos, "--out", "new/cache", "--model", "builtin:tiny", "--device", "cpu")
    works: dict[str, tuple[tuple[object, ...], int, int]] = {
        "cache-features": ((*encoding, "--shard-size", 1, "--batch-size", 1), 16, 2),
        "import-features": (("import-features", victims / "features.npz", "--out", "new/cache"), 8, 1),
        "fit": (("fit", cache, "--out", "new/run", "--split", "lt"), 8, 1),
        "export": (("export", run, "--onnx", "new/m.onnx", "--triton", "new/triton", "--to-hub", "new/hub"), 8, 1),
        "convert": (("convert", cache, "--to", "npy", "--out", "new/npy"), 6, 1),
        "predict": (("predict", run, cache, "--out", "new/p.csv"), 6, 1),
    }
    for name, (work, moments, times) in works.items():
        yield from killed(work, place, name, max(1, int(moments * effort)), times)


def interrupts(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    """Ctrl-C and SIGTERM to processes as people start them."""
    commands: dict[str, tuple[object, ...]] = {
        "cache-features": ("photos", "--out", "new", "--model", "builtin:tiny", "--device", "cpu", "--shard-size", "2"),
        "fit": ("cache", "--out", "new", "--split", "lt"),
        "export": ("run", "--onnx", "new.onnx"),
        "predict": ("pixels.onnx", "photos", "--out", "new.csv"),
        "compare": ("cache", "--split", "lt", "--methods", "lp,knn", "--seeds", "2"),
        "verify": ("cache",),
    }
    for name in ("photos", "cache", "run", "pixels.onnx"):
        (place / name).symlink_to(victims / name)
    generator = np.random.default_rng(0)
    for name, words in list(commands.items())[: max(1, round(len(commands) * effort))]:
        took, ended = started((name, *words), place)
        assert ended.exit_code == 0, ended.err
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            clean(place)
            # Later than Python's own start.
            after = 0.3 + float(generator.uniform()) * max(0.1, took - 0.3)
            _, ended = started((name, *words), place, number, after)
            yield f"{name}, {number.name} after {after:.2f} s", interrupted(ended)
        clean(place)


def clean(folder: Path):
    for path in [*folder.glob("new*"), *folder.glob(".new*")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def started(
    words: tuple[object, ...], folder: Path, number: signal.Signals | None = None, after: float = 0
) -> tuple[float, Ended]:
    began = time.monotonic()
    with subprocess.Popen(
        [*ULFINE, *map(str, words)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What starts this may ignore SIGINT, as shells do for what they start in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        if number is not None:
            time.sleep(after)
            process.send_signal(number)
        out, err = process.communicate(timeout=100)
    return time.monotonic() - began, Ended(process.returncode, out, err)


def interrupted(ended: Ended) -> str:
    if "Traceback" in ended.err or "Exception ignored" in ended.err or "internal error" in ended.err:
        return ended.err
    if ended.exit_code in (0, -signal.SIGTERM):
        # It was done already, or Python had not begun.
        return ""
    last = ended.err.splitlines()[-1:] or [""]
    return "" if "interrupted" in last[0] else f"exit code {ended.exit_code}: {ended.err!r}"


def writers(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    """Two processes at once, each from as many moments after the other."""
    import ulfine_exports.predict  # noqa: F401
    import ulfine_fast.fitting  # noqa: F401

    cache, run = victims / "cache", victims / "run"
    works: dict[str, Callable[[Path], tuple[object, ...]]] = {
        "predict --out": lambda folder: ("predict", run, cache, "--out", folder / "p.csv"),
        "fit --out": lambda folder: ("fit", cache, "--out", folder / "run", "--split", "lt"),
        "export --onnx": lambda folder: ("export", run, "--onnx", folder / "m.onnx"),
        "import-features --out": lambda f: ("import-features", victims / "features.npz", "--out", f / "cache"),
    }
    for name, work in works.items():
        single = place / "single"
        single.mkdir()
        wait(forked(*work(single)))
        expected = whole(single)
        for number in range(max(1, int(4 * effort))):
            folder = place / "both"
            folder.mkdir()
            children = [forked(*work(folder))]
            time.sleep(0.05 * number)
            children.append(forked(*work(folder)))
            codes = sorted(wait(child) for child in children)
            good = codes in ([0, 0], [0, 1]) and whole(folder) == expected
            yield f"{name}, {number}", "" if good else f"exit codes {codes}, or other files: {sorted(whole(folder))}"
            shutil.rmtree(folder)
        shutil.rmtree(single)


KINDS: dict[str, Kind] = {
    "kills, and the same command again": kills,
    "Ctrl-C and SIGTERM": interrupts,
    "two writers of one name": writers,
}
