"""Whether tar files hold samples with labels beside the images, or of folders that are classes."""

from collections.abc import Sequence

from ulfine_cache.sources.account import Account
from ulfine_cache.sources.archives.tar_members import TarMember, tar_members
from ulfine_cache.sources.archives.tar_samples import is_label_name, sample_key
from ulfine_cache.sources.archives.tar_tree import TAR, TarTree
from ulfine_cache.sources.archives.webdataset import short_names, sorted_tars
from ulfine_cache.sources.words.image_names import extension


def tar_folders(tars: Sequence[str], location: str, account: Account) -> TarTree | None:
    """Return tar files as folders, or None where they are shards of samples.

    Folders they are if no image has a label beside it and images lie in folders or in tar files of their own.

    Raises:
        UlfineError: A file is compressed.
    """
    tars = sorted_tars(tars)
    in_folders = False
    for tar in tars:
        shape = _Shape()
        tar_members(tar, lambda _: False, 0, stop=shape.is_decided)
        if shape.has_labels:
            return None
        in_folders |= shape.in_folders
        if shape.has_tars:
            break
    return TarTree(tars, short_names(tars), location, account) if in_folders else None


class _Shape:
    """What the members of one tar file show so far."""

    def __init__(self) -> None:
        self.has_labels = self.has_tars = self.in_folders = False
        self._images: set[str] = set()
        self._labels: set[str] = set()

    def is_decided(self, member: TarMember) -> bool:
        """Take one more member, and tell whether the others do not matter."""
        key = sample_key(member.name)
        if member.is_image:
            self._images.add(key)
            self.in_folders |= "/" in member.name
            self.has_labels = key in self._labels
        elif is_label_name(member.name):
            self._labels.add(key)
            self.has_labels = key in self._images
        elif extension(member.name) == TAR:
            self.has_tars = self.in_folders = True
        return self.has_labels or self.has_tars
