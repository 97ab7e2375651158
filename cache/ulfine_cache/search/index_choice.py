"""Which kind of FAISS index `--index auto` builds for how many rows.

Measured at 1,000,000 x 512 on features with the spectrum and the local dimension of CLIP's (see docs/benchmarks.md):
inverted lists with 4-bit codes, whose best candidates are compared again as float16, reach the same recall in a third
of the time of lists of float16 vectors, and are built several times faster than an HNSW graph, which is
moreover another one whenever several threads build it.
"""

import math

EXACT_ROWS = 200_000
"""Up to so many rows exact search answers in milliseconds and an approximate index only costs accuracy."""

CANDIDATES = 32
"""Times k: how many candidates of the 4-bit codes are compared again with their float16 vectors."""

CODE_CANDIDATES = 16
"""Times k: how many of the best codes of mergeable lists are compared again with their features in the shards."""

LARGEST_SHARE = 0.25
"""Of all lists: where more of them would have to be searched, comparing with every row is the better deal."""

_EXACT_BYTES = 4 << 30

_OWN_VECTORS_BYTES = 2 << 30
"""Up to so many bytes of float16 vectors the index holds a copy of them; beyond it reads those of the shards."""


def auto_kind(n_rows: int, width: int) -> str:
    """Return FAISS's factory string for the index to try first.

    Args:
        n_rows: Rows to index.
        width: Values D of a feature.

    Example:
        >>> auto_kind(1_000_000, 512)
        'IVF2048,PQ256x4fs,Refine(SQfp16)'
    """
    if n_rows <= EXACT_ROWS:
        return exact_kind(n_rows, width)
    # Half as many lists as the usual 4 sqrt(n): they train in a fourth of the time and search as fast, for the codes
    # are cheap to scan. A power of two, so that a few more images do not change it.
    lists = 2 ** round(math.log2(2 * math.sqrt(n_rows)))
    if width % 2:
        return f"IVF{lists},SQfp16"
    if n_rows * width * 2 > _OWN_VECTORS_BYTES:
        return f"IVF{lists},RaBitQ"
    return f"IVF{lists},PQ{width // 2}x4fs,Refine(SQfp16)"


def exact_kind(n_rows: int, width: int) -> str:
    """Return the factory string of an index that compares with every row: float16 where float32 takes over 4 GB."""
    return "Flat" if n_rows * width * 4 <= _EXACT_BYTES else "SQfp16"
