"""Whether predictions go to a folder of parts. Imports nothing, for the command line asks, too."""

from pathlib import Path


def is_for_parts(out: Path | str | None) -> bool:
    """Say whether an ``--out`` names a folder: one that is there, or a name without an ending.

    Example:
        >>> is_for_parts(Path("predictions")), is_for_parts(Path("predictions.csv"))
        (True, False)
    """
    return out is not None and (Path(out).is_dir() or not Path(out).suffix)
