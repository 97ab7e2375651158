"""`make mutants`: how many small faults in the numeric code the tests notice, and which they do not.

Every survivor needs a line in docs/mutants.md, under the name of its file, that holds the mutated line and says why no
test kills it. Results are kept in .mutants/: what was killed stays killed as long as the file with the fault is the
same, survivors are tried again. `ARGS='--fresh'` forgets them, `ARGS='ulfine_fast/rows'` chooses files, `ARGS='--jobs
1'` takes one process, `ARGS='--table'` writes the counts into the page.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import queue
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutation.mutants import Mutant, mutants_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "mutants.md"
KEPT = ROOT / ".mutants"
GOAL = 0.85
TABLE = "<!-- Written by make mutants ARGS='--table' -->"

SOURCE_ROOTS = ("cache", "exports", "cli", ".")
MIRRORED = {"cache/ulfine_cache": "tests/cache", "ulfine_fast": "tests/fast"}
SCOPE = (
    "ulfine_fast/priors",
    "ulfine_fast/rows",
    "ulfine_fast/judging/metrics.py",
    "cache/ulfine_cache/splitting",
    "ulfine_fast/closed_form",
)
# Beside the test file of the same name: tests of what the file is for, in files of other names.
FURTHER = {
    "cache/ulfine_cache/splitting": ["tests/cache/splitting", "tests/cache/test_splits.py"],
    "ulfine_fast/rows/unit_length.py": ["tests/fast/rows/test_training_data.py"],
    "ulfine_fast/closed_form/fits.py": ["tests/fast/methods/test_ulfine.py"],
    "ulfine_fast/closed_form/fold_problems.py": ["tests/fast/methods/test_ulfine.py"],
    "ulfine_fast/closed_form/ulfine_settings.py": ["tests/fast/methods/test_ulfine.py"],
}


def tests_of(path: str) -> list[str]:
    """The test file of the same name, and `FURTHER`."""
    room = next(room for room in MIRRORED if path.startswith(room))
    own = f"{MIRRORED[room]}{str(Path(path).parent).removeprefix(room)}/test_{Path(path).name}"
    further = [test for part, tests in FURTHER.items() if path.startswith(part) for test in tests]
    return [*([own] if (ROOT / own).is_file() else []), *further]


def module_of(path: str) -> str:
    """The name a file is imported by."""
    inside = path.removeprefix(next((f"{root}/" for root in SOURCE_ROOTS if path.startswith(f"{root}/")), ""))
    return inside.removesuffix(".py").replace("/", ".")


class Worker:
    """A fork server and the way to it."""

    def __init__(self) -> None:
        # One thread each: threads of a parent do not live on in its forks.
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        roots = os.pathsep.join(str(ROOT / root) for root in SOURCE_ROOTS)
        environment = (
            os.environ | single | {"PYTHONPATH": roots, "HYPOTHESIS_STORAGE_DIRECTORY": str(KEPT / "examples")}
        )
        command = [sys.executable, "-m", "tests.mutation.fork_server"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, path: str, source: str | None, timeout: float) -> dict:
        """Run the tests of a file, with other source for it or its own."""
        job = {"path": path, "module": module_of(path), "source": source, "tests": tests_of(path), "timeout": timeout}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class Results:
    """How the mutants of one version of a file ended, by their places in the list of all."""

    def __init__(self, path: str, source: str) -> None:
        rules = (Path(__file__).parent / "mutants.py").read_text(encoding="utf-8")
        digest = hashlib.sha256((rules + source).encode()).hexdigest()[:16]
        self._file = KEPT / f"{path.replace('/', '.')}-{digest}.json"
        self.outcomes: dict[str, str] = json.loads(self._file.read_text()) if self._file.is_file() else {}

    def add(self, place: int, outcome: str) -> None:
        self.outcomes[str(place)] = outcome
        KEPT.mkdir(exist_ok=True)
        self._file.write_text(json.dumps(self.outcomes, indent=0))

    def survived(self, place: int) -> bool:
        return self.outcomes.get(str(place), "survived") == "survived"


def examine(path: str, workers: list[Worker], *, fresh: bool) -> tuple[int, list[Mutant]]:
    """Run the mutants of a file: how many there are, and which survive."""
    source = (ROOT / path).read_text(encoding="utf-8")
    mutants, results = mutants_of(source), Results(path, source)
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for place in range(len(mutants)):
        if fresh or results.survived(place):
            waiting.put(place)
    if not waiting.empty():
        # The first run imports what the second finds imported.
        plain = [worker.run(path, None, 600) for worker in workers for _ in range(2)]
        if any(result["outcome"] != "survived" for result in plain):
            sys.exit(f"the tests of {path} fail without a fault:\n{plain[0]['output']}")
        timeout = 20 + 5 * plain[-1]["seconds"]

        def work(worker: Worker) -> None:
            with contextlib.suppress(queue.Empty):
                while True:
                    place = waiting.get_nowait()
                    results.add(place, worker.run(path, mutants[place].source, timeout)["outcome"])

        with ThreadPoolExecutor(len(workers)) as pool:
            list(pool.map(work, workers))
    return len(mutants), [mutant for place, mutant in enumerate(mutants) if results.survived(place)]


def section(page: str, path: str) -> str:
    """What the page says of a file."""
    _, _, after = page.partition(f"\n## {path}\n")
    return after.partition("\n## ")[0]


def with_table(page: str, counts: dict[str, tuple[int, int]]) -> str:
    """The page with the table of how many mutants of each file were killed, of how many."""
    lines = [f"| `{path}` | {killed} | {of} | {killed / of:.1%} |" for path, (killed, of) in counts.items() if of]
    killed, of = (sum(numbers) for numbers in zip(*counts.values(), strict=True))
    table = [
        TABLE,
        "",
        "| file | killed | of | |",
        "|---|---|---|---|",
        *lines,
        f"| all | {killed} | {of} | {killed / of:.1%} |",
    ]
    before, _, rest = page.partition(TABLE)
    return before + "\n".join(table) + "\n\n## " + rest.partition("\n## ")[2]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("paths", nargs="*", default=SCOPE, help="files or folders; all in scope where none is named")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier calls found")
    parser.add_argument("--table", action="store_true", help="write the counts into docs/mutants.md")
    options = parser.parse_args()
    if options.table and options.paths is not SCOPE:
        parser.error("--table counts all files: name none")
    files = [file for path in options.paths for file in sorted((ROOT / path).rglob("*.py")) or [ROOT / path]]
    page = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    workers = [Worker() for _ in range(options.jobs)]
    counts: dict[str, tuple[int, int]] = {}
    unexplained = 0
    for file in files:
        path = file.relative_to(ROOT).as_posix()
        count, survivors = examine(path, workers, fresh=options.fresh)
        counts[path] = count - len(survivors), count
        print(f"{path}: {count - len(survivors)} of {count} killed", flush=True)
        for mutant in survivors:
            known = f"`{mutant.after}`" in section(page, path)
            unexplained += not known
            print(f"  {'' if known else 'NEW '}{mutant.line} {mutant.function}: {mutant.before}  ->  {mutant.after}")
    if options.table:
        PAGE.write_text(with_table(page, counts), encoding="utf-8")
    killed, total = (sum(numbers) for numbers in zip(*counts.values(), strict=True))
    share = killed / max(1, total)
    print(f"{killed} of {total} mutants killed: {share:.1%}")
    if unexplained or share < GOAL:
        sys.exit(f"{unexplained} survivors without a reason in docs/mutants.md; the goal is {GOAL:.0%}")


if __name__ == "__main__":
    main()
