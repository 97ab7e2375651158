"""The line that says which class distribution the answers are for."""

from typing import Any

from ulfine_cli.output import Output, percent

_CLASSES_SHOWN = 3


def show_test_prior(figures: dict[str, Any], output: Output) -> None:
    """Print the test prior and its most frequent classes; nothing where none was asked for.

    Args:
        figures: With ``test_prior`` and ``class_prior``, name to share, or without them.
        output: Where to.
    """
    if "test_prior" not in figures:
        return
    shares = sorted(figures["class_prior"].items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} {percent(share)} %" for name, share in shares[:_CLASSES_SHOWN])
    rest = f" and {len(shares) - _CLASSES_SHOWN} more" if len(shares) > _CLASSES_SHOWN else ""
    output.line(f"test prior {figures['test_prior']}: {shown}{rest}")
