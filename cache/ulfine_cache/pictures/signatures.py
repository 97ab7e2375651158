"""What a file is by its first bytes: the one table of signatures, and what to do with what is not read here.

No Pillow: listing a source needs the table, but no decoder.
"""

import re
from typing import Final, NamedTuple

HEAD_BYTES: Final = 132
"""Bytes from the beginning of a file that are enough for `kind_of`: DICOM's mark is the last of all."""


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        name: What people call it, such as "JPEG" or "HTML page".
        is_image: Whether there is a picture in it, readable here or not.
        way_out: What to do where it is not read here; "" where it is read, if need be with a further package.
    """

    name: str
    is_image: bool
    way_out: str = ""

    @property
    def refusal(self) -> str:
        """Why it is not read and what to do about it, in a few words; "" where it is read.

        Example:
            >>> kind_of(b"<!DOCTYPE html>").refusal
            'HTML page, not an image: download the image again'
        """
        if not self.way_out:
            return ""
        return f"{self.name}, {'which is not read' if self.is_image else 'not an image'}: {self.way_out}"


ANYMAP: Final = Kind("PPM", is_image=True)
AVIF: Final = Kind("AVIF", is_image=True)
GIF: Final = Kind("GIF", is_image=True)
HEIC: Final = Kind("HEIC", is_image=True)
JPEG: Final = Kind("JPEG", is_image=True)
JPEG_2000: Final = Kind("JPEG 2000", is_image=True)
JPEG_XL: Final = Kind("JPEG XL", is_image=True)
PNG: Final = Kind("PNG", is_image=True)
TIFF: Final = Kind("TIFF", is_image=True)
_BMP: Final = Kind("BMP", is_image=True)
_WEBP: Final = Kind("WebP", is_image=True)

_TO_PNG = "save it as PNG"
_DEVELOP = "develop it to JPEG, PNG or TIFF"
_WINDOW = "convert it to PNG, which takes somebody who says which values are black and white"
_AGAIN = "download the image again"
_EXPAND = "expand it first"


def _unread(name: str, way_out: str = _TO_PNG) -> Kind:
    return Kind(name, is_image=True, way_out=way_out)


def _no_image(name: str, way_out: str) -> Kind:
    return Kind(name, is_image=False, way_out=way_out)


_RAW: Final = {
    brand: _unread(f"camera raw file ({brand})", _DEVELOP)
    for brand in ("Canon CR2", "Canon CR3", "Canon CRW", "Fujifilm RAF", "Minolta MRW", "Olympus ORF", "Panasonic RW2")
}

_LFS: Final = _no_image("Git LFS pointer", "fetch the image with `git lfs pull`")
_HTML: Final = _no_image("HTML page", _AGAIN)
_SVG: Final = _no_image("SVG drawing", _TO_PNG)

# (offset, bytes, kind), the longer mark before the shorter one that it begins with.
_MARKS: Final[tuple[tuple[int, bytes, Kind], ...]] = (
    (0, b"\xff\xd8\xff", JPEG),
    (0, b"\x89PNG\r\n\x1a\n", PNG),
    (0, b"GIF87a", GIF),
    (0, b"GIF89a", GIF),
    (0, b"II*\0", TIFF),
    (0, b"MM\0*", TIFF),
    (0, b"II+\0", TIFF),
    (0, b"MM\0+", TIFF),
    # The number in the wrong order of bytes, which Pillow reads as well.
    (0, b"II\0*", TIFF),
    (0, b"MM*\0", TIFF),
    (0, b"\xff\x4f\xff\x51", JPEG_2000),
    (0, b"\0\0\0\x0cjP  ", JPEG_2000),
    (0, b"\xff\x0a", JPEG_XL),
    (0, b"\0\0\0\x0cJXL ", JPEG_XL),
    (0, b"IIRO", _RAW["Olympus ORF"]),
    (0, b"IIRS", _RAW["Olympus ORF"]),
    (0, b"MMOR", _RAW["Olympus ORF"]),
    (0, b"IIU\0", _RAW["Panasonic RW2"]),
    (0, b"FUJIFILMCCD-RAW", _RAW["Fujifilm RAF"]),
    (0, b"\0MRM", _RAW["Minolta MRW"]),
    (0, b"II\x1a\0\0\0HEAPCCDR", _RAW["Canon CRW"]),
    (0, b"II\xbc\x01", _unread("JPEG XR")),
    (0, b"8BPS", _unread("Photoshop document (PSD)")),
    (0, b"gimp xcf", _unread("GIMP document (XCF)")),
    (0, b"DDS ", _unread("DDS texture")),
    (0, b"\x76\x2f\x31\x01", _unread("OpenEXR", "it holds light and no white, so tone-map it to an 8-bit PNG")),
    (0, b"#?RADIANCE", _unread("Radiance HDR", "it holds light and no white, so tone-map it to an 8-bit PNG")),
    (0, b"qoif", _unread("QOI")),
    (0, b"\0\0\x01\0", _unread("icon (ICO)")),
    (0, b"icns", _unread("icon (ICNS)")),
    (0, b"BPG\xfb", _unread("BPG")),
    (0, b"AT&TFORM", _unread("DjVu")),
    (0, b"SIMPLE  =", _unread("FITS", _WINDOW)),
    (128, b"DICM", _unread("DICOM", _WINDOW)),
    (
        0,
        b"version https://git-lfs.github.com/spec/",
        _LFS,
    ),
    (0, b"%PDF-", _no_image("PDF", "save its pages as PNG")),
    (0, b"\x1f\x8b", _no_image("gzip archive", _EXPAND)),
    (0, b"BZh", _no_image("bzip2 archive", _EXPAND)),
    (0, b"\xfd7zXZ\0", _no_image("xz archive", _EXPAND)),
    (0, b"\x28\xb5\x2f\xfd", _no_image("zstd archive", _EXPAND)),
    (0, b"PK\x03\x04", _no_image("zip archive", _EXPAND)),
    (0, b"7z\xbc\xaf\x27\x1c", _no_image("7z archive", _EXPAND)),
    (0, b"Rar!\x1a\x07", _no_image("RAR archive", _EXPAND)),
    (0, b"\x1a\x45\xdf\xa3", _no_image("video", "save single pictures of it")),
    (0, b"\x89HDF\r\n\x1a\n", _no_image("HDF5 file", "save its arrays as PNG")),
    (0, b"\x93NUMPY", _no_image("NumPy array", "save it as PNG, or as an array of an .npz file")),
)
_OTHER_ANYMAP: Final = _unread("PAM or PFM")
_VIDEO: Final = _no_image("video", "save single pictures of it")

_HEIC_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_AVIF_BRANDS: Final = (b"avif", b"avis")
_VIDEO_BRANDS: Final = (b"isom", b"iso2", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V ", b"3gp4", b"3gp5")

# Texts in place of pictures: a server's answer, or a drawing. White space and a byte order mark may come first.
_TEXTS: Final[tuple[tuple[re.Pattern[bytes], Kind], ...]] = (
    (re.compile(rb"<(!doctype\s+html|html|head|body|title|script|meta)\b", re.I), _HTML),
    (re.compile(rb"<\?xml[^>]*\?>\s*<!doctype\s+html|<\?xml[^>]*\?>\s*<html", re.I), _HTML),
    (re.compile(rb"(<\?xml[^>]*\?>\s*)?(<!--.{0,99}?-->\s*)?<(!doctype\s+)?svg\b", re.I | re.S), _SVG),
    (re.compile(rb"<\?xml\b|<Error>", re.I), _no_image("XML text", _AGAIN)),
    (re.compile(rb"\{\s*[\"}]|\[\s*[\[{\"\]]"), _no_image("JSON text", _AGAIN)),
)


def kind_of(data: bytes) -> Kind | None:
    """Tell what a file is by its first bytes, None where they do not say.

    Args:
        data: The file, or its first `HEAD_BYTES` at least, unless it is shorter.

    Example:
        >>> kind_of(b"GIF89a").name, kind_of(b"this is a text")
        ('GIF', None)
    """
    for offset, mark, kind in _MARKS:
        if data.startswith(mark, offset):
            # Canon's own mark stands behind TIFF's.
            return _RAW["Canon CR2"] if kind is TIFF and data.startswith(b"CR\x02", 8) else kind
    if data[:2] == b"BM":
        # Two reserved fields; "BM" alone begins many a text.
        return _BMP if data[6:10] == bytes(4) else None
    if data[:4] == b"RIFF":
        return {b"WEBP": _WEBP, b"AVI ": _VIDEO}.get(data[8:12])
    if data[4:8] == b"ftyp":
        return _by_brand(data[8:HEAD_BYTES])
    if re.match(rb"P[1-7fF][\s#]", data):
        return _OTHER_ANYMAP if data[1:2] in b"7F" else ANYMAP
    text = data[:HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((kind for pattern, kind in _TEXTS if pattern.match(text)), None)


def _by_brand(brands: bytes) -> Kind | None:
    """Tell the ISO base media files apart (14496-12): a brand, a version, and more brands that it goes along with."""
    brand = brands[:4]
    if brand == b"crx ":
        return _RAW["Canon CR3"]
    compatible = {brands[place : place + 4] for place in range(8, len(brands), 4)}
    if brand in _AVIF_BRANDS or (brand in (b"mif1", b"msf1") and compatible & {*_AVIF_BRANDS}):
        return AVIF
    if brand in _HEIC_BRANDS:
        return HEIC
    return _VIDEO if brand in _VIDEO_BRANDS else None
