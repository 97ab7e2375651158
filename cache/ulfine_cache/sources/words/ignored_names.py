"""What files that are no images of a source are counted as."""

from ulfine_cache.sources.words.image_names import extension, is_hidden

HIDDEN = "hidden"
SYSTEM = "in folders of the system"
NO_EXTENSION = "without extension"

_SYSTEM_FOLDERS = frozenset(
    (
        *("__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "lost+found", "system volume information"),
        *("__pycache__", "found.000"),
    )
)


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
