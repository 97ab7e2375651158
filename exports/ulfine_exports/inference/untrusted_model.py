"""Reads ONNX files from anywhere without letting them reach beyond themselves."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.trees.regular_file import open_regular
from ulfine_exports.inference.content_digest import check_digest
from ulfine_exports.inference.large_constants import refuse_large_constants

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

_STANDARD_DOMAINS = ("", "ai.onnx")
_MAX_BYTES = 2**31 - 1


def read_model(path: Path) -> "ModelProto":
    """Read an ONNX file without letting it reach beyond itself.

    Raises:
        UlfineError: The file is missing, too large, no ONNX model, refers to external data, uses operators of a domain
            that is not ONNX's own (custom operators are code from elsewhere), or differs from the digest it carries.
    """
    if path.is_dir():
        # The names in a run and in a cache, written out so that a server needs no more than ONNX.
        if (path / "model.safetensors").is_file():
            raise UlfineError(f"{path} is a run: export it first, `ulfine export {path} --onnx {path.name}.onnx`")
        if (path / "cache.h5").is_file():
            raise UlfineError(f"{path} is a cache: fit a run on it with `ulfine fit`, then export that")
        raise UlfineError(f"{path} is a directory: give an .onnx file written by `ulfine export`")
    if not path.exists():
        raise UlfineError(f"{path} does not exist: give an .onnx file written by `ulfine export`")
    try:
        # A named pipe of that name would be waited for.
        with open_regular(str(path)) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _MAX_BYTES:
                raise UlfineError(f"{path} has {size / 1e9:.1f} GB, over the 2 GB that one ONNX file can hold")
            data = file.read()
    except OSError as error:
        raise UlfineError(f"cannot read {path}: {error.strerror or error}") from error
    model = _model_proto()()
    try:
        model.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError lives in different places in different versions
        raise UlfineError(f"{path} is no ONNX model: give a file written by `ulfine export`") from error
    del data  # the digest needs as much again
    if not model.graph.node:
        raise UlfineError(f"{path} is no ONNX model: give a file written by `ulfine export`")
    domains = {item.domain for item in model.opset_import} | {function.domain for function in model.functions}
    for graph in _graphs(model):
        for tensor in _tensors(graph):
            if tensor.external_data or tensor.data_location == tensor.EXTERNAL:
                raise UlfineError(
                    f"{path} keeps weights in other files ({tensor.name}): only single-file models are read"
                )
        domains |= {node.domain for node in graph.node}
    foreign = sorted(domains - set(_STANDARD_DOMAINS))
    if foreign:
        raise UlfineError(f"{path} uses operators of the domain {foreign[0]!r}: only standard ONNX operators are run")
    refuse_large_constants(path, _graphs(model))
    check_digest(model, str(path))
    return model


@cache
def _model_proto() -> "type[ModelProto]":
    """`onnx.ModelProto` without the rest of the package, whose import takes twice as long as that of onnxruntime."""
    package = None if "onnx" in sys.modules else importlib.util.find_spec("onnx")
    file = Path(package.origin).with_name("onnx_ml_pb2.py") if package and package.origin else None
    spec = importlib.util.spec_from_file_location("onnx_ml_pb2", file) if file and file.is_file() else None
    if spec is None or spec.loader is None:
        from onnx import ModelProto

        return ModelProto
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ModelProto


def _graphs(model: "ModelProto") -> "Iterator[GraphProto]":
    """The main graph, the functions (which have the fields used here) and every graph inside an attribute."""
    pending: list[Any] = [model.graph, *model.functions, *(item.initialization for item in model.training_info)]
    pending += [item.algorithm for item in model.training_info]
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                pending += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]


def _tensors(graph: "GraphProto") -> "Iterator[TensorProto]":
    yield from getattr(graph, "initializer", ())
    sparse = list(getattr(graph, "sparse_initializer", ()))
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            sparse += [attribute.sparse_tensor, *attribute.sparse_tensors]
    for tensor in sparse:
        yield from (tensor.values, tensor.indices)
