"""`ulfine export`: a run as one ONNX file that gives the same answers."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.config import StrictConfig
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress, Silent
from ulfine_exports.metadata import ExportMetadata, InputKind

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

    from ulfine_exports.parity_rows import ParityRows
    from ulfine_fast.run import Run

_STEPS = 4


class ExportConfig(StrictConfig):
    """The parameters of `export_onnx`."""

    run: Path
    onnx: Path
    input: str = "features"
    precision: str = "fp32"
    opset: int | None = None


def export_onnx(
    *,
    run: Path,
    onnx: Path,
    input: str = "features",
    precision: str = "fp32",
    opset: int | None = None,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Write a run as one ONNX file, after onnxruntime has agreed with torch on real rows.

    The graph maps ``features`` (N, D) or ``pixels`` (N, 3, H, W), float32, to ``probabilities`` (N, C) and ``logits``
    (N, C); N is free. `exports/README.md` specifies the file. The same run exports to the same bytes.

    Args:
        run: A run directory.
        onnx: The file to write, ``*.onnx``; an existing one is replaced.
        input: ``"features"``, or ``"pixels"`` with the image encoder included.
        precision: ``"fp32"``.
        opset: Version of the ONNX operator set; None takes `ulfine_exports.opsets.DEFAULT_OPSET`.
        progress: Told about the four steps.

    Returns:
        onnx, input, precision, opset, exporter, bytes, classes, and under ``parity``: largest_difference (in
        probability), largest_logit_difference, tolerance, rows, batches, source; seconds.

    Raises:
        UsageError: A value is not supported.
        UlfineError: The run cannot be read, its encoder cannot be made again or is another one, the graph cannot be
            written, or onnxruntime and torch disagree. Nothing is written then.

    Example:
        >>> export_onnx(run=Path("runs/first"), onnx=Path("first.onnx"))["parity"]["largest_difference"]
        1.2e-07
    """
    options = ExportConfig.checked(run=run, onnx=onnx, input=input, precision=precision, opset=opset)
    _check(options)
    started = time.perf_counter()

    from ulfine_cache.atomic import make_directory, replacing
    from ulfine_exports.graph import OUTPUTS, build_graph
    from ulfine_exports.opsets import DEFAULT_OPSET
    from ulfine_exports.parity import TOLERANCES, check_parity
    from ulfine_fast.run import load_run

    chosen = DEFAULT_OPSET if options.opset is None else options.opset
    loaded = load_run(options.run)
    make_directory(options.onnx.parent)
    progress.update("exporting", 0, _STEPS)
    module, rows = _module(loaded, options.input)
    progress.update("exporting", 1, _STEPS)
    model, exporter = build_graph(module, options.input, rows.rows.shape[1:], chosen)
    progress.update("exporting", 2, _STEPS)
    if rows.obstacle:
        progress.note(f"parity is checked on synthetic rows: {rows.obstacle}")
    parity = check_parity(
        model.SerializeToString(),
        lambda batch: _reference(module, batch),
        rows.rows,
        tolerance=TOLERANCES[options.precision],
        source=rows.source,
    )
    progress.update("exporting", 3, _STEPS)
    metadata = replace(
        describe(loaded, cast(InputKind, options.input)),
        opset=chosen,
        exporter=exporter,
        precision=options.precision,
        parity_tolerance=parity.tolerance,
        parity_largest_difference=parity.rounded,
        parity_rows=parity.rows,
        parity_source=parity.source,
    )
    content = _finish(model, metadata)
    with replacing(options.onnx) as partial:
        partial.write_bytes(content)
    progress.update("exporting", _STEPS, _STEPS)
    return {
        "onnx": str(options.onnx),
        "input": options.input,
        "outputs": list(OUTPUTS),
        "precision": options.precision,
        "opset": chosen,
        "exporter": exporter,
        "bytes": len(content),
        "classes": len(loaded.class_names),
        "parity": {
            "largest_difference": parity.largest_difference,
            "largest_logit_difference": parity.largest_logit_difference,
            "tolerance": parity.tolerance,
            "rows": parity.rows,
            "batches": list(parity.batches),
            "source": parity.source,
        },
        "seconds": round(time.perf_counter() - started, 3),
    }


def describe(run: "Run", input: InputKind) -> ExportMetadata:
    """What an export of a run says about where it comes from; the figures of the export itself are left at 0."""
    import torch

    from ulfine_fast import __version__

    cache = run.cache or {}
    with torch.no_grad():
        parts = tuple(run.model.parts(torch.ones(1, run.n_features)))
    return ExportMetadata(
        input=input,
        class_names=run.class_names,
        n_features=run.n_features,
        preprocess=cache.get("preprocess", ""),
        method=run.method,
        temperature=float(getattr(run.model, "temperature", 1.0)),
        logit_parts=parts,
        model=cache.get("model", ""),
        pretrained=cache.get("pretrained", ""),
        weights_hash=cache.get("weights_hash", ""),
        cache_fingerprint=cache.get("fingerprint", ""),
        split=run.config.get("split") or "",
        seed=int(run.config.get("seed", 0)),
        ulfine_version=__version__,
    )


def _check(options: ExportConfig) -> None:
    from ulfine_exports.opsets import OPSETS

    if options.input not in ("features", "pixels"):
        later = " (not there yet)" if options.input == "image" else ""
        raise UsageError(f"unknown input {options.input!r}{later}: choose features or pixels")
    if options.precision != "fp32":
        later = " (not there yet)" if options.precision in ("fp16", "int8") else ""
        raise UsageError(f"unknown precision {options.precision!r}{later}: choose fp32")
    if options.opset is not None and options.opset not in OPSETS:
        raise UsageError(f"opset {options.opset} cannot be written: choose {OPSETS[0]} to {OPSETS[-1]}")
    if options.onnx.suffix.lower() != ".onnx":
        raise UsageError(f"cannot write {options.onnx}: the name must end in .onnx")
    if options.onnx.is_dir():
        raise UlfineError(f"{options.onnx} is a directory: name a file")


def _module(run: "Run", input: str) -> "tuple[nn.Module, ParityRows]":
    """The module to export and the rows to judge it on."""
    from ulfine_exports.graph import FeatureGraph, PixelGraph
    from ulfine_exports.parity_rows import feature_rows, picture_rows

    if input == "features":
        return FeatureGraph(run.model).eval(), feature_rows(run)
    from ulfine_exports.run_encoder import encoder_of

    encoder = encoder_of(run, "export it with --input features", device="cpu", precision="fp32")
    return PixelGraph(encoder.image_tower, run.model).eval(), picture_rows(run, encoder.preprocess)


def _reference(module: "nn.Module", batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    import torch

    with torch.no_grad():
        probabilities, logits = module(torch.from_numpy(batch))
    return probabilities.numpy(), logits.numpy()


def _finish(model: "ModelProto", metadata: ExportMetadata) -> bytes:
    """Add the metadata, check the whole and give its bytes."""
    import onnx

    onnx.helper.set_model_props(model, metadata.to_props())
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise UlfineError(
            f"the graph breaks ONNX's rules ({str(error).splitlines()[0]}): try another --opset"
        ) from error
    return model.SerializeToString(deterministic=True)
