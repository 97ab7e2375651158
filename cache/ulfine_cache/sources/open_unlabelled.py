"""List images whose classes nobody needs to know, such as those to be classified."""

from dataclasses import replace
from pathlib import Path

from ulfine_cache.sources.account import Account
from ulfine_cache.sources.folders.any_images import AnyImages
from ulfine_cache.sources.folders.found_folder import walk_tree
from ulfine_cache.sources.open_source import ZIP, open_source
from ulfine_cache.sources.source import ImageSource
from ulfine_cache.sources.source_options import NO_COLUMN, SourceOptions
from ulfine_cache.sources.trees.disk_tree import DiskTree
from ulfine_cache.sources.trees.zip_tree import ZipTree
from ulfine_cache.sources.words.image_names import extension


def open_unlabelled(source: Path, options: SourceOptions = SourceOptions()) -> ImageSource:  # noqa: B008 (frozen)
    """List a collection of images as `open_source` does, but without asking for classes.

    All images below a folder or in a zip file belong to it, also those in no class folder, and a table needs no column
    of labels.

    Args:
        source: As for `open_source`.
        options: Likewise; what they say about labels and sets does not count.

    Raises:
        UlfineError: There is no such thing, it holds no images, or it is of no known kind.

    Example:
        >>> len(open_unlabelled(Path("photos")).items)
        80
    """
    account = Account()
    tree = None
    if source.is_dir() and options.root is None:
        tree = DiskTree(source)
    elif extension(source.name) == ZIP and source.is_file():
        tree = ZipTree(source, account)
    if tree is not None:
        root = walk_tree(tree, account)
        if root.n_images or isinstance(tree, ZipTree):
            return AnyImages(tree, root, account)
    return open_source(source, replace(options, label_column=NO_COLUMN, set_column=NO_COLUMN, group_column=NO_COLUMN))
