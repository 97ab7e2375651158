"""The console blocks of a page, run as they stand.

    python documentation/console.py PAGE [--in FOLDER] [--write]

A block that is fenced as `console` has commands behind `$ ` and below each what it prints (standard output: progress
is for the terminal). All commands of a page run in one shell, in their order, in FOLDER (default: a new one). The times
are printed. `--write` puts what was printed into the page; without it the differences are shown, and the exit code is 1
where there are some. `...` stands for anything: alone on a line for any lines. Such an output is never written.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:e[+-]?\d+)?")
TOLERANCE = 2.0
"""Of a percentage: another processor rounds otherwise, and one picture of fifty may fall to the other side."""


@dataclass
class Command:
    """One command of a page.

    Attributes:
        line: What is typed; a line that ends in a backslash goes on.
        shown: What the page shows below it.
        printed: What it printed to its standard output.
        complaints: What it printed to its standard error.
        code: Its exit code.
        seconds: How long it took.
    """

    line: str
    shown: str
    printed: str = ""
    complaints: str = ""
    code: int = 0
    seconds: float = 0.0


def commands(text: str) -> list[Command]:
    """The commands of all console blocks of a page, in their order."""
    found: list[Command] = []
    for block in BLOCK.findall(text):
        lines = block.splitlines()
        while lines:
            line = lines.pop(0)
            if not line.startswith("$ "):
                found[-1].shown += line + "\n"
                continue
            typed = line[2:]
            while typed.endswith("\\") and lines:
                typed += "\n" + lines.pop(0)
            found.append(Command(typed, ""))
    return found


def run(found: list[Command], folder: Path, replace: dict[str, str] | None = None) -> None:
    """Run commands in one shell and note what came out.

    Args:
        found: From `commands`; filled in.
        folder: Where they run.
        replace: What another text stands for while the commands run, such as a port; put back in what is printed.
    """
    own = " ".join(map(shlex.quote, (sys.executable, "-m", "ulfine_cli.main")))
    with tempfile.TemporaryDirectory() as notes:
        script = ["set -m", f'ulfine() {{ {own} "$@"; }}', f'python() {{ {shlex.quote(sys.executable)} "$@"; }}']
        for place, command in enumerate(found):
            line = command.line
            for text, stand_in in (replace or {}).items():
                line = line.replace(text, stand_in)
            script += [
                f"start=$EPOCHREALTIME\n{{\n{line}\n}} > {notes}/{place}.out 2> {notes}/{place}.err < /dev/null",
                f'echo "$? $start $EPOCHREALTIME" > {notes}/{place}.code',
            ]
        rooms = os.pathsep.join(str(ROOT / room) for room in (".", "cli", "cache", "exports"))
        path = os.pathsep.join(filter(None, (rooms, os.environ.get("PYTHONPATH", ""))))
        # Wide: a page has room for a table, whatever the terminal. No colours.
        environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}
        subprocess.run(["bash", "-c", "\n".join(script)], cwd=folder, env=environment, check=False)
        for place, command in enumerate(found):
            code, start, end = (Path(notes) / f"{place}.code").read_text().replace(",", ".").split()
            command.code, command.seconds = int(code), float(end) - float(start)
            printed = (Path(notes) / f"{place}.out").read_text("utf-8")
            for text, stand_in in (replace or {}).items():
                printed = printed.replace(stand_in, text)
            command.printed = "".join(line.rstrip() + "\n" for line in printed.splitlines())
            command.complaints = (Path(notes) / f"{place}.err").read_text("utf-8")


def same(shown: str, printed: str) -> bool:
    """Whether a line that is shown is the line that was printed, about: equal words, near numbers."""
    words, printed_words = (" ".join(NUMBER.sub("#", line).split()) for line in (shown, printed))
    if "..." in words:
        return re.fullmatch(".*".join(map(re.escape, words.split("..."))), printed_words) is not None
    return words == printed_words and numbers_agree(shown, printed)


def numbers_agree(shown: str, printed: str) -> bool:
    """Whether two lines of equal words hold about the same numbers; times are not compared."""
    if re.search(r"second|/s\b| s$|\bin \d", shown):
        return True
    for left, right in zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True):
        if "e" in left + right:
            continue
        a, b = (float(text.replace(",", "")) for text in (left, right))
        if abs(a - b) > (TOLERANCE if "." in left + right else 0):
            return False
    return True


def differences(command: Command) -> list[str]:
    """The lines that a page shows and the command did not print, in the page's order."""
    left = command.printed.splitlines()
    missing = []
    for shown in command.shown.splitlines():
        if shown.strip() == "...":
            continue
        place = next((place for place, line in enumerate(left) if same(shown, line)), None)
        if place is None:
            missing.append(shown)
        else:
            left = left[place + 1 :]
    whole = [line for line in command.shown.splitlines() if line.strip()]
    if not missing and "..." not in whole and len(whole) != len([x for x in command.printed.splitlines() if x.strip()]):
        missing.append("(it printed more lines than are shown)")
    return missing


def written(text: str, found: list[Command]) -> str:
    """The page with what was printed; an output that `...` shortens is left as it is."""
    remaining = iter(found)

    def block(match: re.Match[str]) -> str:
        body = ""
        for _ in commands(match.group()):
            command = next(remaining)
            output = command.shown if "..." in command.shown else command.printed
            body += f"$ {command.line}\n{output}"
        return f"```console\n{body}```"

    return BLOCK.sub(block, text)


def main() -> int:
    """From the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--in", dest="folder", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    text = arguments.page.read_text("utf-8")
    found = commands(text)
    with tempfile.TemporaryDirectory() as new:
        run(found, arguments.folder or Path(new))
    wrong = 0
    for command in found:
        print(f"{command.seconds:8.1f} s  exit {command.code}  {command.line}")
        if command.code:
            print(command.complaints)
        for line in [] if arguments.write else differences(command):
            wrong += 1
            print(f"          - {line}")
            print("".join(f"          + {printed}\n" for printed in command.printed.splitlines()))
    if arguments.write:
        arguments.page.write_text(written(text, found), "utf-8")
    return 1 if wrong or any(command.code for command in found) else 0


if __name__ == "__main__":
    sys.exit(main())
