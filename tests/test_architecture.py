"""The rules of the house that no linter knows."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Mapping, Set
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from ulfine_cli.commands import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {
    "ulfine_cache": ROOT / "cache" / "ulfine_cache",
    "ulfine_fast": ROOT / "ulfine_fast",
    "ulfine_exports": ROOT / "exports" / "ulfine_exports",
    "ulfine_cli": ROOT / "cli" / "ulfine_cli",
}
"""In the order of the data: each may import itself and those before it."""

MODULES = [
    pytest.param(room, path, id=f"{room}/{path.relative_to(folder).as_posix()}")
    for room, folder in ROOMS.items()
    for path in sorted(folder.rglob("*.py"))
]
FOLDERS = [
    pytest.param(room, folder, id=f"{room}/{folder.relative_to(root).as_posix()}".removesuffix("/."))
    for room, root in ROOMS.items()
    for folder in sorted({path.parent for path in root.rglob("*.py")})
]
CALLED = {
    "ulfine_cache": {"stage_one", "import_features", "verify", "convert", "neighbours", "splits", "info"},
    "ulfine_fast": {"fitting", "evaluate", "compare", "estimator"},
    "ulfine_exports": {"export", "predict", "info", "quickstart", "label", "report", "inspect_cache"},
    "ulfine_cli": {"main"},
}
"""Modules at the top of a room that people and the command line call. Below them is how they do their work."""
GIVES_COMMANDS_AGAIN = "ulfine_cache.repairing.rebuild"
"""The one module below a room's top that may import commands: it gives a recorded one again."""
MOST_FILES = 15
HEAVY = ("torch", "torchvision", "open_clip", "h5py", "sklearn", "faiss", "onnx", "onnxruntime", "scipy", "pandas")
COMMAND_MODULES = sorted({command.calls.partition(":")[0] for command in COMMANDS})


def imported_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


def module_name(path: Path, root: Path) -> str:
    """The name by which a file of the room at `root` is imported."""
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports_of_room(room: str) -> dict[str, set[str]]:
    """Which modules of its own room each module imports: also for the type checker alone, and inside functions."""
    root = ROOMS[room]
    files = {module_name(path, root): path for path in root.rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        package = module if path.stem == "__init__" else module.rpartition(".")[0]
        graph[module] = found = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names if alias.name in files)
            elif isinstance(node, ast.ImportFrom):
                origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                # `from package import name`: the name is a module of its own, or the package says what it is.
                names = (f"{origin}.{alias.name}" for alias in node.names)
                found.update(name if name in files else origin for name in names if {name, origin} & set(files))
    return graph


def circle(graph: Mapping[str, Set[str]]) -> str:
    """A circle of the graph in words, or "" where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        # Predecessors come first there, and an import leads to its predecessor.
        return " -> ".join(reversed(error.args[1]))
    return ""


def called_names(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def fenced_calls(tree: ast.Module) -> set[ast.Call]:
    """Calls inside `with torch.random.fork_rng()`, which gives the global generator back as it was."""
    fences = [
        node for node in ast.walk(tree) if isinstance(node, ast.With) and "fork_rng" in ast.unparse(node.items[0])
    ]
    return {call for fence in fences for _, call in called_names(fence)}


@pytest.mark.parametrize(("room", "path"), MODULES)
def test_imports__never_turn_back(room: str, path: Path):
    order = list(ROOMS)
    later = set(order[order.index(room) + 1 :])
    tops = {name.split(".")[0] for name in imported_names(ast.parse(path.read_text("utf-8")))}
    assert not tops & later
    assert not tops & {"cache", "cli", "exports", "tests", "benchmarks"}


@pytest.mark.parametrize(("room", "path"), MODULES)
def test_code__is_safe_and_silent(room: str, path: Path):
    tree = ast.parse(path.read_text("utf-8"))
    assert not {name.split(".")[0] for name in imported_names(tree)} & {"pickle", "dill", "cloudpickle", "shelve"}
    for name, call in called_names(tree):
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert name != "print"
        if name == "torch.load":
            assert keywords.get("weights_only") == "True"
        # Whoever opens one with a lock cannot read a finished cache where the file system has none.
        assert not name.endswith("h5py.File") or (room, path.name) == ("ulfine_cache", "datasets.py")
        if name in ("np.load", "numpy.load"):
            assert keywords.get("allow_pickle", "False") == "False"
        assert name not in ("np.random.seed", "random.seed", "eval", "exec", "yaml.load")
        assert name != "torch.manual_seed" or call in fenced_calls(tree)
    assigned = {
        ast.unparse(target) for node in ast.walk(tree) if isinstance(node, ast.Assign) for target in node.targets
    }
    assert not any(target.endswith(("LOAD_TRUNCATED_IMAGES", "MAX_IMAGE_PIXELS")) for target in assigned)


@pytest.mark.parametrize("room", ROOMS)
def test_imports__of_modules_run_in_no_circle(room: str):
    assert circle(imports_of_room(room)) == ""


@pytest.mark.parametrize(("room", "folder"), FOLDERS)
def test_imports__of_folders_run_in_no_circle(room: str, folder: Path):
    """Seen from a folder, each of its files is one thing, and each folder inside it is one, with all that it holds."""
    here = module_name(folder / "__init__.py", ROOMS[room])

    def part(module: str) -> str:
        return ".".join(module.split(".")[: here.count(".") + 2])

    graph: dict[str, set[str]] = {}
    for module, imported in imports_of_room(room).items():
        if f"{module}.".startswith(f"{here}."):
            inside = {part(name) for name in imported if f"{name}.".startswith(f"{here}.")}
            graph.setdefault(part(module), set()).update(inside - {part(module)})
    assert circle(graph) == ""


@pytest.mark.parametrize("room", ROOMS)
def test_imports__below_a_rooms_top_never_lead_to_its_commands(room: str):
    commands = {f"{room}.{name}" for name in CALLED[room]}
    graph = imports_of_room(room)
    assert commands <= set(graph)
    below = {module: imported & commands for module, imported in graph.items() if module.count(".") > 1}
    allowed = {GIVES_COMMANDS_AGAIN} & set(graph)
    assert {module for module, imported in below.items() if imported} == allowed


@pytest.mark.parametrize(("room", "folder"), FOLDERS)
def test_folders__are_small(room: str, folder: Path):
    assert len([path for path in folder.glob("*.py") if path.stem != "__init__"]) <= MOST_FILES


@pytest.mark.parametrize(("room", "folder"), FOLDERS)
def test_folders__say_in_one_line_what_is_in_them(room: str, folder: Path):
    tree = ast.parse((folder / "__init__.py").read_text("utf-8"))
    said = ast.get_docstring(tree)
    assert said
    # The doors of the rooms hand on names, tiny knows its own files, and the command line has a list of its commands.
    if folder not in (*ROOMS.values(), ROOMS["ulfine_cache"] / "tiny", ROOMS["ulfine_cli"] / "commands"):
        assert "\n" not in said
        assert len(tree.body) == 1


@pytest.mark.parametrize("tests", ["cache", "fast", "exports"])
def test_folders__of_tests_are_folders_of_the_code(tests: str):
    top, code = ROOT / "tests" / tests, ROOMS[f"ulfine_{tests}"]
    folders = {path.parent.relative_to(top) for path in top.rglob("*.py")}
    assert [folder for folder in folders if not (code / folder).is_dir()] == []


def test_files__have_names_that_say_something():
    forbidden = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
    folders = [*ROOMS.values(), ROOT / "tests", ROOT / "benchmarks", ROOT / "examples"]
    found = [path for folder in folders for path in folder.rglob("*") if path.stem in forbidden]
    assert [path for path in found if "node_modules" not in path.parts] == []


def test_packages__are_typed():
    assert all((folder / "py.typed").is_file() for folder in ROOMS.values())


@pytest.mark.parametrize(
    "statement",
    [
        *(f"import {room}" for room in ROOMS),
        "from ulfine_cache import config, errors, preprocess, progress; from ulfine_cache.pictures import pixels",
        "from ulfine_cli.main import main; import sys; sys.argv[1:] = ['--help']; main()",
        *(
            f"from ulfine_cli.main import main; import sys; sys.argv[1:] = ['{command.name}', '-h']; main()"
            for command in COMMANDS
        ),
    ],
)
def test_import__loads_nothing_heavy(statement: str):
    assert loaded_by(statement, HEAVY) == ""


@pytest.mark.parametrize("module", COMMAND_MODULES)
def test_command_module__is_read_without_what_its_work_needs(module: str):
    assert loaded_by(f"import {module}", (*HEAVY, "numpy", "pydantic", "PIL", "yaml")) == ""


def loaded_by(statement: str, modules: tuple[str, ...]) -> str:
    check = f"{statement}\nimport sys\nsys.stderr.write(' '.join(name for name in {modules} if name in sys.modules))"
    return subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stderr
