"""Class names that look like something else: a set, a folder of a tool, no class at all."""

from ulfine_cache.sources.words.image_names import is_image_name
from ulfine_cache.sources.words.set_names import known_set, words_of

_MACHINERY = frozenset(
    (
        *("image", "images", "img", "imgs", "jpg", "jpeg", "jpegs", "jpegimages", "png", "pngs", "photo", "photos"),
        *("picture", "pictures", "pics", "data", "dataset", "datasets", "files", "raw", "input", "inputs", "output"),
        *("annotation", "annotations", "label", "labels", "bbox", "bboxes", "boxes", "mask", "masks", "segmentation"),
        *("segmentations", "segmentationclass", "segmentationobject", "imagesets", "groundtruth", "ground_truth", "gt"),
        *("thumbnail", "thumbnails", "thumbs", "tmp", "temp", "backup", "src", "scripts", "docs", "meta", "metadata"),
        *("misc", "all", "new folder", "untitled folder", "sets", "splits"),
    )
)
A_SET = "a set"
NO_CLASS = "images without a class, which belong into unlabelled/ or to an empty label"
_NO_CLASS_NAMES = frozenset(
    (
        *("unknown", "unknowns", "unlabelled", "unlabeled", "unsorted", "unclassified", "uncategorized", "todo"),
        *("uncategorised", "unassigned", "unidentified", "unsup", "unsupervised", "undefined"),
        *("none", "null", "nan", "na", "n/a", "-1"),
    )
)
_BESIDE_SETS = frozenset(("seg", "set", "aug", "augmented", "split", "fold", "part", "final", "class", "classes"))
"""Words that stand beside that of a set in a folder's name."""


def is_machinery(name: str) -> bool:
    """Tell whether a name is what tools and people call folders of images, and not what is to be seen on them.

    Example:
        >>> is_machinery("JPEGImages"), is_machinery("beagle")
        (True, False)
    """
    return name.strip().lower() in _MACHINERY


def suspicion(name: str) -> str:
    """Return what a class's name looks like instead, "" where it looks like a class.

    Example:
        >>> suspicion("val_2"), suspicion("images"), suspicion("beagle"), suspicion("unknown") == NO_CLASS
        ('a set', 'a folder of files', '', True)
    """
    words = words_of(name)
    beside = [word for word in words if not known_set(word)]
    if len(beside) < len(words) and all(word in _BESIDE_SETS or is_machinery(word) for word in beside):
        return A_SET
    if is_machinery(name):
        return "a folder of files"
    if name.strip().lower() in _NO_CLASS_NAMES:
        return NO_CLASS
    return "a file" if is_image_name(name) else ""
