"""`docs/commands.md` says what the functions say, and they name the figures that they give."""

import json
import re

import pytest

from tests.conftest import ROOT
from ulfine_cli.commands import COMMANDS
from ulfine_cli.docstring import Docstring
from ulfine_cli.reference import reference
from ulfine_fast.judging.metrics import SCALARS, evaluate_predictions


def test_page__is_up_to_date():
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert page == reference(), "run python -m ulfine_cli.reference docs/commands.md"


def test_page__tells_of_every_command_and_option():
    sections = dict(re.findall(r"^## ulfine ([a-z-]+)\n(.*?)(?=^## |\Z)", reference(), re.MULTILINE | re.DOTALL))
    assert list(sections) == [command.name for command in COMMANDS]
    for command in COMMANDS:
        text = sections[command.name]
        assert command.example in text
        assert "Exit code 1: " in text
        for item in command.parameters.values():
            assert f"- `{item.spelled}" in text
        assert "``" not in text and not re.search(r"\bNone\b", text)


@pytest.fixture(scope="module")
def place(ulfine, feature_file, tmp_path_factory):
    place = tmp_path_factory.mktemp("figures")
    for name, arguments in {
        "import-features": (feature_file, "--out", place / "cache", "--index", "none"),
        "split": (place / "cache", "--name", "lt", "--labelled-max", 16, "--imbalance", 4),
        "fit": (place / "cache", "--split", "lt", "--method", "zero-shot", "--seeds", 2, "--out", place / "run"),
        "export": (place / "run", "--onnx", place / "m.onnx", "--test-prior", "uniform"),
    }.items():
        ulfine(name, *arguments, "--json", place / f"{name}.json").succeeded()
    return place


def test_figures__are_named_by_the_docstring(place, ulfine_here):
    cache, run = place / "cache", place / "run"
    for name, arguments in {
        "verify": (cache,),
        "neighbours": (cache, "ash/0.jpg"),
        "convert": (cache, "--to", "npy", "--out", place / "npy"),
        "evaluate": (run, "--test-prior", "uniform"),
        "compare": (cache, "--split", "lt", "--methods", "zero-shot", "--seeds", 1),
        "predict": (place / "m.onnx", cache, "--test-prior", "uniform"),
    }.items():
        ulfine_here(name, *arguments, "--json", place / f"{name}.json").succeeded()
    metrics = Docstring.of(evaluate_predictions).sections["Returns"]
    for command in COMMANDS:
        written = place / f"{command.name}.json"
        if written.is_file():
            told = command.docstring.sections["Returns"]
            told += metrics if evaluate_predictions.__name__ in told else ""
            named = {*re.findall(r"\w+", told), *(SCALARS if "SCALARS" in told else ())}
            assert set(json.loads(written.read_text("utf-8"))) <= named, command.name
