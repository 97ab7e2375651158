"""A file of decisions about labels: ``path,label,former,time``, one line each, the last one about an image counts.

`ulfine label` appends to such a file; people may write one by hand, with a spreadsheet too. Only ``path`` and ``label``
must be there, and an empty label means unlabelled.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.sources.tables.csv_table import CsvTable
from ulfine_cache.sources.trees.regular_file import read_regular
from ulfine_cache.sources.words.class_labels import MISSING, class_text, means_unlabelled
from ulfine_cache.wording.counts import amount, subject

COLUMNS = ("path", "label", "former", "time")
"""Of the file that `ulfine label` writes."""

UNLABELLED = ""
"""The label of an image without one."""


@dataclass(frozen=True)
class Decisions:
    """What was decided last about each image.

    Attributes:
        file: Where it stands, for messages.
        labels: Path of an image to the name of its class, "" for none; in the order in which they first came.
        lines: Path to where its last decision stands, such as "line 7".
    """

    file: str
    labels: Mapping[str, str]
    lines: Mapping[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of what was decided, whatever the order, the times and the former labels; 64 hexadecimal digits."""
        return hashlib.sha256(json.dumps(sorted(self.labels.items())).encode()).hexdigest()


def read_decisions(file: Path, progress: Progress = Silent()) -> Decisions:  # noqa: B008
    r"""Read a file of decisions.

    Everything that tables may be is understood (`ulfine_cache.sources.tables.csv_table`): a byte order mark, CRLF,
    semicolons or tabs, the apostrophe before what a spreadsheet would run.

    Args:
        file: A CSV file with a header.
        progress: Told about images that are decided more than once, and about a last line that was cut off.

    Raises:
        UlfineError: It cannot be read, has no column of paths or labels, or a line names no image or no class; one line
            says which.

    Example:
        >>> _ = Path("labels.csv").write_text("path,label\nseven/0001.png,three\n")
        >>> dict(read_decisions(Path("labels.csv")).labels)
        {'seven/0001.png': 'three'}
    """
    try:
        content = read_regular(str(file))
    except OSError as error:
        raise UlfineError(f"cannot read the decisions in {file}: {reason(error)}") from error
    whole = content[: complete_length(content)]
    table = CsvTable(str(file), lambda: io.BytesIO(whole or content))
    # A file of one's own may lack the last line's end; in one that `ulfine label` wrote, that line is half a decision.
    cut_off = len(whole) < len(content) and COLUMNS[-1] in table.columns
    if cut_off:
        progress.note(f"the last line of {file} was cut off while it was written, and is left out")
    else:
        table = CsvTable(str(file), lambda: io.BytesIO(content))
    columns = list(table.columns)
    missing = [name for name in COLUMNS[:2] if columns.count(name) != 1]
    if missing:
        found = ", ".join(repr(name) for name in columns) or "nothing"
        raise UlfineError(
            f"{file} has not one column {missing[0]!r} among {found}: decisions have path and label, such as "
            "path,label,former,time"
        )
    labels: dict[str, str] = {}
    lines: dict[str, str] = {}
    again = 0
    for where, (path, label) in table.rows(COLUMNS[:2]):
        path = str(path)
        if not path:
            raise UlfineError(f"{file}, {where}: a decision without a path")
        again += path in labels
        labels[path], lines[path] = _label(str(label)), where
    if again:
        progress.note(f"{file}: {subject(again, 'line', 'is/are')} about images that come again later: the last counts")
    return Decisions(str(file), labels, lines)


def complete_length(content: bytes) -> int:
    r"""Return how many bytes of a CSV file are whole lines; a line break inside quotes ends none.

    Example:
        >>> complete_length(b'a,b\n"x\n",'), complete_length(b"")
        (4, 0)
    """
    if content.endswith(b"\n") and content.count(b'"') % 2 == 0:
        return len(content)
    end = content.rfind(b"\n")
    quotes = content.count(b'"', 0, end + 1)
    while end >= 0 and quotes % 2:
        earlier = content.rfind(b"\n", 0, end)
        quotes -= content.count(b'"', earlier + 1, end + 1)
        end = earlier
    return end + 1


def class_decided(text: str) -> str:
    """Return the name of a class as it was typed, without what nobody sees.

    Raises:
        ValueError: It cannot be the name of a class; the message says why.

    Example:
        >>> class_decided("  grey   heron ")
        'grey heron'
    """
    name = class_text(" ".join(text.split()))
    if not name or name == "-1" or name in MISSING or means_unlabelled(name):
        raise ValueError(f"{name!r} means that there is no class: choose another name")
    return name


def _label(text: str) -> str:
    # As tables say it.
    return UNLABELLED if text == "-1" or means_unlabelled(text) or text in MISSING else text


def describe(decisions: Decisions) -> dict[str, object]:
    """What a run or a split remembers of the decisions that were applied: how many, their SHA-256 and their file."""
    return {"file": decisions.file, "decisions": len(decisions.labels), "sha256": decisions.digest}


def decided(count: int) -> str:
    """Say how many decisions there are.

    Example:
        >>> decided(1)
        '1 decision about labels'
    """
    return amount(count, "decision") + " about labels"
