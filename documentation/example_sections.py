"""Griffe calls sections of examples `Examples:`; this project's docstrings have one each and call it `Example:`."""

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Shows `Example:` as code that runs, as griffe shows `Examples:`."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rename the section of one object's docstring."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
