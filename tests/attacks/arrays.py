"""`.npz` files that are made to break what reads them."""

import io
import zipfile
from pathlib import Path

import numpy as np


def _npy(header: bytes, data: bytes = b"") -> bytes:
    padded = header + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + data


def _array(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=True)
    return buffer.getvalue()


def _patched(content: bytes, offset_local: int, offset_central: int, value: int) -> bytes:
    """Change a field of two bytes in all headers of a ZIP file."""
    data = bytearray(content)
    for magic, offset in ((b"PK\x03\x04", offset_local), (b"PK\x01\x02", offset_central)):
        place = data.find(magic)
        while place >= 0:
            data[place + offset : place + offset + 2] = value.to_bytes(2, "little")
            place = data.find(magic, place + 4)
    return bytes(data)


def write_hostile_npz(path: Path, kind: str) -> Path:
    """Write a file with features and labels, one of `KINDS` of which is hostile."""
    good = {
        "features": _array(np.eye(8, 4, dtype=np.float32) + 1),
        "labels": _array(np.repeat([0, 1], 4)),
    }
    members = {f"{name}.npy": data for name, data in good.items()}
    members |= {
        "nested header": {"features.npy": _npy(b"(" * 3000 + b")" * 3000)},
        "unfinished header": {"features.npy": _npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (8,")},
        "no dictionary": {"features.npy": _npy(b"[1, 2]")},
        "terabytes": {"features.npy": _npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000), }")},
        "beyond 64 bits": {"features.npy": _npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (10**30, 4), }")},
        "negative": {"features.npy": _npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-8, 4), }")},
        "objects": {"features.npy": _array(np.array([{}, 1], object))},
        "no arrays": {"features": b"text", "labels": b"text"},
        "features no array": {"features.npy": b"text"},
        "paths of no text": {"paths.npy": _array(np.zeros((2, 2, 2)))},
        "no dimension": {"features.npy": _array(np.float32(1)), "labels.npy": _array(np.int64(1))},
        "records": {"features.npy": _array(np.zeros(8, [("a", "<f4"), ("b", "<f4")]))},
        "future version": {"features.npy": b"\x93NUMPY\x09\x00" + good["features"][8:]},
        "cut": {"features.npy": good["features"][:-9]},
    }.get(kind, {})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    content = buffer.getvalue()
    if kind == "encrypted":
        content = _patched(content, 6, 8, 1)
    elif kind == "unknown compression":
        content = _patched(content, 8, 10, 97)
    elif kind == "not deflate":
        content = _patched(content, 8, 10, 8)
    elif kind == "not lzma":
        content = _patched(content, 8, 10, 14)
    elif kind == "not bzip2":
        content = _patched(content, 8, 10, 12)
    path.write_bytes(content)
    return path


KINDS = (
    *("encrypted", "unknown compression", "not deflate", "not lzma", "not bzip2", "nested header", "unfinished header"),
    *("no dictionary", "terabytes", "beyond 64 bits", "negative", "objects", "no arrays", "features no array"),
    *("paths of no text", "no dimension", "records", "future version", "cut"),
)
