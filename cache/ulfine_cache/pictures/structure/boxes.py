"""The boxes that JPEG 2000 and JPEG XL files are made of (ISO/IEC 15444-1, annex I)."""

from collections.abc import Iterator
from typing import Final

MAX_BOXES: Final = 2**16
"""Most boxes that are looked at."""


def boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each box, and where its content begins and ends; the last one may reach beyond the file."""
    position = 0
    for _ in range(MAX_BOXES):
        if position + 8 > len(data):
            return
        length = int.from_bytes(data[position : position + 4], "big")
        begins = 16 if length == 1 else 8
        if length == 1:
            length = int.from_bytes(data[position + 8 : position + 16], "big")
        # 0 stands for all that follows.
        end = len(data) if length == 0 else position + length
        yield data[position + 4 : position + 8], position + begins, end
        if length < begins:
            return
        position = end
