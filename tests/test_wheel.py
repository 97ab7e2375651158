"""What an installation holds, looked up in a wheel that is built here."""

import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel__holds_four_packages_and_what_they_read(names):
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"ulfine_cache", "ulfine_fast", "ulfine_exports", "ulfine_cli"}
    assert {
        "ulfine_cache/tiny/__init__.py",
        "ulfine_cache/tiny/model.safetensors",
        "ulfine_cache/tiny/ulfine-tiny.json",
        "ulfine_cache/tiny/MODEL_CARD.md",
        "ulfine_exports/serve/page/page.html",
        "ulfine_fast/py.typed",
    } <= names


def test_wheel__leaves_out_what_trained_the_embedded_clip(names):
    code = {name for name in names if name.startswith("ulfine_cache/tiny/") and name.endswith(".py")}
    assert code == {"ulfine_cache/tiny/__init__.py"}
    assert (ROOT / "cache" / "ulfine_cache" / "tiny" / "train.py").is_file()
