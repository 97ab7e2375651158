"""A cache as the table of its images that it may be made from again: paths, labels and sets."""

from pathlib import Path
from typing import Any

from ulfine_cache.atomic import make_directory, replacing
from ulfine_cache.errors import UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.names.csv_cells import csv_lines

COLUMNS = ("path", "label", "set")


def write_listing(cache: FeatureCache, out: Path) -> dict[str, Any]:
    """Write one line per image: its path relative to the source, its class ("" where unlabelled) and its set.

    ``cache-features OUT --root SOURCE`` reads it where the source is a folder or a table.

    Args:
        cache: An open cache, or one with other labels.
        out: A ``.csv`` file; what is there is replaced.

    Returns:
        Figures: cache, to ("listing"), out, rows, labelled, source (where the images are).

    Raises:
        UsageError: The name does not end in ``.csv``.
        UlfineError: It cannot be written, or a shard is damaged.

    Example:
        >>> write_listing(cache, Path("listing.csv"))["rows"]
        80
    """
    if out.suffix.lower() != ".csv":
        raise UsageError(f"--to listing writes a CSV file: {out} does not end in .csv")
    names = [*cache.class_names, ""]
    make_directory(out.parent)
    with replacing(out) as partial, csv_lines(partial) as write:
        write(COLUMNS)
        for path, label, set_name in zip(cache.paths, cache.labels.tolist(), cache.set_names.tolist(), strict=True):
            write([path, names[label], set_name])
    return {
        "cache": str(cache.path),
        "to": "listing",
        "out": str(out),
        "rows": cache.n_rows,
        "labelled": int((cache.labels >= 0).sum()),
        "source": str(cache.attributes.get("source") or "") or None,
    }
