"""An environment of its own that holds a template of `examples/`, and commands that are run in it."""

import os
import subprocess
import sysconfig
import venv
import zipfile
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

import ulfine_fast

ROOT = Path(ulfine_fast.__file__).resolve().parents[1]


def python_with(example, folder):
    """Build and install an example; the environment finds ulfine-fast and what it needs in this one's folders."""
    [wheel] = WheelBuilder(str(example)).build(directory=str(folder / "dist"), versions=["standard"])
    venv.create(folder / "env", with_pip=False)
    [packages] = (folder / "env" / "lib").glob("python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    others = [str(ROOT), *(str(ROOT / room) for room in ("cli", "cache", "exports")), sysconfig.get_path("purelib")]
    (packages / "others.pth").write_text("\n".join(others))
    return folder / "env" / "bin" / "python"


def ulfine(python, *arguments):
    """Run the command line there."""
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, "-m", "ulfine_cli.main", *map(str, arguments)]
    return subprocess.run(command, env=alone, capture_output=True, text=True)
