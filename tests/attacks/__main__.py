"""`make attacks`: hostile files, requests, kills and interrupts, and how many of them each kind survived.

Survived is what is refused in one line or gives the right answer. A traceback, an "internal error", another answer,
lost work, or silence for longer than `SILENCE` is a loss, and the exit code is 1. `ARGS='caches'` chooses kinds,
`ARGS='--effort 0.1'` tries a tenth, `ARGS='--jobs 1'` takes one process.
"""

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.attacks.attempts import Attempt, Kind

SILENCE = 120
"""Seconds that one attempt may take."""
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(ROOT), *(path for path in sys.path if path)]),
    "OMP_NUM_THREADS": "1",
}


def kinds() -> dict[str, Kind]:
    # They import torch and onnxruntime.
    from tests.attacks import crafted, damage, ended, labelled, served

    return crafted.KINDS | damage.KINDS | served.KINDS | labelled.KINDS | ended.KINDS


def attack(name: str, victims: Path, effort: float, silence: float = SILENCE) -> list[Attempt]:
    """Try one kind in a process of its own, which may hang, crash, or take all memory it can get."""
    command = [sys.executable, "-m", "tests.attacks", "--one", name, "--victims", victims, "--effort", str(effort)]
    attempts: list[Attempt] = []
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=ENVIRONMENT, bufsize=0) as process,
    ):
        assert process.stdout is not None
        while True:
            if not select.select([process.stdout], [], [], silence)[0]:
                process.kill()
                attempts.append((f"after {attempts[-1][0] if attempts else 'the start'}", f"no end in {silence} s"))
                break
            line = process.stdout.readline()
            if not line:
                break
            attempts.append(tuple(json.loads(line)))
        if process.wait() and not any(loss for _, loss in attempts):
            log.seek(0)
            said = log.read().decode(errors="replace")[-2000:]
            attempts.append(("the whole", f"it ended with {process.returncode}: {said}"))
    return attempts


def try_one(name: str, victims: Path, effort: float):
    """Write what became of each attempt, one line each."""
    with os.fdopen(os.dup(1), "w") as report, tempfile.TemporaryDirectory() as place:
        # What libraries print belongs to nobody's answer.
        os.dup2(2, 1)
        os.chdir(place)
        for attempt in kinds()[name](victims, Path(place), effort):
            report.write(json.dumps(attempt) + "\n")
            report.flush()


def table(results: dict[str, list[Attempt]], write: Callable[[str], object] = print) -> int:
    """Print the table and each loss; 1 where there is one."""
    rows = [(name, len(tried), sum(not loss for _, loss in tried)) for name, tried in results.items()]
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    width = max(len(row[0]) for row in rows)
    write(f"| {'kind':<{width}} | tried | survived |")
    write(f"|{'-' * (width + 2)}|------:|---------:|")
    for name, tried, survived in rows:
        write(f"| {name:<{width}} | {tried:>5} | {survived:>8} |")
    for name, tried in results.items():
        for what, loss in tried:
            if loss:
                write(f"\nlost: {name}: {what}\n{loss.strip()}")
    return int(rows[-1][1] != rows[-1][2] or not all(results.values()))


def run() -> int:
    parser = argparse.ArgumentParser(prog="make attacks", description=__doc__)
    parser.add_argument("kinds", nargs="*", help="all where none is named")
    parser.add_argument("--effort", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--victims", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        try_one(chosen.one, chosen.victims, chosen.effort)
        return 0
    known = kinds()
    wanted = [name for name in known if not chosen.kinds or any(word in name for word in chosen.kinds)]
    if not wanted:
        parser.error(f"no such kind: choose from {', '.join(known)}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(chosen.jobs) as pool:
        from tests.attacks.victims import make_victims

        make_victims(Path(folder))

        def attacked(name: str) -> list[Attempt]:
            start = time.monotonic()
            tried = attack(name, Path(folder), chosen.effort)
            print(f"{name}: {len(tried)} in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
            return tried

        results = dict(zip(wanted, pool.map(attacked, wanted), strict=True))
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    return table(results)


if __name__ == "__main__":
    sys.exit(run())
