"""Which kind of source a path or a pattern is."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.foreign_file import stand_in
from ulfine_cache.remote.places import url_of
from ulfine_cache.sources.account import Account
from ulfine_cache.sources.archives.open_tars import tar_folders
from ulfine_cache.sources.archives.tar_members import compressed
from ulfine_cache.sources.archives.tar_tree import TAR
from ulfine_cache.sources.archives.webdataset import WebDataset
from ulfine_cache.sources.arrays.array_images import open_arrays
from ulfine_cache.sources.arrays.column_images import COLUMN_FILES, ColumnImages, column_of_bytes
from ulfine_cache.sources.open_remote import open_remote
from ulfine_cache.sources.open_tree import open_tree
from ulfine_cache.sources.own_source import open_own
from ulfine_cache.sources.source import ImageSource
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.sources.tables.open_table import TABLES
from ulfine_cache.sources.tables.table_files import open_tables
from ulfine_cache.sources.trees.disk_tree import DiskTree
from ulfine_cache.sources.trees.file_pattern import is_pattern, matching_files
from ulfine_cache.sources.trees.zip_tree import ZipTree
from ulfine_cache.sources.words.image_names import extension, is_image_name

ZIP = ".zip"
_EXPECTED = (
    "expected a folder with one folder per class, a table (.csv, .tsv, .jsonl, .json, .parquet) of path,label,set, a "
    ".zip file, or .tar files (one, a folder of them, or a quoted pattern); docs/sources.md shows each"
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


def open_source(
    source: Path,
    options: SourceOptions = SourceOptions(),  # noqa: B008 (frozen)
    *,
    files: bool = False,
) -> ImageSource:
    """List a collection of images.

    Args:
        source: A folder (`open_tree`; `WebDataset` if it holds .tar files and neither folders nor images), a table
            (`TableSource`), a `.tar` file, or a pattern of tables or .tar files such as `train-{000..012}.tar`,
            `{train,val}.csv` or `shards/**/*.tar`. What exists under the very name is no pattern. Or a source that is
            not of this repository (`own_source`), or what stands for the URL of one of the first four
            (`ulfine_cache.remote.places.place`).
        options: What is to be known about it beyond its own names.
        files: Whether a file with a source in it may be run: only where the user named it.

    Raises:
        UlfineError: There is no such thing, it is of no known kind, or the kind refuses it.

    Example:
        >>> open_source(Path("shards/train-{000..012}.tar")).classes  # doctest: +SKIP
        ['beagle', 'pug']
    """
    url = url_of(source)
    if url is not None:
        return open_remote(url, options)
    text = str(source)
    if (own := open_own(source, files=files)) is not None:
        return own
    try:
        source.stat()
    except (OSError, ValueError) as error:
        if is_pattern(text):
            return _files([Path(file) for file in matching_files(text)], str(source.absolute()), options)
        raise _missing(text, error) from None
    if source.is_dir():
        return _folder(source, options)
    # A table may be reached by a link; the folder of an archive's name does not matter.
    return _files([source], str(source.resolve() if extension(source.name) in TABLES else source.absolute()), options)


def _folder(folder: Path, options: SourceOptions) -> ImageSource:
    try:
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
        names = {entry.name for entry in entries if not entry.is_dir()}
    except OSError as error:
        raise UlfineError(f"cannot read the folder {folder}: {reason(error)}") from error
    if {"train", "meta"} <= names or any(map(_CIFAR.fullmatch, names)):
        raise _pickles(f"{folder} holds CIFAR's pickle files")
    tars = [str(folder / name) for name in names if extension(name) == TAR]
    if tars and len(names) == len(entries) and not any(map(is_image_name, names)):
        return _tars(tars, str(folder.resolve()), options)
    tables = [folder / name for name in sorted(names) if extension(name) in TABLES]
    if options.root is not None and tables:
        return _files(tables, str(folder.resolve()), options)
    return open_tree(DiskTree(folder), options, Account())


def _files(files: Sequence[Path], location: str, options: SourceOptions) -> ImageSource:
    """Open files that are all of one kind."""
    for file in files:
        # Opening a named pipe would wait for ever.
        if file.exists() and not file.is_file():
            raise UlfineError(f"{file} is no file but a pipe, a socket, a device or a folder: give a file")
    kinds = {extension(file.name) for file in files}
    if not kinds & {TAR, ".npz"}:
        _refuse_stand_ins(files)
    if kinds <= set(COLUMN_FILES) and _hold_images(files, options):
        top = os.path.commonpath([file.absolute().parent for file in files])
        return ColumnImages([str(file.absolute()) for file in files], top, options, Account(), location=location)
    if kinds <= set(TABLES):
        return open_tables(files, options, location)
    if kinds == {TAR}:
        return _tars([str(file) for file in files], location, options)
    if kinds == {ZIP} and len(files) == 1:
        account = Account()
        return open_tree(ZipTree(files[0], account), options, account)
    if len(files) > 1:
        odd = next((file for file in files if extension(file.name) not in (*TABLES, TAR)), files[0])
        raise UlfineError(f"{location} matches {odd}: patterns are for {TAR} files only, or for tables only")
    if kinds == {".npz"} and (arrays := open_arrays(files[0], options)) is not None:
        return arrays
    raise _refused(files[0])


def _refuse_stand_ins(files: Sequence[Path]) -> None:
    for file in files:
        try:
            what = stand_in(file) if file.is_file() else ""
        except OSError as error:
            raise UlfineError(f"cannot read {file}: {reason(error)}") from error
        if what:
            raise UlfineError(f"{file} is {what}")


def _hold_images(files: Sequence[Path], options: SourceOptions) -> bool:
    return column_of_bytes(str(files[0]), options.path_column) is not None


def _tars(tars: Sequence[str], location: str, options: SourceOptions) -> ImageSource:
    account = Account()
    folders = tar_folders(tars, location, account)
    return WebDataset(tars, location, options) if folders is None else open_tree(folders, options, account)


def _refused(path: Path) -> UlfineError:
    suffix = extension(path.name)
    if suffix in _COMPRESSED:
        return compressed(str(path), _COMPRESSED[suffix])
    if suffix in _PICKLES or _CIFAR.fullmatch(path.name):
        return _pickles(f"{path} is a pickle")
    if suffix == ".npz":
        return UlfineError(
            f"{path} holds no arrays of images (such as train_images, N x H x W): features go through "
            "`ulfine import-features`"
        )
    return UlfineError(f"{path} is no source of images: {_EXPECTED}")


def _missing(text: str, error: Exception) -> UlfineError:
    if re.match(r"[a-z][a-z0-9+.-]+:", text):
        return UlfineError(
            f"{text} is not on this machine: download it first; only local files are read, and no installed package "
            f"has a source {text.partition(':')[0]!r}"
        )
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError | NotADirectoryError):
        return UlfineError(f"cannot read {text}: {reason(error)}")
    kind = "file" if Path(text).suffix.lower() in (*TABLES, *COLUMN_FILES, TAR, ZIP, ".npz") else "folder"
    return UlfineError(f"no {kind} {text}: {_EXPECTED}")


def _pickles(what: str) -> UlfineError:
    return UlfineError(
        f"{what}: pickles are not read, because they can run code; write the images out as <class>/*.png or as .tar "
        "shards (cache/README.md, Sources, shows how)"
    )
