"""Let FAISS train without lines of its own on the terminal."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet_training(index: Any) -> Generator[None]:
    """Keep FAISS from writing to stderr that it would like more rows, for every clustering inside an index.

    The trained index has the same bytes either way; what too few rows cost is in the recall that is measured.

    Args:
        index: A FAISS index of any kind.
    """
    rotations: list[Any] = []
    _relax(index, rotations)
    # FAISS looks at what it was given while it trains, and does not own it.
    held = [_own_quantizer(rotation) for rotation in rotations]
    try:
        yield
    finally:
        for rotation in rotations:
            rotation.pq = None
        del held


def _relax(index: Any, rotations: list[Any]) -> None:
    import faiss

    index = faiss.downcast_index(index)
    for part in ("base_index", "index"):
        inner = getattr(index, part, None)
        if isinstance(inner, faiss.Index):
            _relax(inner, rotations)
    for holder in (index, getattr(index, "pq", None), getattr(index, "rq", None)):
        clustering = getattr(holder, "cp", None)
        if clustering is not None:
            clustering.min_points_per_centroid = 1
    chain = getattr(index, "chain", None)
    for place in range(chain.size() if chain is not None else 0):
        transform = faiss.downcast_VectorTransform(chain.at(place))  # pyright: ignore[reportOptionalMemberAccess]
        if isinstance(transform, faiss.OPQMatrix):
            rotations.append(transform)


def _own_quantizer(rotation: Any) -> Any:
    import faiss

    # What FAISS itself would make, see OPQMatrix::train.
    quantizer = faiss.ProductQuantizer(rotation.d_out, rotation.M, 8)
    quantizer.cp.min_points_per_centroid = 1
    rotation.pq = quantizer
    return quantizer
