"""TIFF files whose picture is not on a page of its own: what cameras write beside a small preview."""

from typing import Final

from ulfine_cache.pictures.structure.tiff import Directory, directories, picture_page

_SUBFILE, _REDUCED, _PHOTOMETRIC, _MAKE, _SUBIFDS, _DNG_VERSION = 254, 1, 262, 271, 330, 50706
# Values of a sensor behind a filter of colours, and the same made into colours (TIFF/EP, DNG 1.4).
_SENSOR: Final = (32803, 34892)
_PHASE_ONE: Final = b"IIII"
_MOST_PARTS: Final = 16
_WAY_OUT: Final = "of which only a preview could be read: develop it to JPEG, PNG or TIFF"


def camera_raw(data: bytes) -> str:
    """Say why a TIFF file is not to be decoded, or ``""``: its pages hold previews, and the picture is elsewhere.

    DNG is known by its version tag; NEF, ARW, PEF, SRW and others by a page, or a part of a page (SubIFDs), that holds
    a sensor's values. A file whose pages are all smaller versions of a part is refused as well, camera or not.

    Args:
        data: The bytes of a TIFF file.

    Returns:
        The reason, such as ``"camera raw file (DNG), of which only a preview could be read: ..."``.

    Example:
        >>> camera_raw(b"MM")
        ''
    """
    pages = directories(data)
    if not pages:
        return ""
    if any(_DNG_VERSION in page.entries for page in pages):
        return f"camera raw file (DNG), {_WAY_OUT}"
    parts = [Directory(data, int(place)) for page in pages[:_MOST_PARTS] for place in _parts(page)]
    if data[8:12] == _PHASE_ONE or any(part.number(_PHOTOMETRIC, -1) in _SENSOR for part in (*pages, *parts)):
        make = next((make for page in pages if (make := page.text(_MAKE))), "")
        return f"camera raw file{make and f' ({make})'}, {_WAY_OUT}"
    if _is_reduced(pages[picture_page(pages)]) and any(part.entries and not _is_reduced(part) for part in parts):
        return "TIFF whose pages are previews of a picture that is not read: save it as PNG or as a plain TIFF"
    return ""


def _parts(page: Directory) -> tuple[float, ...]:
    return page.numbers(_SUBIFDS)[:_MOST_PARTS]


def _is_reduced(page: Directory) -> bool:
    return bool(int(page.number(_SUBFILE, 0)) & _REDUCED)
