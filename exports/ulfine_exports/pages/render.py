r"""A page from a template: one file, with its style and scripts inside and a policy that lets nothing else in.

Names of files and classes may hold anything. In a template ``{{ name }}`` escapes HTML and writes control characters,
line breaks and marks of direction as ``\x1b`` and the like (`ulfine_cache.names.written.shown`).
"""

import base64
import functools
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.names.written import shown

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
"""Where templates, styles and scripts of all pages are."""

LONGEST_NAME = 80
"""Characters of a name that are shown; what is longer loses its middle."""


def render(
    template: str,
    *,
    title: str,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    served: bool = False,
    **context: Any,
) -> str:
    """Render a page.

    The page's Content-Security-Policy starts from ``default-src 'none'`` and names the hash of the style and of the
    script: nothing is loaded from anywhere, no attribute may hold a style or a script.

    Args:
        template: File in `TEMPLATES` that extends ``shell.html`` and fills the blocks ``header``, ``main`` and
            ``footer``. Filters beside Jinja's own: ``short`` cuts a name, ``path`` a path,
            ``lines`` keeps the lines of a text, ``percent`` and ``figure`` write numbers.
        title: Of the window.
        styles: CSS files in `TEMPLATES`, after ``page.css``.
        scripts: JavaScript files in `TEMPLATES`, run in this order at the end of the page. ``sort.js`` sorts every
            table of the class ``sortable`` by a click on a heading.
        served: The page comes from a server of this machine, which it may also ask for data and pictures.
        **context: What the template shows. Text is escaped; `markupsafe.Markup` is written as it is.

    Returns:
        HTML, valid Unicode. Same arguments, same text.

    Example:
        >>> page = render("plain.html", title="<b>", paragraphs=["1 < 2"])
        >>> "<title>&lt;b&gt; · ulfine</title>" in page, "1 &lt; 2" in page
        (True, True)
    """
    from markupsafe import Markup

    style = "".join(_read(name) for name in ("page.css", *styles))
    script = "".join(_read(name) for name in scripts)
    page = _environment().get_template(template)
    return page.render(
        title=title,
        style=Markup(style),
        script=Markup(script),
        policy=content_policy(style, script, served=served),
        **context,
    )


def content_policy(style: str, script: str, *, served: bool = False) -> str:
    """Return the Content-Security-Policy of a page with one style and one script, which may be "".

    Example:
        >>> content_policy("", "")
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'"
    """
    pictures = "'self' data: blob:" if served else "data:"
    parts = ["default-src 'none'", f"img-src {pictures}"]
    parts += [f"style-src {policy_hash(style)}"] if style else []
    parts += [f"script-src {policy_hash(script)}"] if script else []
    parts += ["connect-src 'self'"] if served else []
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'"])


def policy_hash(text: str) -> str:
    """Name a style or script in a policy: nothing else of its kind is let in."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def short(name: str, most: int = LONGEST_NAME) -> str:
    r"""Cut the middle out of a long name; it is made one line first.

    Example:
        >>> short("a" * 100, 9), short("line\nbreak")
        ('aaaa…aaaa', 'line\\nbreak')
    """
    name = shown(name)
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[len(name) - half :]}"


def _lines(text: str) -> "Markup":
    """A text of several lines, each made safe."""
    from markupsafe import Markup, escape

    return Markup("\n").join(escape(shown(line)) for line in text.split("\n"))


def _path(text: str, most: int = LONGEST_NAME) -> "Markup":
    """A short path that is broken between its parts first."""
    from markupsafe import Markup, escape

    parts = re.split(r"(?<=[/\\\\_ -])", short(text, most))
    return Markup("<wbr>").join(escape(part) for part in parts)


def _percent(fraction: float | None, digits: int = 1) -> str:
    return "–" if fraction is None or fraction != fraction else f"{100 * fraction:.{digits}f}\u00a0%"


def _figure(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _finalize(value: Any) -> Any:
    return shown(value) if type(value) is str else value


@functools.cache
def _read(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


@functools.cache
def _environment() -> "Environment":
    from ulfine_exports.pages.extra import check_packages

    check_packages("a page", figures=False)
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters.update(short=short, path=_path, lines=_lines, percent=_percent, figure=_figure)
    return environment
