"""The rules of the house that no linter knows."""

import ast
import subprocess
import sys
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
        if name in ("np.load", "numpy.load"):
            assert keywords.get("allow_pickle", "False") == "False"
        assert name not in ("np.random.seed", "random.seed", "eval", "exec", "yaml.load")
        assert name != "torch.manual_seed" or call in fenced_calls(tree)
    assigned = {
        ast.unparse(target) for node in ast.walk(tree) if isinstance(node, ast.Assign) for target in node.targets
    }
    assert not any(target.endswith(("LOAD_TRUNCATED_IMAGES", "MAX_IMAGE_PIXELS")) for target in assigned)


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
