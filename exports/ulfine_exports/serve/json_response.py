"""JSON answers, whatever text a request had in it."""

import json
from typing import Any

from pydantic_core import to_json as quick_json
from starlette.responses import JSONResponse as Response


class JSONResponse(Response):
    """JSON in UTF-8, where a lone surrogate is written as JSON's escape for it, as it may have come in."""

    def render(self, content: Any) -> bytes:
        """Encode an answer."""
        return to_json(content)


def to_json(content: Any) -> bytes:
    """Encode an answer, or a part of one."""
    try:
        return quick_json(content)
    except ValueError:  # a lone surrogate, for which it has no form
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace")
