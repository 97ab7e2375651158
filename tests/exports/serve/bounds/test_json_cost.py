"""What is estimated from the punctuation is never less than what reading takes."""

import subprocess
import sys

import pytest

from tests.attacks import requests
from tests.conftest import ROOT
from ulfine_exports.serve.bounds.json_cost import MAX_JSON_BYTES, check_json_cost, json_cost
from ulfine_exports.serve.refusal import Refusal

SIZE = 4 * 2**20
TAKEN = """
import sys
from pathlib import Path
from pydantic_core import from_json
from tests.attacks.requests import JSON_OF_A_SIZE

def memory(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(what))

for kind, make in JSON_OF_A_SIZE.items():
    text = make(int(sys.argv[1]))
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError:
        pass
    print(memory("VmHWM") - before, kind, sep="\\t")
    value = None
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the process's memory is read from /proc")
def test_cost__covers_what_reading_takes():
    done = subprocess.run(
        [sys.executable, "-c", TAKEN, str(SIZE)], capture_output=True, text=True, cwd=ROOT, env=environment()
    )
    taken = {kind: int(number) for number, kind in (line.split("\t") for line in done.stdout.splitlines())}
    assert set(taken) == set(requests.JSON_OF_A_SIZE), done.stderr
    # A process takes pages, and keeps some from before: a megabyte either way says nothing.
    short = {
        kind: (number, json_cost(requests.JSON_OF_A_SIZE[kind](SIZE)))
        for kind, number in taken.items()
        if number > json_cost(requests.JSON_OF_A_SIZE[kind](SIZE)) + 2**20
    }
    assert not short
    assert max(taken.values()) > 20 * SIZE


def environment():
    import os

    return os.environ | {"PYTHONPATH": str(ROOT)}


def test_check__lets_through_what_clients_send():
    """64 MB of numbers with six digits or with one, 32 MB of grey values, and two million of them in lists of three."""
    size = 64 * 2**20
    for text in (b"0.123456,", b"0,", b"255,"):
        assert (
            check_json_cost(b"[" + text * (size // len(text) // (1 if len(text) != 4 else 2)) + b"0]") < MAX_JSON_BYTES
        )
    assert check_json_cost(b"[" + b"[128,128,128]," * 2_000_000 + b"0]") < MAX_JSON_BYTES


def test_check__names_the_way_out():
    with pytest.raises(
        Refusal, match="may take 600: send fewer rows at a time, data as one flat list, or binary"
    ) as found:
        check_json_cost(b"[]," * 2**24)
    assert found.value.status == 413
