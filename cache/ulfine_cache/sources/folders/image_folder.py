"""Images in folders: `<class>/`, `unlabelled/`, or these inside `train/`, `val/` and `test/`."""

import unicodedata
from collections.abc import Iterator, Sequence

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.account import Account
from ulfine_cache.sources.folders.found_folder import FoundFolder
from ulfine_cache.sources.folders.layout import Group, Layout
from ulfine_cache.sources.source import STRAY, UNKNOWN, UNLABELLED, LeftOut, SourceItem
from ulfine_cache.sources.tables.open_table import TABLES
from ulfine_cache.sources.trees.tree import FileTree, FoundFile, head, joined
from ulfine_cache.sources.words.image_names import begins_like_an_image, extension
from ulfine_cache.wording.counts import listed, subject

EXPECTED = "expected one folder per class ({root}/<class>/*.jpg) or {root}/unlabelled/"
_ARCHIVES = (".zip", ".tar", ".npz")
_PACKED = (*_ARCHIVES, *TABLES)
_STRAY = f"{STRAY}: move it into one, or into unlabelled/"


class ImageFolder:
    """A tree of labelled class folders; every depth below a class folder belongs to the class.

    - `<class>/...`: labelled images; the folder's name is the class.
    - `unlabelled/...` (or `unlabeled`, in any case): images whose class is unknown.
    - `train/`, `val/`, `test/` with such folders inside, also by other words (`words.set_names`) and with more folders
      around them (`layout.find_layout`).

    A folder without a file that begins like an image is no class. Images that lie in no class folder, files and folders
    without permission, links to nothing and in circles, pipes, sockets and devices (which are never opened) are items
    whose `read` gives the reason. All other files are counted in `account`.

    Args:
        tree: The files.
        account: What is beside the images.
        root: The tree, walked through.
        layout: What its folders are.

    Raises:
        UlfineError: There is no image where one is expected, or nobody can tell what its folders are.
    """

    def __init__(self, tree: FileTree, account: Account, root: FoundFolder, layout: Layout) -> None:
        self.account, self._tree = account, tree
        self._problems: dict[str, str] = {}
        if layout.flat_sets:
            raise UlfineError(flat_sets_message(tree.location, layout))
        groups = self._with_images(layout.groups)
        names = {group.folder.path: unicodedata.normalize("NFC", group.class_name or "") for group in groups}
        self.classes: Sequence[str] = sorted(set(names.values()) - {""})
        index = {name: label for label, name in enumerate(self.classes)} | {"": UNLABELLED}
        items: list[SourceItem] = []
        for folder in root.walk():
            items += [self._problem(path, why) for path, why in folder.problems]
        for folder in layout.strays:
            items += [self._problem(joined(folder.path, file.name), _STRAY) for file in folder.images]
        for group in layout.groups:
            label = index[names.get(group.folder.path, "")]
            for folder in group.folder.walk():
                items += _items(folder.path, folder.images, label, group.set_name)
        if all(self._problems.get(item.path) == _STRAY for item in items):
            raise UlfineError(_nothing(tree.location, root))
        items.sort()
        self.items: Sequence[SourceItem] = items
        self._tell(layout, root)

    @property
    def location(self) -> str:
        """The folder's absolute path."""
        return self._tree.location

    def read(self, item: SourceItem) -> bytes:
        """Return an image's bytes.

        Raises:
            LeftOut: It lies in no class folder.
            OSError: It has vanished, may not be read, or is something else than a file.
        """
        problem = self._problems.get(item.path)
        if problem:
            raise LeftOut(problem) if problem == _STRAY else OSError(problem)
        return self._tree.read(item.path)

    def holder(self, item: SourceItem) -> str:
        """Return the path of the file that holds an image."""
        return self._tree.holder(item.path)

    def _problem(self, path: str, why: str) -> SourceItem:
        self._problems[path] = why
        return SourceItem(path, UNLABELLED, "", UNKNOWN, UNKNOWN)

    def _with_images(self, groups: Sequence[Group]) -> list[Group]:
        """Leave out the folders in which no file begins like an image; their files stay items without a class."""
        kept = []
        for group in groups:
            if any(self._begins_like_an_image(path) for path in _paths(group.folder)):
                kept.append(group)
            else:
                self.account.note(f"no class: {group.folder.path} holds no readable image")
        return kept

    def _begins_like_an_image(self, path: str) -> bool:
        return begins_like_an_image(path, head(self._tree, path))

    def _tell(self, layout: Layout, root: FoundFolder) -> None:
        account = self.account
        if layout.top is not root:
            account.note(f"the folder {layout.top.path} is walked through: it is the only one with images")
        known = set(self.classes)
        empty = [each.name for each in layout.top.folders if not each.n_images and each.name not in layout.empty_sets]
        top = len(joined(layout.top.path, ""))
        bare = [path[top:] for path in layout.empty_classes if path.rpartition("/")[2] in known]
        empty += [path[top:] for path in layout.empty_classes if path.rpartition("/")[2] not in known]
        if empty:
            account.note(f"no class, because there is no image in it: {listed(empty)}")
        if bare:
            account.note(f"class folders without an image: {listed(bare)}")
        if layout.empty_sets:
            account.note(f"sets without an image: {listed(layout.empty_sets)}")
        if layout.sets:
            parts = [f"{name} is {set_name}" for name, set_name in layout.sets.items() if name != set_name]
            if parts:
                account.note(f"sets: {', '.join(parts)}")
        unlabelled = [group.folder.name for group in layout.groups if group.class_name is None]
        flat = [name for name in unlabelled if name in layout.sets or name in layout.unlabelled]
        if flat:
            verb = "holds" if len(flat) == 1 else "hold"
            account.warn(f"{listed(flat)} {verb} images without class folders: they are unlabelled")
        classes = [group.folder for group in layout.groups if group.class_name is not None]
        nested = [folder for folder in classes if not folder.images]
        if len(nested) == len(classes) and any(len(folder.full()) > 1 for folder in nested):
            inner = f"{nested[0].path}/{nested[0].full()[0].name}"
            account.warn(f"all classes hold folders instead of images, such as {inner}: these are no classes")
        if layout.beside:
            account.warn(f"{listed(layout.beside)} beside the sets {listed(list(layout.sets))} are classes of no set")


def flat_sets_message(location: str, layout: Layout) -> str:
    """Return the error for sets whose images have no class."""
    names = " and ".join(f"{layout.top.path}/{name}/" if layout.top.path else f"{name}/" for name in layout.flat_sets)
    hold = "holds" if len(layout.flat_sets) == 1 else "hold"
    return (
        f"{names} in {location} {hold} images and no class folders, so nothing says what is on them: give the table "
        "with their labels instead of the folder (--root says where the images are), or move them to unlabelled/"
    )


def _nothing(location: str, root: FoundFolder) -> str:
    stray = f" ({subject(len(root.images), 'image', 'lies/lie')} directly in it)" if root.images else ""
    packed = [name for name in root.others if extension(name) in _PACKED]
    # A table beside archives may be a list of names.
    packed = [name for name in packed if extension(name) in _ARCHIVES] or packed
    if packed and not stray:
        return f"{location} holds {listed(packed)} and no folders of images: give these instead of the folder"
    return f"no images in the folders of {location}{stray}: {EXPECTED.format(root=location)}"


def _paths(top: FoundFolder) -> Iterator[str]:
    return (joined(folder.path, file.name) for folder in top.walk() for file in folder.images)


def _items(path: str, images: Sequence[FoundFile], label: int, set_name: str) -> list[SourceItem]:
    return [SourceItem(joined(path, name), label, set_name, size, mtime) for name, size, mtime in images]
