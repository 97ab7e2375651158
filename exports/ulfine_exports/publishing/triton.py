"""`ulfine export --triton`: a model repository for NVIDIA's Triton Inference Server, with the same file inside.

    DIR/NAME/config.pbtxt     inputs, outputs and dynamic batching
    DIR/NAME/labels.txt       class names, one a line, in the order of the columns
    DIR/NAME/1/model.onnx     the exported file

The configuration is as Triton's documentation of `ModelConfig` defines it; the onnxruntime backend reads it.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ulfine_cache.errors import UlfineError
from ulfine_cache.names.written import one_line
from ulfine_exports.publishing.written_together import is_ours, write_files

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

CONFIG, LABELS, MODEL = "config.pbtxt", "labels.txt", "1/model.onnx"

MAX_BATCH = 64
PREFERRED_BATCHES = (8, 16, 32, 64)
QUEUE_DELAY = 2000
"""Microseconds that a request may wait for others: well below what an image encoder needs for one image."""

_MARK = "# Written by `ulfine export --triton`, which replaces this file."
_TYPES = {1: "TYPE_FP32", 2: "TYPE_UINT8", 9: "TYPE_BOOL"}


def triton_name(name: str) -> str:
    """A model name that is safe in URLs and file systems, made from any text.

    Example:
        >>> triton_name("my birds (v2)")
        'my-birds-v2'
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.") or "model"


def check_triton(folder: Path, name: str) -> None:
    """Refuse a place that holds something else.

    Raises:
        UlfineError: ``folder/name`` holds files that no export put there.
    """
    place = folder / name
    for path in (folder, place):
        if path.exists() and not path.is_dir():
            raise UlfineError(f"{path} is a file: choose another --triton")
    if not is_ours(place, CONFIG, lambda text: _MARK in text):
        raise UlfineError(f"{place} holds a model that `ulfine export` did not write: choose another --triton")


def write_triton(folder: Path, name: str, content: bytes, class_names: Sequence[str]) -> list[Path]:
    """Write a model repository, or replace the model in one.

    Args:
        folder: The repository; made where it is missing. Other models in it stay.
        name: The model's name, from `triton_name`.
        content: The exported file.
        class_names: C names.

    Returns:
        The files, in the order they were written; the configuration is last.

    Raises:
        UlfineError: See `check_triton`, or the place cannot be written.
    """
    from onnx import ModelProto

    check_triton(folder, name)
    model = ModelProto()
    model.ParseFromString(content)
    # A name with a line break would shift all names after it, and Triton cuts off the blanks around a name.
    labels = "".join(f"{one_line(label)}\n" for label in class_names)
    texts = {LABELS: labels.encode(), CONFIG: triton_config(model, name).encode()}
    return write_files(folder / name, {MODEL: content, **texts}, last=CONFIG)


def triton_config(model: "ModelProto", name: str) -> str:
    """The text of ``config.pbtxt``. Batches are formed of requests of the same shape.

    Example:
        >>> import onnx
        >>> print(triton_config(onnx.load("model.onnx"), "digits").splitlines()[1])
        name: "digits"
    """
    lines = [
        _MARK,
        f"name: {json.dumps(name)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {MAX_BATCH}",
        *(f"input [ {_tensor(item)} ]" for item in model.graph.input),
        *(f"output [ {_tensor(item, LABELS if item.name == 'probabilities' else '')} ]" for item in model.graph.output),
        "dynamic_batching {",
        f"  preferred_batch_size: {list(PREFERRED_BATCHES)}",
        f"  max_queue_delay_microseconds: {QUEUE_DELAY}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _tensor(item: "ValueInfoProto", labels: str = "") -> str:
    """One input or output without its batch axis; an axis of any length is -1."""
    tensor = item.type.tensor_type
    sizes = [axis.dim_value if axis.HasField("dim_value") else -1 for axis in tensor.shape.dim[1:]]
    # Triton knows no rows without an axis of their own.
    shape = f"dims: {sizes}" if sizes else "dims: [1] reshape { shape: [] }"
    filename = f" label_filename: {json.dumps(labels)}" if labels else ""
    return f"{{ name: {json.dumps(item.name)} data_type: {_TYPES[tensor.elem_type]} {shape}{filename} }}"
