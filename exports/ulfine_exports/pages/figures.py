"""Figures of matplotlib as SVG inside a page: same data, same bytes, and colours that follow the page.

Figures are drawn without a window and without pyplot. matplotlib writes colours as styles, which the pages' policy
forbids; here they become attributes. ``page.css`` turns the colours named here into those of the dark page.
"""

import io
import re
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK, QUIET, LINE = "#22262b", "#5d646d", "#d6d3cc"
ACCENT, AMBER, SLATE, WRONG = "#0b6e63", "#c2681a", "#7b8794", "#a3231f"
SERIES = (ACCENT, AMBER, SLATE, "#6d4fa1", "#3b7dc4", "#8c6d1f")
"""Colours of things side by side, in this order. Each is named in ``page.css`` too."""

WIDTH = 5.0
"""Inches of 72 units: 360 units, a phone's width almost, so that the letters of a figure can be read there."""

_STYLE: Any = {
    "axes.edgecolor": QUIET,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.labelcolor": INK,
    "axes.labelsize": 11,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.facecolor": "none",
    # Letters stay letters: small, searchable, and in the page's font.
    "svg.fonttype": "none",
    "text.color": INK,
    # A dollar in the name of a class is no formula.
    "text.parse_math": False,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
}

_TAG = re.compile(r"<[a-zA-Z][^<>]*>")
_STYLED = re.compile(r'\sstyle="([^"]*)"')
_IDENTITY = re.compile(r'(<g) id="(?!u-)[^"]*"')
_FONT_SIZE = re.compile(r"([\d.]+)px")
_ROOT = re.compile(r"<svg [^>]*>", re.DOTALL)
_VIEW_BOX = re.compile(r'viewBox="([^"]*)"')


@contextmanager
def drawing(
    label: str, *, height: float = 3.1, width: float = WIDTH, columns: int = 1
) -> "Generator[tuple[Figure, Any, Drawn]]":
    """Draw one figure.

    Args:
        label: What the picture shows, for who cannot see it; different for every figure of a page.
        height: Inches.
        width: Inches.
        columns: Axes side by side.

    Yields:
        The figure; its axes, or an array of them where there are several; and what holds the SVG after the block.

    Example:
        >>> with drawing("a line") as (figure, axes, drawn):
        ...     lines = axes.plot([0, 1], [0, 1])
        >>> drawn.svg[:29]
        Markup('<svg class="plot" role="img" ')
    """
    drawn = Drawn()
    with styled_figure(label, height=height, width=width, columns=columns) as (figure, axes):
        yield figure, axes, drawn
        target = io.StringIO()
        figure.savefig(target, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    drawn.svg = _for_a_page(target.getvalue(), label)


@contextmanager
def styled_figure(
    label: str, *, height: float, width: float, columns: int = 1, more: "dict[str, Any] | None" = None
) -> "Generator[tuple[Figure, Any]]":
    """Make a figure in the style of the pages, which holds until the block ends.

    Args:
        label: As for `drawing`.
        height: Inches.
        width: Inches.
        columns: Axes side by side.
        more: Parameters of matplotlib that win over the style.

    Yields:
        The figure, and its axes or an array of them.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Whatever the user's own figures look like, these look the same everywhere.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE | {"svg.hashsalt": label} | (more or {}))
        # Letters that matplotlib's font lacks are the browser's affair.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, figure.subplots(1, columns)


class Drawn:
    """What `drawing` gives when its block has ended.

    Attributes:
        svg: The figure, to be written into a template as it is.
    """

    svg: "Markup"


def legend_on_top(figure: "Figure") -> None:
    """Name what is drawn in a line above the axes, where it hides nothing."""
    figure.legend(
        loc="outside upper left", ncols=5, handletextpad=0.5, handlelength=1.4, columnspacing=1.1, borderaxespad=0.2
    )


def percent_ticks(axis: "Axis", *, points: bool = False) -> None:
    """Label fractions in percent, or differences of fractions in points with their sign."""
    from matplotlib.ticker import FuncFormatter

    def words(fraction: float, place: int | None) -> str:
        return (
            f"{100 * fraction:+.3g}"
            if points and round(fraction, 9)
            else f"{100 * fraction:.3g}{'' if points else ' %'}"
        )

    axis.set_major_formatter(FuncFormatter(words))


def percent_axis(axes: "Axes", which: str = "y") -> None:
    """Let an axis run from 0 to 1 and be labelled in percent."""
    percent_ticks(axes.yaxis if which == "y" else axes.xaxis)
    (axes.set_ylim if which == "y" else axes.set_xlim)(-0.02, 1.02)


def _for_a_page(text: str, label: str) -> "Markup":
    from markupsafe import Markup, escape

    root = _ROOT.search(text)
    assert root
    box = _VIEW_BOX.search(root[0])
    assert box
    body = text[root.end() :]
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"\s*<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>", "", body)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = _TAG.sub(lambda found: _STYLED.sub(_as_attributes, _IDENTITY.sub(r"\1", found[0])), body)
    body = re.sub(r"\n\s*", "\n", body)
    return Markup(f'<svg class="plot" role="img" aria-label="{escape(label)}" viewBox="{box[1]}">{body}')


def _as_attributes(found: "re.Match[str]") -> str:
    attributes: list[str] = []
    for declaration in found[1].split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font":
            name, value = "font-size", (_FONT_SIZE.search(value) or ["", "11"])[1]
        if name and name != "font-family":
            attributes.append(f' {name}="{value}"')
    return "".join(attributes)
