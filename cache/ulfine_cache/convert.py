"""`ulfine convert`: a cache in the formats of other tools."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ulfine_cache.atomic import new_directory
from ulfine_cache.config import StrictConfig
from ulfine_cache.conversion.to_clip_retrieval import write_clip_retrieval
from ulfine_cache.conversion.to_npy import write_npy
from ulfine_cache.conversion.to_parquet import write_parquet
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.progress import Progress, Silent

Format = Literal["npy", "parquet", "clip-retrieval"]

ABOUT_FILE = "about.json"
"""In every format: what made the features, as JSON."""
_WRITERS: dict[str, Callable[..., None]] = {
    "npy": write_npy,
    "parquet": write_parquet,
    "clip-retrieval": write_clip_retrieval,
}


class ConvertConfig(StrictConfig):
    """The parameters of `convert`."""

    cache: Path
    to: Format
    out: Path
    view: int = Field(default=0, ge=0)
    pre_projection: bool = False


def convert(
    *,
    cache: Path,
    to: Format,
    out: Path,
    view: int = 0,
    pre_projection: bool = False,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Write one view of a cache as a folder for other tools.

    The rows are read and written block by block, so memory does not grow with the features. The folder appears when it
    is complete; given again, the same command does nothing.

    Args:
        cache: The cache directory.
        to: "npy" (arrays and JSON), "parquet" (one table, needs pyarrow) or "clip-retrieval" (`img_emb/` and
            `metadata/` as `clip-retrieval inference` writes them, needs pyarrow).
        out: The folder to make; nothing may be there, or an empty folder.
        view: Which view, 0 <= view < views of the cache.
        pre_projection: Write the features from before the encoder's projection, which `cache_features` stores where it
            is told to.
        progress: Receives the stage "converting" in rows.

    Returns:
        Figures: cache, to, out, view, rows, features (the width), bytes.

    Raises:
        UsageError: The cache has no such view, or nothing from before the projection.
        UlfineError: The cache is damaged, `out` holds something else or cannot be written, or pyarrow is missing.

    Example:
        >>> convert(cache=Path("photos-cache"), to="npy", out=Path("photos-npy"))["rows"]
        80
    """
    config = ConvertConfig.checked(cache=cache, to=to, out=out, view=view, pre_projection=pre_projection)
    opened = FeatureCache.open(config.cache)
    if config.view >= opened.n_views:
        raise UsageError(f"--view {config.view}: {config.cache} has the views 0 to {opened.n_views - 1}")
    if config.pre_projection and not opened.n_features_pre:
        raise UsageError(f"--pre-projection: {config.cache} was made without `cache-features --pre-projection`")
    about = _about(opened, config)
    if _is_there(config.out, about):
        progress.note(f"{config.out} is complete: nothing to do")
    else:
        with new_directory(config.out) as folder:
            _WRITERS[config.to](opened, config.view, folder, progress, pre_projection=config.pre_projection)
            (folder / ABOUT_FILE).write_text(about, "utf-8")
    return {
        "cache": str(config.cache),
        "to": config.to,
        "out": str(config.out),
        "view": config.view,
        "rows": opened.n_rows,
        "features": opened.width(pre_projection=config.pre_projection),
        "bytes": sum(path.stat().st_size for path in config.out.rglob("*") if path.is_file()),
    }


def _is_there(out: Path, about: str) -> bool:
    try:
        if (out / ABOUT_FILE).read_text("utf-8") == about:
            return True
    except (OSError, ValueError):
        pass
    if out.is_dir() and not any(out.iterdir()):
        return False
    if out.exists() or out.is_symlink():
        raise UlfineError(f"{out} holds something else, or an earlier state of the cache: choose another --out")
    return False


def _about(cache: FeatureCache, config: ConvertConfig) -> str:
    names = ("model", "pretrained", "weights_hash", "precision", "templates", "source", "created")
    about = {
        "format": config.to,
        "fingerprint": cache.fingerprint,
        "rows": cache.n_rows,
        "features": cache.width(pre_projection=config.pre_projection),
        "pre_projection": config.pre_projection,
        "view": config.view,
        "views": str(cache.attributes.get("views", "")),
        **{name: str(cache.attributes.get(name, "")) for name in names},
        "preprocess": json.loads(cache.attributes.get("preprocess") or "null"),
        "versions": json.loads(cache.attributes.get("versions") or "null"),
        "class_names": cache.class_names,
        "splits": cache.split_names(),
    }
    return json.dumps(about, indent=2, ensure_ascii=False) + "\n"
