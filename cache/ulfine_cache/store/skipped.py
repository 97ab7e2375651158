"""`skipped.csv`: every input that has no row in the cache, with the reason."""

from collections.abc import Iterable
from pathlib import Path

from ulfine_cache.atomic import replacing
from ulfine_cache.names.csv_cells import csv_lines
from ulfine_cache.store.layout import SKIPPED_FILE


def write_skipped(cache: Path, skipped: Iterable[tuple[str, str]]) -> int:
    """Write the list, with a header even where it is empty, and return its length.

    Args:
        cache: The cache directory.
        skipped: (path relative to the source, reason) in source order.

    Raises:
        UlfineError: The directory cannot be written.
    """
    count = 0
    with replacing(cache / SKIPPED_FILE, goes_on=True) as partial, csv_lines(partial, end="\r\n") as write:
        write(["path", "reason"])
        for row in skipped:
            write(row)
            count += 1
    return count
