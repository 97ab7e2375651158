"""What happened step by step, as a CSV file and as TensorBoard events."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from ulfine_cache.errors import UlfineError
from ulfine_cache.names.csv_cells import csv_lines


def write_history_csv(path: Path, history: Sequence[dict[str, float]]) -> None:
    """Write one line per entry. Columns stand in order of first appearance; what an entry lacks is empty.

    Args:
        path: Target.
        history: Entries such as ``{"step": 1, "loss": 2.3}``; may be empty, which gives the header ``step`` alone.
    """
    columns = list(dict.fromkeys(["step", *(name for entry in history for name in entry)]))
    with csv_lines(path) as write:
        write(columns)
        for number, entry in enumerate(history, start=1):
            figures = entry | {"step": int(entry.get("step", number))}
            write([], [figures.get(name, "") for name in columns])


def read_history_csv(path: Path) -> list[dict[str, float]]:
    """Read what `write_history_csv` wrote; what was empty is not there.

    Raises:
        UlfineError: The file is damaged.

    Example:
        >>> read_history_csv(Path("runs/first/history.csv"))[0]["round"]
        0.0
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file, strict=True))
        return [{name: float(text) for name, text in line.items() if text} for line in lines]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise UlfineError(f"{path} is damaged: fit the run again") from error


def write_tensorboard(folder: Path, history: Sequence[dict[str, float]], final: dict[str, float]) -> None:
    """Write one ``events.out.tfevents...`` file.

    Args:
        folder: Where TensorBoard will look; must exist.
        history: As in `write_history_csv`; every figure but ``step`` becomes the scalar ``train/<name>``.
        final: Figures of the finished run; each becomes the scalar ``test/<name>`` at the last step.
    """
    from tensorboardX import SummaryWriter

    last = 0
    with SummaryWriter(logdir=str(folder)) as writer:
        for number, entry in enumerate(history, start=1):
            last = int(entry.get("step", number))
            for name, value in entry.items():
                if name != "step":
                    writer.add_scalar(f"train/{name}", value, global_step=last)
        for name, value in final.items():
            writer.add_scalar(f"test/{name}", value, global_step=last)
