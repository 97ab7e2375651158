"""Runs tests against mutants in forks of one process that has imported the libraries: torch once, not once a mutant.

A child takes the mutant in place of the file's own text, by an import hook: nothing is written into the working tree.
Jobs come as lines of JSON on the standard input, results go to the standard output.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import Phase

OWN = ("ulfine_", "tests")


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Finds one module, and gives other source for it."""

    def __init__(self, module: str, path: str, source: str) -> None:
        self._module, self._path, self._source = module, path, source

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._module:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin=self._path)

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str) -> bytes:
        return self._source.encode()


class BeforePytest:
    """A plugin that puts the finder before pytest's own, which takes every module named test_*, test_prior.py too."""

    def __init__(self, finder: Mutated) -> None:
        self._finder = finder

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self) -> None:
        sys.meta_path.insert(0, self._finder)


def serve() -> None:
    # The results have the standard output for themselves.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        job = json.loads(line)
        results.write(json.dumps(answer(job)) + "\n")
        results.flush()


def answer(job: dict) -> dict:
    """Run the tests of a job in a child: how it ended, after how many seconds, and what it had imported."""
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))
    try:
        return _in_folder(job, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _in_folder(job: dict, folder: Path) -> dict:
    began = time.monotonic()
    gc.freeze()  # a collection in the child would copy every page of the parent
    child = os.fork()
    if not child:
        _run(job, folder)
    status = None
    while status is None and time.monotonic() < began + job["timeout"]:
        ended, code = os.waitpid(child, os.WNOHANG)
        status = code if ended else None
        time.sleep(0.01)
    if status is None:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        for name in (folder / "imported").read_text().split():
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    return {
        "outcome": "timeout" if status is None else "survived" if status == 0 else "killed",
        "seconds": time.monotonic() - began,
        "output": (folder / "output").read_text(errors="replace")[-2000:],
    }


def _run(job: dict, folder: Path) -> None:
    """What the child does: it never returns."""
    code = 3
    try:
        os.setsid()
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        plugins = []
        if job["source"] is not None:
            plugins.append(BeforePytest(Mutated(job["module"], job["path"], job["source"])))
        # Without a search for the smallest example that fails; the same examples for every mutant.
        hypothesis.settings.register_profile(
            "mutants", phases=(Phase.explicit, Phase.generate), derandomize=True, database=None, deadline=None
        )
        hypothesis.settings.load_profile("mutants")
        options = ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", f"--basetemp={folder / 'tmp'}"]
        code = int(pytest.main([*options, *job["tests"]], plugins))
        names = [name for name in sys.modules if not name.startswith((*OWN, "_pytest", "conftest", "test_"))]
        (folder / "imported").write_text("\n".join(names))
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve()
