"""`ulfine models`: which encoders there are."""

from __future__ import annotations

from typing import Any

from ulfine_cache.command import command
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent


@command
def models(
    *,
    word: str = "",
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """List the encoders that this machine can make.

    From the configurations of open_clip and timm: nothing is downloaded and no network is needed. ``cache-features``
    takes the names for ``--model``, and for ``--pretrained`` one of the weights; timm's names say their weights after
    the point.

    Args:
        word: Part of a name, such as ``dinov2``, or several in quotes; without it all are listed.
        progress: Not told anything.

    Returns:
        Figures: ``models``, a list of ``name``, ``weights`` (for ``--pretrained``), ``input`` (height and width in
        pixels), ``features`` (width; None of timm's models where more than 40 are listed), ``text`` (bool) and
        ``licence`` of the weights (``unknown`` where the library does not record it, as open_clip).

    Raises:
        UlfineError: No name holds the word.

    Example:
        >>> [found["features"] for found in models(word="tiny builtin")["models"]]
        [128]
    """
    from ulfine_cache.encoders.catalogue import list_encoders

    found = list_encoders(word)
    if not found:
        raise UlfineError(f"no model has {word!r} in its name: try a part of it, such as vit or dino")
    return {"models": found}
