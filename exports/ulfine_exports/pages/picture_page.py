"""The page on which people drop pictures: that of a server, and the one that holds its model inside. No jinja2."""

from collections.abc import Mapping
from pathlib import Path

from ulfine_exports.pages.render import policy_hash

_FOLDER = Path(__file__).parent / "pictures"
_STYLE, _SCRIPT = '<link rel="stylesheet" href="page.css">', '<script src="page.js" defer></script>'
_POLICY = '<meta name="viewport"'


def page_file(name: str) -> str:
    """The text of ``page.html``, ``page.css`` or ``page.js``."""
    return (_FOLDER / name).read_text("utf-8")


def whole_page(runtime: str, model: str, data: Mapping[str, tuple[str, str]], more_scripts: str = "") -> str:
    """Put everything into one file, which may ask nobody for anything.

    Args:
        runtime: JavaScript module that the page needs; it leaves one global behind.
        model: JavaScript that follows ``page.js`` and opens a model.
        data: Id to type and text of blocks that are no scripts; a text must not hold ``<``.
        more_scripts: Sources of scripts that the page may load besides, as in a Content-Security-Policy.

    Returns:
        HTML.
    """
    style = page_file("page.css")
    # Each script is a block of its own, so that no name of one is another's.
    scripts = [runtime, f"{{\n{page_file('page.js')}\n{model}\n}}"]
    allowed = " ".join(map(policy_hash, scripts))
    policy = (
        f"default-src 'none'; img-src data:; style-src {policy_hash(style)}; "
        f"script-src {allowed} 'wasm-unsafe-eval'{more_scripts}; base-uri 'none'; form-action 'none'"
    )
    blocks = [f'<script type="{kind}" id="{name}">{text}</script>' for name, (kind, text) in data.items()]
    blocks += [f'<script type="module">{script}</script>' for script in scripts]
    page = page_file("page.html")
    head, _, tail = page.partition(_POLICY)
    page = f'{head}<meta http-equiv="Content-Security-Policy" content="{policy}">\n{_POLICY}{tail}'
    page = page.replace(_STYLE, f"<style>{style}</style>").replace(f"{_SCRIPT}\n", "")
    return page.replace("</body>", "\n".join([*blocks, "</body>"]))
