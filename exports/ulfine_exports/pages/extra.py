"""What pages need beyond the core: jinja2 for all of them, matplotlib for those with figures."""

import importlib.util

from ulfine_cache.errors import UlfineError

REMEDY = "pip install 'ulfine-fast[report]'"


def missing_packages(*, figures: bool = True) -> list[str]:
    """Name the packages that a page needs and that are not installed, without importing any.

    Args:
        figures: Whether the page has figures of matplotlib.
    """
    needed = ("jinja2", "matplotlib") if figures else ("jinja2",)
    return [name for name in needed if importlib.util.find_spec(name) is None]


def check_packages(thing: str, *, figures: bool = True) -> None:
    """Say what is to be installed, before anything is computed.

    Args:
        thing: What needs it, such as ``"the report"``.
        figures: As in `missing_packages`.

    Raises:
        UlfineError: A package is missing.
    """
    if names := missing_packages(figures=figures):
        raise UlfineError(f"{thing} needs {' and '.join(names)}: {REMEDY}")
