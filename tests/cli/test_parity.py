"""What no derivation can promise: that every command function is one that the command line can be made of."""

import inspect
import re
from pathlib import Path

import pytest

from ulfine_cache.command import arguments_of, parameters_of
from ulfine_cache.errors import UsageError
from ulfine_cache.splits import SplitProtocol, make_split
from ulfine_cli.command import Command
from ulfine_cli.commands import COMMANDS

NAMES = [command.name for command in COMMANDS]
PARAMETERS = [(command, name) for command in COMMANDS for name in command.parameters]


@pytest.fixture(params=COMMANDS, ids=NAMES)
def each(request: pytest.FixtureRequest) -> Command:
    return request.param


def test_commands__are_those_of_the_design():
    assert [
        *("quickstart", "cache-features", "import-features", "info", "verify", "neighbours", "convert", "split"),
        *("fit", "evaluate", "compare", "diff", "report", "inspect", "predict", "sort", "drift", "export", "serve"),
        *("models", "join", "label"),
    ] == NAMES


def test_command__function_takes_keywords_only_and_reports_progress(each):
    parameters = inspect.signature(each.function()).parameters
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert parameters["progress"].default is not inspect.Parameter.empty


def test_command__docstring_says_what_each_parameter_means_and_no_other(each):
    said = {name: text for name, text in each.docstring.entries("Args").items() if name != "progress"}
    assert list(said) == list(parameters_of(each.function()))
    for text in said.values():
        assert text.endswith(".")
        assert "None" not in text
    assert "Returns" in each.docstring.sections


def test_command__positional_parameters_are_there_and_required(each):
    assert set(each.positional) <= set(each.parameters)
    required = {name for name, item in each.parameters.items() if item.required}
    # What may be left out.
    optional = {"models": {"word"}, "sort": {"model", "photos"}}
    assert set(each.positional) <= required | optional.get(each.name, set())


@pytest.mark.parametrize(("command", "name"), PARAMETERS, ids=[f"{c.name}-{n}" for c, n in PARAMETERS])
def test_help__tells_name_default_and_limits(command: Command, name: str, helps):
    parameter, shown = command.parameters[name], helps(command.name)
    assert parameter.spelled in shown.split()
    if not parameter.positional and parameter.metavar:
        assert f"{parameter.spelled} {parameter.metavar}" in shown
    (said,) = [entry for entry in entries(shown) if entry.split()[0] == parameter.spelled]
    for limit in parameter.hint.bounds:
        assert limit in said
    for word in parameter.hint.words:
        assert word in said
    if parameter.shown_default:
        assert f"[default: {parameter.shown_default}]" in said
    assert "None" not in said and "`" not in said


def entries(shown: str) -> list[str]:
    """What a help says of each argument and option, on one line."""
    return [" ".join(entry.split()) for entry in re.split(r"^  (?=\S)", shown, flags=re.MULTILINE) if entry.strip()]


@pytest.fixture
def helps(ulfine_here):
    return lambda name: ulfine_here(name, "-h").succeeded().out


def test_command__text_from_python_is_not_converted_but_to_paths(each):
    for name, item in each.parameters.items():
        if item.hint.kinds and item.hint.kinds[0] is Path:
            given = sound(each) | {name: ["1"] if item.hint.several else "1"}
            found = arguments_of(each.function(), **given)[name]
            assert (found[0] if item.hint.several else found) == Path("1")
        if item.hint.kinds and item.hint.kinds[0] in (int, float, bool):
            with pytest.raises(UsageError, match=f"{name}(\\.0)?='1' cannot be used") as caught:
                arguments_of(each.function(), **sound(each) | {name: ["1"] if item.hint.several else "1"})
            assert "\n" not in str(caught.value)


def sound(command: Command) -> dict[str, object]:
    """Arguments that the types of the required parameters allow."""
    values = {Path: Path("there"), str: "words"}
    found = {}
    for name, item in command.parameters.items():
        if item.required:
            value = item.hint.words[0] if item.hint.words else values[item.hint.kinds[0]]
            found[name] = [value] if item.hint.several else value
    return found


def test_command__unknown_and_missing_parameters_are_named(each):
    function = each.function()
    with pytest.raises(UsageError, match=f"^{function.__name__} has no parameter 'colour': choose .*"):
        function(**sound(each), colour="red")
    for name in sound(each):
        rest = {key: value for key, value in sound(each).items() if key != name}
        with pytest.raises(UsageError, match=f"^{function.__name__} needs {name}$"):
            function(**rest)


@pytest.mark.parametrize(
    ("name", "wrong", "remedy"),
    [
        ("split", {"seed": -1}, "choose a number of at least 0"),
        ("split", {"labelled_fraction": 1.0}, "choose a number above 0 and below 1"),
        ("split", {"imbalance": float("nan")}, "input should be a finite number"),
        ("split", {"unlabelled": "odd"}, "choose consistent, uniform, reversed, middle, head-tail or own"),
        ("fit", {"seed": 2**32}, "choose a number from 0 to 4294967295"),
        ("fit", {"seed": True}, "input should be a valid integer"),
        ("convert", {"to": "csv"}, "choose npy, parquet, clip-retrieval or listing"),
        ("cache-features", {"batch_size": 0}, "choose a number of at least 1 or auto"),
        ("export", {"opset": 3}, "choose a number from 18 to 23"),
        ("predict", {"inputs": Path("a.png")}, "input should be an instance of Sequence"),
    ],
)
def test_wrong_value__one_line_for_python_and_for_the_shell(name, wrong, remedy, ulfine_here):
    (each,) = [command for command in COMMANDS if command.name == name]
    ((key, value),) = wrong.items()
    line = f"{key}={value!r} cannot be used: {remedy}"
    with pytest.raises(UsageError) as caught:
        each.function()(**sound(each) | wrong)
    assert str(caught.value) == line
    assert caught.value.exit_code == 2
    if type(value) in (int, float, str):
        typed = [each.parameters[item].spelled for item in sound(each) if item not in each.positional]
        options = [word for option in typed if option != f"--{key}" for word in (option, "there")]
        given = ["there" for _ in each.positional]
        shell = ulfine_here(name, *given, *options, f"--{key.replace('_', '-')}", value)
        assert shell.failed(2) == f"error: {line}"


def test_split__takes_what_its_protocol_keeps():
    of_command = parameters_of(make_split)
    for name in ("cache", "name", "preset"):
        del of_command[name]
    kept = SplitProtocol.__annotations__
    assert {name: item.annotation for name, item in of_command.items()} == {
        name: hint for name, hint in kept.items() if name != "model_config"
    }
    assert {name: item.default for name, item in of_command.items()} == SplitProtocol().model_dump()


def test_settings__are_taken_by_their_earlier_name_too(ulfine_here, tmp_path):
    for option in ("--settings", "--config"):
        line = ulfine_here("fit", tmp_path, "--out", tmp_path / "run", option, tmp_path / "gone.yaml").failed(1)
        assert "cannot read the settings file" in line
    assert "--config" not in ulfine_here("fit", "-h").succeeded().out


def test_batch_size__is_auto_or_a_number(ulfine_here):
    line = ulfine_here("cache-features", "photos", "--out", "cache", "--batch-size", "many").failed(2)
    assert "--batch-size" in line and "use auto or a number" in line
