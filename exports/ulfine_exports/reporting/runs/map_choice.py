"""How the map of the features is drawn."""

from __future__ import annotations

import importlib.util
from typing import Literal

from ulfine_cache.errors import UlfineError

MapMethod = Literal["auto", "pca", "tsne"]
"""``"auto"``: t-SNE where openTSNE is installed, principal components elsewhere."""

PCA, TSNE = "pca", "tsne"


def map_method(wanted: MapMethod) -> str:
    """Decide how to draw.

    Raises:
        UlfineError: t-SNE was asked for, and openTSNE is not installed.

    Example:
        >>> map_method("pca")
        'pca'
    """
    there = importlib.util.find_spec("openTSNE") is not None
    if wanted == TSNE and not there:
        raise UlfineError("--map tsne needs openTSNE: pip install 'ulfine-fast[tsne]', or take --map pca")
    return TSNE if there and wanted != PCA else PCA
