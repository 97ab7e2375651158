"""What a user may say about a source beyond its place."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

NO_COLUMN = "none"
"""Given as a column, it says that the table has no such column."""


@dataclass(frozen=True)
class SourceOptions:
    """How a source is to be read where its own names do not say.

    Attributes:
        path_column: Column of a table that names the images (or holds them), None to find it.
        label_column: Column with the classes, None to find it, "none" where there is none.
        set_column: Column with train, val and test; likewise.
        group_column: Column that says what images have in common, such as a camera, a site or a batch; likewise.
        root: Folder that the paths of a table are relative to, None for the table's own.
        extension: Ending that is missing at the paths of a table, such as ".jpg"; None to find the file that fits.
        missing_labels: Words, with commas between them, that mean unlabelled; None for those that other programs write
            for a missing value (`words.class_labels.MISSING`).
        captions_as_classes: Take what `KEY.txt` beside an image in a tar file says for its class.
    """

    path_column: str | None = None
    label_column: str | None = None
    set_column: str | None = None
    group_column: str | None = None
    root: Path | None = None
    extension: str | None = None
    missing_labels: str | None = None
    captions_as_classes: bool = False

    @property
    def missing(self) -> list[str] | None:
        """`missing_labels` as a list."""
        return None if self.missing_labels is None else [word.strip() for word in self.missing_labels.split(",")]

    @classmethod
    def from_request(cls, request: dict[str, Any]) -> "SourceOptions":
        """Read them out of the recorded request of a cache; what it does not hold is as if it was not given."""
        values: dict[str, Any] = {name: request[name] for name in cls.__dataclass_fields__ if name in request}
        if values.get("root"):
            values["root"] = Path(values["root"])
        return cls(**values)
