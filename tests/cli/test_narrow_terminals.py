"""What commands print on a terminal of 80 columns: nothing is cut, and nothing runs over the edge."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import numpy as np
import pytest

from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_cli.output import Output
from ulfine_cli.tables.class_table import MOST_CLASSES

from .conftest import ULFINE

METHODS = ("zero-shot", "knn", "label-spreading")


def on_a_terminal(*arguments: object, columns: int = 80) -> str:
    """What a command prints on a terminal of that width."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    surroundings = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [ULFINE, *map(str, arguments)],
        stdin=child,
        stdout=child,
        stderr=subprocess.DEVNULL,
        env={**surroundings, "TERM": "xterm"},
    )
    os.close(child)
    said = b""
    while True:
        try:
            read = os.read(parent, 65536)
        except OSError:  # Linux's word for: the other side is closed
            break
        if not read:
            break
        said += read
    os.close(parent)
    assert process.wait() == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode()).replace("\r\n", "\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 classes with long names; the run of a split, and one without test rows."""
    folder = tmp_path_factory.mktemp("narrow")
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(24), 12)
    centres = generator.normal(size=(24, 32))
    names = [f"a rather long-winded species name, number {k}" if k % 3 else f"species {k}" for k in range(24)]
    np.savez(
        folder / "f.npz",
        features=centres[labels] + 1.2 * generator.normal(size=(len(labels), 32)),
        labels=labels,
        text_features=centres + generator.normal(size=centres.shape),
        class_names=names,
    )
    cache = folder / "cache"
    import_features(file=folder / "f.npz", out=cache, index="none")
    make_split(cache=cache, name="lt", labelled_max=6, imbalance=6, test_per_class=4)
    make_split(cache=cache, name="whole", labelled_max=4, imbalance=4)
    for split, run in (("lt", "run"), ("whole", "untested")):
        subprocess.run(
            [ULFINE, "fit", cache, "--split", split, "--out", folder / run, "--json", folder / f"{run}.json"],
            check=True,
            capture_output=True,
        )
    return folder


@pytest.mark.parametrize(
    ("arguments", "headings"),
    [
        (("info", "cache"), ["class", "labelled", "val", "test"]),
        (("info", "run"), ["class", "labelled"]),
        (("evaluate", "run"), ["accuracy", "macro", "head", "medium", "tail", "ece", "nll", "seconds", "precision"]),
        (
            ("compare", "cache", "--split", "lt", "--methods", ",".join(METHODS), "--seeds", 1),
            ["macro", "medium", *METHODS],
        ),
        (("split", "cache", "--name", "new", "--labelled-max", 4, "--imbalance", 4), ["labelled", "unlabelled"]),
        (("split", "cache", "--preset", "list"), ["preset", "labelled", "unlabelled", "after"]),
        (("predict", "run", "cache"), ["path", "label", "confidence"]),
        (("verify", "cache"), ["shards"]),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_tables__fit_80_columns(place, monkeypatch, arguments, headings):
    monkeypatch.chdir(place)
    said = on_a_terminal(*arguments)
    too_long = [line for line in said.splitlines() if len(line) > 80 and " " in line.strip()[: 80 - 40]]
    assert [line for line in too_long if not re.search(r"\S{40}", line)] == []  # but digests
    assert "…" not in said  # what a table that does not fit cuts names with
    for heading in headings:
        assert heading in said.split()


def test_info__shows_every_class_once(place, monkeypatch, ulfine_here):
    monkeypatch.chdir(place)
    names = re.findall(r"number \d+|^ ?species \d+", on_a_terminal("info", "cache"), re.MULTILINE)
    assert len(set(names)) == 24
    lines = ulfine_here("info", "cache").succeeded().out.splitlines()
    assert lines[0].split() == ["class", "labelled", "val", "test"]
    assert len([line for line in lines if "species" in line and line.split()[-3:] == ["12", "0", "0"]]) == 24


def test_fit__shows_the_worst_classes_and_says_where_all_are(place, ulfine_here, tmp_path):
    run = tmp_path / "run"
    figures = tmp_path / "figures.json"
    out = ulfine_here("fit", place / "cache", "--split", "lt", "--out", run, "--json", figures).succeeded().out
    metrics = json.loads(figures.read_text())
    lines = out.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("class "))
    shown = [line.rsplit("  ", 1)[0] for line in lines[start + 1 : start + 1 + MOST_CLASSES]]
    recalls = sorted(entry["recall"] for entry in metrics["per_class"])[:MOST_CLASSES]
    for line, recall in zip(shown, recalls, strict=True):
        assert f" {100 * recall:.1f} " in line
    last = lines[start + 1 + MOST_CLASSES]
    assert last == f"percent on 96 test images, the 20 worst of 24 classes; all in {run}/per_class.csv"
    assert len((run / "per_class.csv").read_text().splitlines()) == 1 + 2 * 24


def test_fit__says_how_far_to_trust_it_without_a_test_set(place, ulfine_here, tmp_path):
    out = ulfine_here("fit", place / "cache", "--split", "whole", "--out", tmp_path / "run").succeeded().out
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())["cross_validated"]
    accuracy, macro = found["accuracy"], found["macro_accuracy"]
    single = [entry["name"] for entry in found["per_class"] if entry["labelled"] == 1]
    assert single
    assert f"cross-validated on {found['rows']} labelled images" in out
    for words, figure in (("accuracy", accuracy), ("macro accuracy", macro)):
        value, low, high = (f"{100 * figure[name]:.1f}" for name in ("value", "low", "high"))
        assert f"  {words} {value} % ({low} to {high})" in out
    assert f"cannot be judged from 1 image: {single[0]!r}" in out
    assert "(cannot be judged from 1 image)" not in "".join(out.splitlines()[:5])
    assert "percent cross-validated, the 20 worst of 24 classes" in out


def test_fit__methods_that_leave_nothing_out_say_so(place, ulfine_here, tmp_path):
    arguments = ("fit", place / "cache", "--split", "lt", "--method", "zero-shot", "--out", tmp_path / "run")
    assert "\nnot cross-validated: " in ulfine_here(*arguments).succeeded().out
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["cross_validated"] is None
    assert not (tmp_path / "run" / "cross_validated.csv").exists()


def test_text__is_one_line_where_nobody_reads_along(capsys):
    words = " ".join(["word"] * 40)
    Output().text(words, indent=2)
    assert capsys.readouterr().out == f"  {words}\n"
