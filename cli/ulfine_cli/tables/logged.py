"""Where a run was logged, in words, or why not all of it was."""

from typing import Any

from ulfine_cache.wording.counts import subject
from ulfine_cli.output import Output


def show_logged(figures: dict[str, Any], output: Output) -> None:
    """Print where the runs are, where all went well."""
    logged = figures.get("logged")
    if logged and logged["failed"] is None:
        runs = f"{subject(len(logged['runs']), 'run', 'is/are')}"
        output.line(f"{runs} in MLflow at {logged['tracking_uri']}, experiment {logged['experiment']!r}")


def not_logged(figures: dict[str, Any]) -> list[str]:
    """Say what is not there, in a line."""
    failed = (figures.get("logged") or {}).get("failed")
    return [failed] if failed else []


def show_report(figures: dict[str, Any], output: Output) -> None:
    """Print what `ulfine report` wrote, name by name, and where it logged the run."""
    output.pairs({name: value for name, value in figures.items() if name != "logged"})
    show_logged(figures, output)
