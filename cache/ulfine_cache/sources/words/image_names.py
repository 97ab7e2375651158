"""Which files are images: by their names, and by their first bytes where the name does not say."""

import re

from ulfine_cache.pictures.signatures import kind_of

EXTENSIONS = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif"),
        *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".avifs", ".tga"),
        *(".heic", ".heif", ".hif", ".jxl"),
        *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".jph"),
    )
)
"""Extensions of the formats that are decoded, some with a further package, in lower case."""

_OTHER_IMAGES = frozenset(
    (
        *(".psd", ".dds", ".exr", ".hdr", ".pfm", ".ico", ".dcm", ".dicom", ".qoi"),
        *(".cr2", ".cr3", ".crw", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw"),
    )
)
"""Images as well, although they need another tool: they are listed, and reading says so."""

_NO_IMAGES = frozenset(
    (
        *(".txt", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".geojson", ".xml", ".yaml", ".yml", ".toml", ".ini"),
        *(".cfg", ".md", ".rst", ".html", ".htm", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".log", ".tex", ".svg"),
        *(".py", ".ipynb", ".sh", ".bat", ".m", ".r", ".c", ".cpp", ".h", ".js", ".css", ".lnk", ".url", ".cls"),
        *(".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst", ".lst", ".list", ".names", ".caption"),
        *(".npz", ".npy", ".h5", ".hdf5", ".mat", ".pkl", ".pickle", ".pt", ".pth", ".onnx", ".safetensors", ".bin"),
        *(".parquet", ".arrow", ".feather", ".tfrecord", ".rec", ".idx", ".lmdb", ".mdb", ".db", ".sqlite", ".lock"),
        *(".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wav", ".mp3", ".flac", ".ogg", ".md5", ".sha256"),
    )
)
"""Not worth opening."""

# Formats that do not begin with a mark of their own.
_UNMARKED = frozenset((".tga", ".crw"))


def is_hidden(name: str) -> bool:
    """Tell whether people do not see a file or folder of this name: `.DS_Store`, and `._1.jpg` of a Mac."""
    return name.startswith(".")


def is_image_name(name: str) -> bool | None:
    """Tell whether a file is an image by its name, or return None where its first bytes have to decide.

    Example:
        >>> is_image_name("a.JPG"), is_image_name("a.jpg_large"), is_image_name("a.csv"), is_image_name("a.v2")
        (True, True, False, None)
    """
    ending = extension(name)
    if ending in EXTENSIONS or ending in _OTHER_IMAGES:
        return True
    if ending in _NO_IMAGES:
        return False
    # What browsers and scripts append: "a.jpg_large", "a.jpeg~", "a.jpg!d".
    start = re.match(r"\.[a-z0-9]+(?=[^a-z0-9])", ending)
    return True if start and start[0] in EXTENSIONS else None


def is_image_head(head: bytes) -> bool:
    """Tell whether a file begins like an image of any known format; TGA does not begin in a way of its own."""
    kind = kind_of(head)
    return kind is not None and kind.is_image


def begins_like_an_image(name: str, head: bytes) -> bool:
    """Tell whether a file that is called like an image may be one, as far as its first bytes say."""
    return is_image_head(head) or (extension(name) in _UNMARKED and bool(head))


def extension(name: str) -> str:
    """Return a file name's ending with its dot in lower case, "" where there is none.

    Example:
        >>> extension("deep.er/A.JPG"), extension("IMG_0001"), extension("README.")
        ('.jpg', '', '')
    """
    base = name.rpartition("/")[2].strip()
    stem, dot, ending = base.rpartition(".")
    return (dot + ending).lower() if stem and ending else ""
