"""Which kind of source a path or a pattern is."""

import os
import re
from pathlib import Path

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.archives.tar_members import compressed
from ulfine_cache.sources.archives.webdataset import WebDataset
from ulfine_cache.sources.folders.image_folder import ImageFolder, is_image_name
from ulfine_cache.sources.source import ImageSource
from ulfine_cache.sources.tables.manifest import MANIFESTS, Manifest
from ulfine_cache.sources.trees.file_pattern import is_pattern, matching_files

TAR = ".tar"
_EXPECTED = (
    "expected a folder with one folder per class, a table (.csv, .parquet) of path,label,split, or .tar shards "
    "(a file, a folder of them, or a quoted pattern)"
)
_COMPRESSED = {
    ".gz": "gunzip",
    ".tgz": "gunzip",
    ".bz2": "bunzip2",
    ".tbz2": "bunzip2",
    ".xz": "unxz",
    ".txz": "unxz",
    ".zst": "unzstd",
}
_PICKLES = (".pkl", ".pickle", ".p")
_CIFAR = re.compile(r"data_batch_\d+|test_batch|batches\.meta")


def open_source(source: Path) -> ImageSource:
    """List a collection of images.

    Args:
        source: A folder (`ImageFolder`; `WebDataset` if it holds .tar files and neither folders nor images), a `.csv`
            or `.parquet` file (`Manifest`), a `.tar` file or a pattern of .tar files (`WebDataset`) such as
            `train-{000..012}.tar`, `{train,val}-*.tar` or `shards/**/*.tar`. What exists under the very name is no
            pattern.

    Raises:
        UlfineError: There is no such thing, it is of no known kind, or the kind refuses it.

    Example:
        >>> open_source(Path("shards/train-{000..012}.tar")).classes  # doctest: +SKIP
        ['beagle', 'pug']
    """
    text = str(source)
    try:
        source.stat()
    except (OSError, ValueError) as error:
        if is_pattern(text):
            return _pattern(text)
        raise _missing(text, error) from None
    if source.is_dir():
        return _folder(source)
    return _file(source)


def _folder(folder: Path) -> ImageSource:
    try:
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
        names = {entry.name for entry in entries if not entry.is_dir()}
    except OSError as error:
        raise UlfineError(f"cannot read the folder {folder}: {reason(error)}") from error
    if {"train", "meta"} <= names or any(map(_CIFAR.fullmatch, names)):
        raise _pickles(f"{folder} holds CIFAR's pickle files")
    tars = [str(folder / name) for name in names if name.lower().endswith(TAR)]
    if tars and len(names) == len(entries) and not any(map(is_image_name, names)):
        return WebDataset(tars, str(folder.resolve()))
    return ImageFolder(folder)


def _file(path: Path) -> ImageSource:
    suffix = path.suffix.lower()
    if suffix in MANIFESTS:
        return Manifest(path)
    if suffix == TAR:
        return WebDataset([str(path)], str(path.absolute()))
    if suffix in _COMPRESSED:
        raise compressed(str(path), _COMPRESSED[suffix])
    if suffix in _PICKLES or _CIFAR.fullmatch(path.name):
        raise _pickles(f"{path} is a pickle")
    if suffix == ".npz":
        raise UlfineError(f"{path} holds arrays, no image files: features go through `ulfine import-features`")
    raise UlfineError(f"{path} is no source of images: {_EXPECTED}")


def _pattern(pattern: str) -> ImageSource:
    files = matching_files(pattern)
    for file in files:
        if not file.lower().endswith(TAR):
            raise UlfineError(f"{pattern} matches {file}: patterns are for {TAR} files only")
    return WebDataset(files, str(Path(pattern).absolute()))


def _missing(text: str, error: Exception) -> UlfineError:
    if re.match(r"[a-z][a-z0-9+.-]+:", text):
        return UlfineError(f"{text} is not on this machine: download it first; only local files are read")
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError | NotADirectoryError):
        return UlfineError(f"cannot read {text}: {reason(error)}")
    kind = "file" if Path(text).suffix.lower() in (*MANIFESTS, TAR) else "folder"
    return UlfineError(f"no {kind} {text}: {_EXPECTED}")


def _pickles(what: str) -> UlfineError:
    return UlfineError(
        f"{what}: pickles are not read, because they can run code; write the images out as <class>/*.png or as .tar "
        "shards (cache/README.md, Sources, shows how)"
    )
