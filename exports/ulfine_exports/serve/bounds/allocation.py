"""Memory that has been freed, back to the system."""

import ctypes
import sys

_M_MMAP_THRESHOLD = -3
_THRESHOLD = 2**20


def give_large_memory_back() -> None:
    """Let the C library return all blocks of a megabyte or more to the system when they are freed, from now on.

    glibc would raise that bound to 32 MB by itself, and keep what is below: pictures are held in blocks of 16 MB, of
    which each thread that ever decoded keeps its own. Elsewhere than on Linux with glibc nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _THRESHOLD)
