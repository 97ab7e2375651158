"""Which kind of source a URL is: folders of images, tables of them, or tar files."""

from collections.abc import Sequence

from ulfine_cache.errors import UlfineError
from ulfine_cache.remote.failures import refusal
from ulfine_cache.remote.storage import Found, listing, look, matching
from ulfine_cache.sources.account import Account
from ulfine_cache.sources.archives.open_tars import tar_folders
from ulfine_cache.sources.archives.tar_tree import TAR
from ulfine_cache.sources.archives.webdataset import WebDataset
from ulfine_cache.sources.open_tree import open_tree
from ulfine_cache.sources.source import ImageSource
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.sources.tables.open_table import TABLES
from ulfine_cache.sources.tables.table_files import open_remote_tables
from ulfine_cache.sources.trees.file_pattern import expand_braces, is_pattern
from ulfine_cache.sources.trees.remote_tree import RemoteTree
from ulfine_cache.sources.words.image_names import extension, is_image_name

_EXPECTED = "a folder of images, a table (.csv, .tsv, .jsonl, .json, .parquet) or .tar files"


def open_remote(url: str, options: SourceOptions) -> ImageSource:
    """List a collection of images behind a URL.

    Args:
        url: A folder, a table, a `.tar` file, or a pattern of tables or of `.tar` files.
        options: What is to be known about it beyond its own names.

    Raises:
        UlfineError: There is no such thing, it is of no kind that is read from a storage, or that cannot be used.
    """
    try:
        found = look(url)
    except FileNotFoundError:
        if not is_pattern(url):
            raise UlfineError(f"nothing at {url}: expected {_EXPECTED}") from None
        return _files(_matching(url), url, options)
    except PermissionError as error:
        raise refusal(url, error) from error
    return _folder(url, options) if found.is_folder else _files([url], url, options)


def _folder(url: str, options: SourceOptions) -> ImageSource:
    entries: Sequence[Found] = [entry for entry in listing(url) if not entry.name.startswith(".")]
    names = [entry.name for entry in entries if not entry.is_folder]
    tars = [f"{url}/{name}" for name in names if extension(name) == TAR]
    if tars and len(names) == len(entries) and not any(map(is_image_name, names)):
        return _tars(tars, url, options)
    tables = [f"{url}/{name}" for name in names if extension(name) in TABLES]
    if options.root is not None and tables:
        return open_remote_tables(tables, options, url)
    return open_tree(RemoteTree(url), options, Account())


def _files(urls: Sequence[str], location: str, options: SourceOptions) -> ImageSource:
    kinds = {extension(url.rpartition("/")[2]) for url in urls}
    if kinds == {TAR}:
        return _tars(urls, location, options)
    if kinds <= set(TABLES):
        return open_remote_tables(urls, options, location)
    odd = next(url for url in urls if extension(url.rpartition("/")[2]) not in (*TABLES, TAR) or len(kinds) > 1)
    raise UlfineError(
        f"{odd} is not read from a storage: expected {_EXPECTED}; other files have to be downloaded first"
    )


def _tars(urls: Sequence[str], location: str, options: SourceOptions) -> ImageSource:
    account = Account()
    folders = tar_folders(urls, location, account)
    return WebDataset(urls, location, options) if folders is None else open_tree(folders, options, account)


def _matching(pattern: str) -> list[str]:
    found: set[str] = set()
    for name in expand_braces(pattern):
        matches = matching(name) if is_pattern(name) else [name]
        if not matches or (not is_pattern(name) and not _is_there(name)):
            of = "" if name == pattern else f" (of {pattern})"
            raise UlfineError(f"no file matches {name}{of}: check the pattern, and quote it against the shell")
        found.update(matches)
    return sorted(found)


def _is_there(url: str) -> bool:
    try:
        look(url)
    except FileNotFoundError:
        return False
    return True
