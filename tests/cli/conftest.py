"""The command line as a process, and in this process for the many cases that differ in their input only."""

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ulfine_cli.main import main

ULFINE = Path(sys.executable).parent / "ulfine"


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    exit_code: int
    out: str
    err: str

    def succeeded(self) -> "Ended":
        assert self.exit_code == 0, self.err
        return self

    def failed(self, exit_code: int) -> str:
        """The one line that says why, after checking that it is one, the last, and no internal error."""
        assert self.exit_code == exit_code, f"exit code {self.exit_code}: {self.err}"
        assert self.out == ""
        errors = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert self.err.splitlines()[-1:] == errors, self.err
        assert "Traceback" not in self.err
        assert "internal error" not in errors[0]
        return errors[0]


@pytest.fixture(scope="session")
def ulfine() -> Callable[..., Ended]:
    """Run `ulfine` as users do: the entry point, as a process of its own."""

    def run(*arguments: object) -> Ended:
        done = subprocess.run([ULFINE, *map(str, arguments)], capture_output=True, text=True)
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def ulfine_here(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Run the entry point's function in this process, which has paid for its imports already."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["ulfine", *map(str, arguments)])
        before = signal.getsignal(signal.SIGTERM)
        monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
        capfd.readouterr()
        try:
            exit_code = main()
        finally:
            signal.signal(signal.SIGTERM, before)
        return Ended(exit_code, *capfd.readouterr())

    return run


def draw_shapes(folder: Path, shape: str, count: int, seed: int) -> None:
    """Write small pictures of a filled ellipse or box in random places and colours."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        image = Image.new("RGB", (40, 32), tuple(generator.integers(180, 256, 3).tolist()))
        left, top = generator.integers(2, 12, 2).tolist()
        box = (left, top, left + 18, top + 14)
        colour = tuple(generator.integers(0, 120, 3).tolist())
        getattr(ImageDraw.Draw(image), shape)(box, fill=colour)
        image.save(folder / f"{number:02d}.png")


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image folder: two classes, unlabelled images, a test set, one file that is no image."""
    root = tmp_path_factory.mktemp("photographs") / "photos"
    for seed, (name, shape) in enumerate({"circle": "ellipse", "square": "rectangle"}.items()):
        draw_shapes(root / "train" / name, shape, 6, seed)
        draw_shapes(root / "train" / "unlabelled" / name, shape, 3, seed + 10)
        draw_shapes(root / "test" / name, shape, 3, seed + 20)
    (root / "train" / "circle" / "broken.png").write_bytes(b"not a picture")
    return root
