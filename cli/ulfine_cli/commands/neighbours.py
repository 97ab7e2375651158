"""What `ulfine neighbours` shows."""

from typing import Any

from ulfine_cli.output import Output


def show(figures: dict[str, Any], output: Output) -> None:
    """Print one table for each query, the nearest image first."""
    for place, query in enumerate(figures["queries"]):
        if place:
            output.line()
        title = f"{query['query']} ({query['meaning']})"
        rows = [
            [item["path"], str(item["rank"]), f"{item['similarity']:.4f}", item["class"] or "-"]
            for item in query["neighbours"]
        ]
        output.table(["path", "rank", "similarity", "class"], rows, title=title)
