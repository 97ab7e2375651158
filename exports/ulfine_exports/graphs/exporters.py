"""torch's two ONNX exporters: the current one, and TorchScript's for what that cannot trace.

Seen with torch 2.14 and open_clip 3.3: the current one writes every family in `docs/encoders.md`. The other stays for
encoders whose Python the current one cannot follow (branches on values, for one); it writes four times as many nodes
for the same encoder.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from onnx import ModelProto


def with_dynamo(
    module: nn.Module, input_name: str, example: Tensor, opset: int, outputs: tuple[str, ...]
) -> "ModelProto":
    """Export by `torch.export`, the first axis dynamic.

    Raises:
        ValueError: It wrote another opset than was asked for.
        Exception: Whatever the traced code raises.
    """
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            input_names=[input_name],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=opset,
            external_data=False,
            verbose=False,
        )
    model = cast("ModelProto", cast(Any, program).model_proto)
    found = next((item.version for item in model.opset_import if item.domain == ""), None)
    if found != opset:
        # The exporter only warns when it cannot convert to the version that was asked for.
        raise ValueError(f"the exporter wrote opset {found}")
    return model


def with_torchscript(
    module: nn.Module, input_name: str, example: Tensor, opset: int, outputs: tuple[str, ...]
) -> "ModelProto":
    """Export by tracing to TorchScript, the first axis dynamic, with the fused attention kernel off.

    ONNX has no operator for that kernel.

    Raises:
        Exception: Whatever the traced code raises.
    """
    import onnx

    buffer = BytesIO()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                module,
                (example,),
                cast(Any, buffer),
                dynamo=False,
                input_names=[input_name],
                output_names=list(outputs),
                dynamic_axes={name: {0: "batch"} for name in (input_name, *outputs)},
                opset_version=opset,
            )
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return onnx.load_model_from_string(buffer.getvalue())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what the exporters say to programmers: the parity gate is what checks their work."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
