"""What leaves the house: ONNX files and what runs them.

`export_onnx` and `OnnxClassifier` are handed on lazily, so that importing the package costs nothing and running an
exported file never imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ulfine_exports.export import export_onnx
    from ulfine_exports.onnx_classifier import OnnxClassifier

__all__ = ["OnnxClassifier", "export_onnx"]

_HOME = {"OnnxClassifier": "ulfine_exports.onnx_classifier", "export_onnx": "ulfine_exports.export"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
