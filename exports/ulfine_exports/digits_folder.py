"""Real handwriting as a folder of photographs: scikit-learn's digits, written as PNG files."""

from io import BytesIO
from pathlib import Path

import numpy as np

from ulfine_cache.atomic import make_directory, replacing
from ulfine_cache.errors import UlfineError

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

SIDE = 80
"""Side of a picture in pixels: eight for each of the 8 x 8 of the scan, and a margin as wide as one of those."""


def write_digits(folder: Path) -> list[Path]:
    """Write the 1,797 digits of `sklearn.datasets.load_digits` as ``<folder>/<class>/<number>.png``.

    The originals are 8 x 8 counts of ink, 0 to 16 (Alpaydin and Kaynak, UCI Optical Recognition of Handwritten Digits,
    test set). Here ink is dark on white paper, with a margin, enlarged bicubically; nothing is added to what the scan
    holds. Files that are there already are left alone.

    Args:
        folder: Is made if it is missing.

    Returns:
        The files, in the order of the data set.

    Raises:
        UlfineError: The folder cannot be written, or already holds something else.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    others = [path for path in folder.glob("*") if path.name not in CLASSES] if folder.is_dir() else []
    if others:
        raise UlfineError(f"{folder} holds something else, such as {others[0].name}: choose another --out")
    for name in CLASSES:
        make_directory(folder / name)
    ink, labels = load_digits(return_X_y=True)
    paper = np.rint(255 - ink.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    paper = np.pad(paper, ((0, 0), (1, 1), (1, 1)), constant_values=255)
    files = [folder / CLASSES[label] / f"{number:04d}.png" for number, label in enumerate(labels)]
    for file, picture in zip(files, paper, strict=True):
        encoded = BytesIO()
        Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(encoded, format="PNG")
        _write(file, encoded.getvalue())
    return files


def _write(file: Path, content: bytes) -> None:
    """Write a file that does not hold this content yet.

    Without waiting for the disk, which would take longer than all the rest: a file that a crash cut short is written
    again.
    """
    if not file.is_file() or file.read_bytes() != content:
        with replacing(file, durable=False) as partial:
            partial.write_bytes(content)
