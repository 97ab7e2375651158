"""What `ulfine split` shows."""

from typing import Any

from ulfine_cli.output import Output


def show(figures: dict[str, Any], output: Output) -> None:
    """Print how many rows each class gave, the most frequent class first; or the presets."""
    if "presets" in figures:
        _show_presets(figures["presets"], output)
        return
    classes = figures["class_names"]
    counts = zip(
        figures["ranks"],
        classes,
        figures["labelled_counts"],
        figures["unlabelled_counts"] or ["unknown"] * len(classes),
        figures["test_counts"],
        strict=True,
    )
    rows = [[str(cell) for cell in row] for _, *row in sorted(counts)]
    rows.append(["all", *(str(figures[part]) for part in ("labelled", "unlabelled", "test"))])
    output.table(["class", "labelled", "unlabelled", "test"], rows)
    output.line(f"written to {figures['path']}")


def _show_presets(presets: list[dict[str, Any]], output: Output) -> None:
    columns = ("name", "data_set", "labelled", "unlabelled", "source")
    rows = [["of each class" if preset[name] is None else str(preset[name]) for name in columns] for preset in presets]
    rows = [[*row[:3], row[3].replace("of each class", "all"), row[4].split(" (")[0]] for row in rows]
    output.table(["preset", "data set", "labelled", "unlabelled", "after"], rows)
