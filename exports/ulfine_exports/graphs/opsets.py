"""Versions of ONNX's operator set that exports are written in."""

DEFAULT_OPSET = 20
"""The newest that both of torch's exporters write; onnxruntime reads it since 1.17."""

OPSETS = range(18, 24)
"""What `--opset` accepts: below 18 the current exporter has no native translation of its operators."""
