"""What files that are no images of a source are counted as, and how that is said."""

from collections.abc import Mapping

from ulfine_cache.sources.words.image_names import extension, is_hidden
from ulfine_cache.wording.counts import counted

HIDDEN = "hidden"
SYSTEM = "in folders of the system"
NO_EXTENSION = "without extension"
UNNAMED = "images that no row names"
BESIDE = "images beside another of the same key"
TWICE = "names that come again"
_ONE = {
    UNNAMED: "image that no row names",
    BESIDE: "image beside another of the same key",
    TWICE: "name that comes again",
}
"""What may be images as well, and what one of them is called."""

_SYSTEM_FOLDERS = frozenset(
    (
        *("__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "lost+found", "system volume information"),
        *("__pycache__", "found.000"),
    )
)


def ignored_in_words(ignored: Mapping[str, int], most: int = 1000) -> list[str]:
    """Say what was counted: what is no image, and what may be one and is no part of the source all the same.

    Args:
        ignored: How often each kind was.
        most: So many kinds are named.

    Example:
        >>> ignored_in_words({".txt": 2, "hidden": 10, "images that no row names": 1})
        ['not images: 10 hidden, 2 .txt', 'left out: 1 image that no row names']
    """
    files = {kind: count for kind, count in ignored.items() if kind not in _ONE}
    others = {_ONE[kind] if count == 1 else kind: count for kind, count in ignored.items() if kind in _ONE}
    parts = ("not images", files), ("left out", others)
    return [f"{what}: {counted(counts, most)}" for what, counts in parts if counts]


def kind_of_file(name: str) -> str:
    """Return what a file that is no image is counted as.

    Example:
        >>> kind_of_file("a.TXT"), kind_of_file(".DS_Store"), kind_of_file("README")
        ('.txt', 'hidden', 'without extension')
    """
    return HIDDEN if is_hidden(name) else extension(name) or NO_EXTENSION


def kind_of_folder(name: str) -> str:
    """Return what all files in a folder are counted as, "" for a folder that is looked into.

    Example:
        >>> kind_of_folder("__MACOSX"), kind_of_folder(".git"), kind_of_folder("beagle")
        ('in folders of the system', 'hidden', '')
    """
    if is_hidden(name):
        return HIDDEN
    return SYSTEM if name.lower() in _SYSTEM_FOLDERS else ""
