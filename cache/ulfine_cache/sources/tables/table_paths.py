"""From what a table calls an image to the file in a tree of folders."""

import os
import unicodedata
from collections import Counter

from ulfine_cache.sources.account import Account
from ulfine_cache.sources.source import UNKNOWN
from ulfine_cache.sources.trees.remote_file import is_url
from ulfine_cache.sources.trees.tree import LEAVES, FileTree, Folder, FoundFile, joined
from ulfine_cache.sources.words.image_names import EXTENSIONS, is_image_name
from ulfine_cache.wording.counts import subject


class TablePaths:
    """Finds files by the names that tables give them.

    What a table says counts as it stands. Where there is no such file, these are tried, each only if exactly one file
    fits: with `extension` behind it; with the extension of an image; in another Unicode form or other capitals, as
    other systems would read it. How often that was needed is told at the end.

    Args:
        tree: The files.
        extension: Ending that is missing in the table, or None.
        tops: Absolute paths of the tree's top, one of which absolute paths have to begin with.
    """

    def __init__(self, tree: FileTree, extension: str | None, tops: tuple[str, ...] = ()) -> None:
        self._tree, self._tops = tree, tops
        self._extension = extension if extension is None or extension.startswith(".") else f".{extension}"
        self._found: dict[str, Folder | None] = {}
        self._files_of: dict[str, dict[str, FoundFile]] = {}
        self._loose: dict[str, dict[str, list[str]]] = {}
        self._helped: Counter[str] = Counter()

    def find(self, value: object, base: str = "") -> tuple[str, int, int]:
        """Return path, size and time of change of an image; the last two are -1 where there is no such file.

        Args:
            value: What the table says.
            base: Folder of the tree that it is relative to.

        Raises:
            ValueError: It is no path below the tree's top, or a link leads out of it; the message says why.
        """
        name, absolute = self._relative(value)
        path = name if absolute else joined(base, name)
        found = self._exact(path) or self._helped_by(path)
        if found is None:
            self._refuse_leaving(path)
            found = path, UNKNOWN, UNKNOWN
        return found

    def tell(self, account: Account) -> None:
        """Say what the paths needed to be found."""
        for help_, count in self._helped.items():
            account.note(f"{subject(count, 'path', 'was/were')} found {help_}")

    def _exact(self, path: str) -> tuple[str, int, int] | None:
        folder, _, name = path.rpartition("/")
        file = self._files(folder).get(name)
        return None if file is None else (path, file.size, file.mtime_ns)

    def _helped_by(self, path: str) -> tuple[str, int, int] | None:
        forms = [("", path)]
        if "\\" in path:
            forms.append(("with / instead of \\", _clean(path.replace("\\", "/"))))
        if self._extension:
            forms += [(f"{how}, with {self._extension} behind them", form + self._extension) for how, form in forms]
        for how, form in forms:
            found, more = self._exact(form), ""
            if found is None:
                found, more = self._loosely(form)
            if found is not None:
                self._helped[", ".join(part for part in (*how.split(", "), more) if part)] += 1
                return found
        return None

    def _loosely(self, path: str) -> tuple[tuple[str, int, int] | None, str]:
        """Look for the one file that other systems would take for the same."""
        folder, _, name = path.rpartition("/")
        actual = self._actual_folder(folder)
        if actual is None:
            return None, ""
        found = self._only(actual, name)
        how = "in another Unicode form or other capitals"
        if found is None and self._extension is None and is_image_name(name) is not True:
            found = self._only(actual, name, with_extension=True)
            how = "with the extension of the only image that fits"
        file = self._exact(joined(actual, found)) if found else None
        return file, how

    def _only(self, folder: str, name: str, *, with_extension: bool = False) -> str | None:
        if folder not in self._loose:
            index: dict[str, list[str]] = {}
            for file in self._files(folder):
                index.setdefault(_folded(file), []).append(file)
                stem, dot, ending = file.rpartition(".")
                if dot and stem and f".{ending.lower()}" in EXTENSIONS:
                    index.setdefault(f"{_folded(stem)}\0", []).append(file)
            self._loose[folder] = index
        fitting = self._loose[folder].get(_folded(name) + "\0" * with_extension, [])
        return fitting[0] if len(fitting) == 1 else None

    def _actual_folder(self, path: str) -> str | None:
        """Return the folder of this name, spelled as the system does."""
        actual = ""
        for part in path.split("/") if path else []:
            inside = self._folder(actual)
            if inside is None:
                return None
            fitting = [name for name in inside.folders if name == part]
            fitting = fitting or [name for name in inside.folders if _folded(name) == _folded(part)]
            if len(fitting) != 1:
                return None
            actual = joined(actual, fitting[0])
        return actual

    def _files(self, folder: str) -> dict[str, FoundFile]:
        if folder not in self._files_of:
            self._folder(folder)
        return self._files_of.get(folder, {})

    def _folder(self, path: str) -> Folder | None:
        if path not in self._found:
            parent, _, name = path.rpartition("/")
            above = self._folder(parent) if path else None
            try:
                # Never through what the tree does not enter, such as a link that leaves it.
                known = not path or (above is not None and name in above.folders)
                self._found[path] = self._tree.folder(path) if known else None
            except OSError:
                self._found[path] = None
            found = self._found[path]
            if found is not None:
                self._files_of[path] = {file.name: file for file in found.files}
                # Only the names of folders and the problems are looked at again.
                found.files.clear()
        return self._found[path]

    def _refuse_leaving(self, path: str) -> None:
        parts = path.split("/")
        for depth in range(len(parts)):
            folder = self._folder("/".join(parts[:depth]))
            if folder is None:
                return
            if (parts[depth], LEAVES) in folder.problems:
                raise ValueError(
                    f"{path} is reached by a link that leaves {self._tree.location}: say --root with a folder whose "
                    "links may be followed"
                )

    def _relative(self, value: object) -> tuple[str, bool]:
        """Return a path without "." and doubled slashes, and whether it was an absolute one.

        Raises:
            ValueError: It is no path below the tree's top.
        """
        # As `datasets` names an image that it did not embed.
        if isinstance(value, dict):
            value = value.get("path")
        if isinstance(value, bytes):
            value = os.fsdecode(value)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise ValueError("no path")
        text = value.strip()
        if os.sep != "/":
            text = text.replace(os.sep, "/")
        absolute = (
            text.startswith("/") or text[1:3] in (":\\", ":/") or ("://" in text and any(map(is_url, self._tops)))
        )
        if absolute:
            text = text.replace("\\", "/") if text[1] == ":" else text
            top = next((top for top in self._tops if text.startswith(top.rstrip("/") + "/")), None)
            if top is None:
                raise ValueError(
                    f"{value} is absolute and not below {self._tree.location}: say --root with the folder that it "
                    "begins with, or write paths relative to it"
                )
            text = text[len(top.rstrip("/")) + 1 :]
        return _clean(text), absolute


def _clean(text: str) -> str:
    if "/." not in text and "//" not in text and text[0] not in "./" and text[-1] != "/":
        return text
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts or not parts:
        raise ValueError(
            f"{text} leaves the table's folder: put the table into a folder that holds the images, or say --root and "
            "write paths relative to that"
        )
    return "/".join(parts)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
