"""What the text encoder is asked about each class."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.names.csv_cells import from_cell
from ulfine_cache.sources.trees.regular_file import read_text
from ulfine_cache.sources.words.class_list import LISTS, read_class_list

SIMPLE = ("a photo of a {}.",)
_DOUBTFUL = (
    (re.compile(r"\d+"), "are numbers"),
    (re.compile(r"n\d{8}"), "are identifiers of WordNet"),
    # With a zero or a dot: "3D printer", "2012 Tesla" and "747-400" are names.
    (re.compile(r"0\d*[ ._:)-]+\D.*|\d+[.:_)] *\D.*", re.DOTALL), "begin with numbers"),
)
"""Names as data sets number them: ImageNet's n01440764, CUB's 001.Laysan_Albatross, iNaturalist's 00000_Animalia."""


@dataclass(frozen=True)
class ClassText:
    """How a class is spoken of.

    Attributes:
        folder: The class as the source spells it.
        name: The class as people and prompts spell it.
        description: Words that follow the name in prompts, or "".
    """

    folder: str
    name: str
    description: str = ""

    def prompts(self, templates: Sequence[str]) -> list[str]:
        """Put the class into each template.

        Example:
            >>> ClassText("beagle", "beagle", "a small hound").prompts(SIMPLE)
            ['a photo of a beagle, a small hound.']
        """
        words = f"{self.name}, {self.description}" if self.description else self.name
        return [template.replace("{}", words) for template in templates]


def clean_name(folder: str) -> str:
    """Make a class name of a folder's name: underscores become spaces, nothing else changes.

    Hyphens and capitals may belong to the name ("T-shirt", "iPhone"); what is still wrong can be given in a file.

    Example:
        >>> clean_name("fire_engine")
        'fire engine'
    """
    return " ".join(folder.replace("_", " ").split()) or folder


def doubtful_names(names: Sequence[str]) -> str:
    """Say what is wrong with class names that were not made for people, where most of them are like that, or "".

    Example:
        >>> doubtful_names(["001.Black footed Albatross", "002.Laysan Albatross"])
        'begin with numbers, such as 001.Black footed Albatross'
    """
    for pattern, words in _DOUBTFUL:
        alike = [name for name in names if pattern.fullmatch(name)]
        if 2 * len(alike) > len(names):
            return f"{words}, such as {alike[0]}"
    return ""


def load_templates(templates: str) -> list[str]:
    """Return prompt templates.

    Args:
        templates: "simple" (one prompt), "imagenet" (the 80 prompts of CLIP's paper, as open_clip carries them), or a
            text file with one template per line, each holding "{}" once; empty lines and lines with "#" are left out.

    Raises:
        UlfineError: There is no such file, or a line is no template.
    """
    if templates == "simple":
        return list(SIMPLE)
    if templates == "imagenet":
        from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

        return [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]
    lines = _read(
        Path(templates), "--templates takes simple, imagenet or a file with one template per line"
    ).splitlines()
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    numbered = [(number, line) for number, line in numbered if line and not line.startswith("#")]
    for number, line in numbered:
        if line.count("{}") != 1:
            raise UlfineError(f"{templates}, line {number}: a template holds {{}} once, such as: a photo of a {{}}.")
    if not numbered:
        raise UlfineError(f"{templates} holds no template: write one per line, such as: a photo of a {{}}.")
    return [line for _, line in numbered]


def load_classes(classes: Path | None, folders: Sequence[str]) -> list[ClassText]:
    """Return how each class is spoken of.

    Args:
        classes: CSV with the columns folder, name and optionally description, or a list as data sets bring it
            (`sources.words.class_list`); None cleans the folders' names. Folders that it leaves out keep their own
            name. Where the source has no class folders at all, the file's order gives the classes.
        folders: The source's classes.

    Raises:
        UlfineError: The file cannot be read, names a folder that is not there, or a name is used twice.
    """
    given = {} if classes is None else {text.folder: text for text in _read_classes(classes, folders)}
    folders = folders or list(given)
    for folder in given:
        if folder not in folders:
            raise UlfineError(f"{classes} names the folder {folder!r}, which the source does not have")
    texts = [given.get(folder) or ClassText(folder, clean_name(folder)) for folder in folders]
    seen: dict[str, str] = {}
    for text in texts:
        if text.name in seen:
            raise UlfineError(
                f"the folders {seen[text.name]!r} and {text.folder!r} are both called {text.name!r}: "
                "give them different names with --classes FILE"
            )
        seen[text.name] = text.folder
    return texts


def _read_classes(path: Path, folders: Sequence[str]) -> list[ClassText]:
    if path.suffix.lower() in LISTS:
        text = _read(path, "--classes takes a CSV file or a list of names")
        return [ClassText(folder, name) for folder, name in read_class_list(path, text, folders).items()]
    columns = "expected the columns folder,name and, if wanted, description"
    rows = csv.DictReader(io.StringIO(_read(path, "--classes takes a CSV file"), newline=""))
    texts: dict[str, ClassText] = {}
    for row in rows:
        line = f"{path}, line {rows.line_num}"
        folder = from_cell((row.get("folder") or "").strip())
        # Line breaks within a value are blanks in a prompt.
        name, description = (" ".join(from_cell(row.get(column) or "").split()) for column in ("name", "description"))
        if not folder or not name:
            raise UlfineError(f"{line}: {columns}")
        if None in row:
            raise UlfineError(f'{line}: more values than columns; put "..." around a value with a comma')
        if folder in texts:
            raise UlfineError(f"{line}: the folder {folder!r} comes twice")
        texts[folder] = ClassText(folder, name, description)
    if not texts:
        raise UlfineError(f"{path} names no class: {columns}")
    return list(texts.values())


def _read(path: Path, usage: str) -> str:
    try:
        return read_text(path, "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UlfineError(f"{path} is not UTF-8 text: save it as UTF-8") from error
    except OSError as error:
        raise UlfineError(f"cannot read {path}: {reason(error)} ({usage})") from error
