"""`ulfine export --html`: one page that classifies pictures by itself, opened from the disk.

Browsers let a page from the disk read no other file, so everything is inside: onnxruntime-web, the ONNX file and the
page that `ulfine serve` shows as well. Only what is larger than `MOST_BYTES` lies beside it, in a script, which a page
from the disk may load. The policy of the page lets it ask nobody for anything.
"""

import base64
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.wording.counts import amount
from ulfine_exports.handing_over.browser_runtime import VERSION, runtime_binary, runtime_script
from ulfine_exports.metadata import ExportMetadata, InputKind
from ulfine_exports.pages.picture_page import whole_page

MOST_BYTES = 30_000_000
"""Of a page; a larger model is put beside it."""

_PIECE = 24_000_000
"""Bytes of a piece of a model beside: browsers bound the length of a text. Divisible by 3, so that none is padded."""

_SUFFIXES = (".html", ".htm")


def check_page(path: Path, input: InputKind) -> None:
    """Refuse a page that cannot be written before the long work begins.

    Raises:
        UsageError: The name ends otherwise, or the file inside is not for a browser.
        UlfineError: It is a directory, or its folder cannot be made.
    """
    from ulfine_cache.atomic import make_directory

    if input != "image":
        raise UsageError(f"a page takes pictures, not {input}: --html needs --input image")
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"cannot write {path}: the name of a page must end in .html")
    if path.is_dir():
        raise UlfineError(f"{path} is a directory: name a file")
    make_directory(path.parent)


def weights_beside(path: Path) -> Path:
    """Where a model lies that is too large for its page.

    Example:
        >>> weights_beside(Path("birds.html")).name
        'birds.weights.js'
    """
    return path.with_name(f"{path.stem}.weights.js")


def write_html(path: Path, content: bytes, metadata: ExportMetadata) -> dict[str, Any]:
    """Write a page, and the model beside it where it is too large.

    Args:
        path: The page; an existing one is replaced.
        content: Bytes of an exported file that takes ``image``.
        metadata: What that says about itself.

    Returns:
        ``html`` and ``html_weights`` (the file beside, or None), and ``html_bytes``, of the page.

    Raises:
        UlfineError: The page cannot be written.
    """
    from ulfine_cache.atomic import replacing

    packed, runtime = _packed(content), base64.b64encode(_packed(runtime_binary())).decode()
    digest, beside = hashlib.sha256(content).hexdigest(), weights_beside(path)
    page = _page(path.stem, metadata, runtime, digest, base64.b64encode(packed).decode(), None)
    inside = len(page) <= MOST_BYTES
    if not inside:
        page = _page(path.stem, metadata, runtime, digest, "", beside.name)
        parts = [base64.b64encode(packed[at : at + _PIECE]).decode() for at in range(0, len(packed), _PIECE)]
        with replacing(beside) as partial:
            partial.write_text(f"ulfineWeights({json.dumps({'digest': digest, 'parts': parts})});\n", "utf-8")
    with replacing(path) as partial:
        partial.write_bytes(page)
    return {"html": str(path), "html_weights": None if inside else str(beside), "html_bytes": len(page)}


def _packed(content: bytes) -> bytes:
    # The time of day is left out: same run, same bytes.
    return gzip.compress(content, 9, mtime=0)


def _page(name: str, metadata: ExportMetadata, runtime: str, digest: str, weights: str, beside: str | None) -> bytes:
    told = {
        "name": name,
        "classes": list(metadata.class_names),
        "words": _words(metadata),
        "judges": metadata.acceptance_threshold is not None,
        "thresholds": metadata.acceptance_class_thresholds,
        "scores": metadata.outlier_known_share is not None,
        "digest": digest,
        "beside": beside,
    }
    script = (Path(__file__).parent / "page" / "local.js").read_text("utf-8")
    data = {"model": ("application/json", _json(told)), "runtime": ("text/plain", runtime)}
    if not beside:
        data["weights"] = ("text/plain", weights)
    # A page that lies on a server may load what lies beside it there.
    return whole_page(runtime_script(), script, data, " 'self' file:" if beside else "").encode()


def _json(told: dict[str, Any]) -> str:
    """JSON that ends no script, whatever a class is called."""
    return json.dumps(told).replace("<", "\\u003c")


def _words(metadata: ExportMetadata) -> str:
    """One line about the model, as on the page of `ulfine serve`."""
    encoder = " ".join(part for part in (metadata.model, metadata.pretrained) if part)
    known = [amount(len(metadata.class_names), "class"), metadata.method, encoder, metadata.precision]
    return " · ".join(part for part in (*known, f"onnxruntime-web {VERSION}") if part)
