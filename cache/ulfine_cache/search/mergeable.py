"""Which kinds of index are built in parts that are then merged, and which of them are compared again."""

import re

_MERGEABLE = re.compile(r"IVF\d+(_HNSW\d+)?,(PQ\d+(x\d+)?(np)?|RaBitQ\d*|SQ\w+|Flat)")
_SHORT_CODES = re.compile(r",(PQ|RaBitQ)")


def is_mergeable(kind: str) -> bool:
    """Whether FAISS's lists of this kind, filled apart, can be put one behind the other: they have no other state.

    Args:
        kind: FAISS factory string.

    Example:
        >>> is_mergeable("IVF4096,RaBitQ"), is_mergeable("IVF4096,PQ256x4fs,Refine(SQfp16)")
        (True, False)
    """
    return _MERGEABLE.fullmatch(kind) is not None


def has_short_codes(kind: str) -> bool:
    """Whether a mergeable kind keeps too little of a row to rank by it alone."""
    return is_mergeable(kind) and _SHORT_CODES.search(kind) is not None
