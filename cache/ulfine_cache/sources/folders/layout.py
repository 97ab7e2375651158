"""Which folders are sets, which are classes, and which only wrap the others."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ulfine_cache.sources.folders.found_folder import FoundFolder
from ulfine_cache.sources.words.class_labels import means_unlabelled
from ulfine_cache.sources.words.set_names import is_called_alike, known_set, set_folders
from ulfine_cache.sources.words.suspicious_names import A_SET, suspicion


class Group(NamedTuple):
    """A folder whose images, at any depth, are of one class and one set; the name is None where they have no class."""

    folder: FoundFolder
    set_name: str
    class_name: str | None


@dataclass
class Layout:
    """How a tree of folders is read.

    Attributes:
        top: The folder whose folders are sets or classes: the root, or what the root only wraps.
        groups: The folders with images of one class and set.
        strays: Folders with images of their own, directly in them, that belong to no class.
        flat_sets: Names of folders that are called like sets and hold images directly, although there is nothing but
            such folders, or there are several, and nothing says which class these images are of.
        sets: Folder to set, for those that are sets.
        empty_classes: Class folders without an image in the sets, as paths.
        empty_sets: Names of sets without an image.
        beside: Class folders that lie beside the sets.
        unlabelled: Folders beside the sets whose images have no class, because they are called like them.
    """

    top: FoundFolder
    groups: list[Group] = field(default_factory=list)
    strays: list[FoundFolder] = field(default_factory=list)
    flat_sets: list[str] = field(default_factory=list)
    sets: dict[str, str] = field(default_factory=dict)
    empty_classes: list[str] = field(default_factory=list)
    empty_sets: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)


def find_layout(root: FoundFolder) -> Layout:
    """Decide how a tree of folders is read.

    - A single folder with images that holds nothing but folders of images is walked through, as often as there is one;
      a few images beside it do not count.
    - Folders called like sets (`words.set_names.set_folders`) are sets if at least one of them holds folders of images
      and no images of its own; where there are several sets, or nothing but sets, a few of its own do not count. The
      others of these names are sets without classes then.
    - A folder called like a set is never the only class: without folders of images in it, nobody knows what is on them.
    - Every other folder with images is a class, unless its name means that there is none, or is like those of the sets
      ("seg_pred" beside "seg_train" and "seg_test").
    """
    layout = Layout(_unwrapped(root))
    layout.strays = [folder for folder in _way(root, layout.top) if folder.images]
    full = layout.top.full()
    sets = set_folders(folder.name for folder in full)
    several = len(set(sets.values())) > 1
    lonely = [folder.name for folder in full if not means_unlabelled(folder.name)]
    alone = bool(lonely) and all(name in sets or suspicion(name) == A_SET for name in lonely)
    deep = [folder for folder in full if folder.name in sets and _holds_classes(folder, strays=several or alone)]
    if not deep and several:
        layout.flat_sets = [folder.name for folder in full if folder.name in sets]
        return layout
    if not deep and alone and not any(map(_holds_folders_only, full)):
        layout.flat_sets = lonely
        return layout
    layout.sets = sets if deep else {}
    if deep:
        named = set_folders(folder.name for folder in layout.top.folders)
        layout.empty_sets = [each.name for each in layout.top.folders if each.name in named and not each.n_images]
    for folder in full:
        if folder.name in layout.sets:
            _add_set(layout, folder, layout.sets[folder.name])
            continue
        if is_called_alike(folder.name, layout.sets):
            layout.groups.append(Group(folder, "", None))
            layout.unlabelled.append(folder.name)
            continue
        layout.groups.append(_group(folder, ""))
        if layout.sets and layout.groups[-1].class_name is not None:
            layout.beside.append(folder.name)
    return layout


def _unwrapped(root: FoundFolder) -> FoundFolder:
    top = root
    while _holds_more_below(top):
        full = top.full()
        if len(full) != 1 or not _holds_folders_only(full[0]):
            break
        if known_set(full[0].name) or means_unlabelled(full[0].name):
            break
        top = full[0]
    return top


def _way(root: FoundFolder, top: FoundFolder) -> Iterator[FoundFolder]:
    """Yield the folders from the root down to `top`."""
    folder = root
    yield folder
    while folder is not top:
        folder = folder.full()[0]
        yield folder


def _holds_folders_only(folder: FoundFolder) -> bool:
    return not folder.images and bool(folder.full())


def _holds_classes(folder: FoundFolder, *, strays: bool) -> bool:
    return _holds_folders_only(folder) or (strays and _holds_more_below(folder))


def _holds_more_below(folder: FoundFolder) -> bool:
    return 2 * len(folder.images) < folder.n_images


def _add_set(layout: Layout, folder: FoundFolder, set_name: str) -> None:
    inner = folder.full()
    if not inner:
        layout.groups.append(Group(folder, set_name, None))
        return
    # Between a set and its classes some put one more folder, such as train/images/ or train/train/.
    around = folder
    if len(inner) == 1 and _holds_folders_only(inner[0]) and suspicion(inner[0].name):
        around = inner[0]
        inner = around.full()
    if folder.images:
        layout.strays.append(folder)
    layout.empty_classes += [each.path for each in around.folders if not each.n_images]
    layout.groups += [_group(each, set_name) for each in inner]


def _group(folder: FoundFolder, set_name: str) -> Group:
    return Group(folder, set_name, None if means_unlabelled(folder.name) else folder.name)
