"""`ulfine convert`: a cache in the formats of other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge

from ulfine_cache.command import Place, command
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.names.written import readable, readable_names
from ulfine_cache.progress import Progress, Silent

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache

Format = Literal["npy", "parquet", "clip-retrieval", "listing"]

ABOUT_FILE = "about.json"
"""In every format: what made the features, as JSON."""


@command
def convert(
    *,
    cache: Place,
    to: Format,
    out: Path,
    view: Annotated[int, Ge(0)] = 0,
    pre_projection: bool = False,
    apply: Path | None = None,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Write a cache in the format of other tools.

    The rows are read and written block by block, so memory does not grow with the features. The folder appears when it
    is complete; given again, the same command does nothing.

    Args:
        cache: Directory of the cache.
        to: ``npy``: arrays and JSON; ``parquet``: one table; ``clip-retrieval``: what clip-retrieval and autofaiss
            read, which as ``parquet`` needs the extra parquet; ``listing``: a CSV file of paths, labels and sets, from
            which ``cache-features`` makes a new cache.
        out: Folder to make; nothing may be there, or an empty folder. For a listing a ``.csv`` file, which is replaced.
        view: Which view of the images, counted from 0.
        pre_projection: The features from before the encoder's projection, which cache-features stores where it is
            told to.
        apply: CSV file of decisions about labels, as of ``fit``: what is written holds the labels that were decided.
        progress: Receives the stage "converting" in rows.

    Returns:
        Figures: cache, to, out, view, rows, features (the width), bytes; of a listing as
        `ulfine_cache.conversion.to_listing.write_listing`.

    Raises:
        UsageError: The cache has no such view, or nothing from before the projection.
        UlfineError: The cache is damaged, `out` holds something else or cannot be written, or pyarrow is missing.

    Example:
        >>> convert(cache=Path("photos-cache"), to="npy", out=Path("photos-npy"))["rows"]
        80
    """
    from ulfine_cache.atomic import new_directory
    from ulfine_cache.conversion.to_clip_retrieval import write_clip_retrieval
    from ulfine_cache.conversion.to_listing import write_listing
    from ulfine_cache.conversion.to_npy import write_npy
    from ulfine_cache.conversion.to_parquet import write_parquet
    from ulfine_cache.labelling.relabelled import open_relabelled

    if to == "listing":
        return write_listing(open_relabelled(cache, apply, progress=progress), out)
    write = {"npy": write_npy, "parquet": write_parquet, "clip-retrieval": write_clip_retrieval}[to]
    opened = open_relabelled(cache, apply, text=True, progress=progress)
    if view >= opened.n_views:
        raise UsageError(f"--view {view}: {cache} has the views 0 to {opened.n_views - 1}")
    if pre_projection and not opened.n_features_pre:
        raise UsageError(f"--pre-projection: {cache} was made without `cache-features --pre-projection`")
    about = _about(opened, to, view, pre_projection=pre_projection)
    if _is_there(out, about):
        progress.note(f"{out} is complete: nothing to do")
    else:
        with new_directory(out) as folder:
            write(opened, view, folder, progress, pre_projection=pre_projection)
            (folder / ABOUT_FILE).write_text(about, "utf-8")
    return {
        "cache": str(cache),
        "to": to,
        "out": str(out),
        "view": view,
        "rows": opened.n_rows,
        "features": opened.width(pre_projection=pre_projection),
        "bytes": sum(path.stat().st_size for path in out.rglob("*") if path.is_file()),
    }


def _is_there(out: Path, about: str) -> bool:
    from ulfine_cache.sources.trees.regular_file import read_text

    try:
        if read_text(out / ABOUT_FILE) == about:
            return True
    except (OSError, ValueError):
        pass
    if out.is_dir() and not any(out.iterdir()):
        return False
    if out.exists() or out.is_symlink():
        raise UlfineError(f"{out} holds something else, or an earlier state of the cache: choose another --out")
    return False


def _about(cache: FeatureCache, to: Format, view: int, *, pre_projection: bool) -> str:
    from ulfine_cache.labelling.relabelled import RelabelledCache

    names = ("model", "pretrained", "weights_hash", "precision", "templates", "source", "created")
    about = {
        "format": to,
        "fingerprint": cache.fingerprint,
        "rows": cache.n_rows,
        "features": cache.width(pre_projection=pre_projection),
        "pre_projection": pre_projection,
        "view": view,
        "views": str(cache.attributes.get("views", "")),
        **{name: readable(str(cache.attributes.get(name, ""))) for name in names},
        "preprocess": json.loads(cache.attributes.get("preprocess") or "null"),
        "versions": json.loads(cache.attributes.get("versions") or "null"),
        "class_names": readable_names(cache.class_names),
        "splits": list(map(readable, cache.split_names())),
        **({"applied": cache.applied} if isinstance(cache, RelabelledCache) else {}),
    }
    return json.dumps(about, indent=2, ensure_ascii=False) + "\n"
