"""Put part-indices one behind the other into one file, list by list: memory holds one inverted list.

The file is what `faiss.write_index` writes of an index that got all rows itself, byte for byte. FAISS's own ways need
all lists in memory (`merge_from`), or leave two files that only work side by side (`merge_ondisk`).
"""

import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ulfine_cache.search.parts import read_faiss

_EMPTY_LISTS = struct.Struct("<4sQQ4sQ")
"""How FAISS ends an index whose lists are empty: "ilar", number of lists, bytes of a code, "sprs", 0."""


def open_lists(path: Path) -> Any:
    """Open an index of inverted lists without reading the lists, where the system can map files.

    Raises:
        RuntimeError: It is no index.
    """
    import faiss

    index = read_faiss(path, 0 if sys.platform == "win32" else faiss.IO_FLAG_MMAP)
    lists = faiss.downcast_InvertedLists(index.invlists)
    if isinstance(lists, faiss.OnDiskInvertedLists):
        # Starting its 32 threads takes longer than most searches do.
        lists.prefetch_nthread = 0
    return index


def write_merged(parts: Sequence[Path], trained: Any, target: Path) -> None:
    """Write one index of the rows of all parts.

    Args:
        parts: Files of part-indices with ids of their own, in the order in which rows stand in a list.
        trained: The empty index that they were all filled from; it is told how many rows there are.
        target: The file.

    Raises:
        OSError: The disk is full, or a part cannot be read.
    """
    opened = [open_lists(part) for part in parts]
    trained.ntotal = sum(index.ntotal for index in opened)
    sizes = np.sum([_sizes(index) for index in opened], axis=0)
    with target.open("wb") as file:
        file.write(_head(trained))
        _write_sizes(file, trained, sizes)
        for number in np.flatnonzero(sizes):
            pieces = list(_pieces(opened, int(number)))
            for piece in (*(codes for codes, _ in pieces), *(ids for _, ids in pieces)):
                piece.tofile(file)


def write_head(target: Path, trained: Any) -> None:
    """Write again what stands before the lists of a merged index, with the settings that `trained` has now."""
    with target.open("r+b") as file:
        file.write(_head(trained))


def _head(trained: Any) -> bytes:
    import faiss

    image = faiss.serialize_index(trained).tobytes()
    lists = trained.invlists
    ending = _EMPTY_LISTS.pack(b"ilar", lists.nlist, lists.code_size, b"sprs", 0)
    if not image.endswith(ending):
        raise RuntimeError(f"FAISS {faiss.__version__} writes inverted lists in another form")
    return image[: -len(ending)]


def _write_sizes(file: BinaryIO, trained: Any, sizes: npt.NDArray[np.int64]) -> None:
    lists = trained.invlists
    file.write(struct.pack("<4sQQ", b"ilar", lists.nlist, lists.code_size))
    filled = np.flatnonzero(sizes)
    if len(filled) > lists.nlist // 2:
        values, form = sizes, b"full"
    else:
        values, form = np.column_stack([filled, sizes[filled]]).ravel(), b"sprs"
    file.write(struct.pack("<4sQ", form, len(values)))
    file.write(values.astype("<u8").tobytes())


def _sizes(index: Any) -> npt.NDArray[np.int64]:
    return np.array([index.invlists.list_size(number) for number in range(index.nlist)], np.int64)


def _pieces(opened: Sequence[Any], number: int) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]:
    """Codes and ids of one list in each part that has some."""
    import faiss

    for index in opened:
        lists = index.invlists
        if size := lists.list_size(number):
            codes = faiss.rev_swig_ptr(lists.get_codes(number), size * lists.code_size)
            yield codes, faiss.rev_swig_ptr(lists.get_ids(number), size)
