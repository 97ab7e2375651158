"""`ulfine export`: a run as one ONNX file that gives the same answers."""

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from ulfine_cache.config import StrictConfig
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress, Silent
from ulfine_exports.metadata import VIEWS, ExportMetadata, InputKind

if TYPE_CHECKING:
    from onnx import ModelProto

    from ulfine_exports.gate.judged_rows import JudgedRows
    from ulfine_exports.gate.run_rows import RunRows
    from ulfine_exports.lower_precision.comparison import Comparison
    from ulfine_fast.run import Run

_STEPS = 4

MAX_DROP = 0.5
"""Points of macro accuracy that a lower precision may cost."""


class ExportConfig(StrictConfig):
    """The parameters of `export_onnx`."""

    run: Path
    onnx: Path | None = None
    input: str = "features"
    precision: str = "fp32"
    max_drop: float = MAX_DROP
    views: str = "auto"
    test_prior: str | None = None
    opset: int | None = None
    triton: Path | None = None
    to_hub: Path | None = None


def export_onnx(
    *,
    run: Path,
    onnx: Path | None = None,
    input: str = "features",
    precision: str = "fp32",
    max_drop: float = MAX_DROP,
    views: str = "auto",
    test_prior: str | None = None,
    opset: int | None = None,
    triton: Path | None = None,
    to_hub: Path | None = None,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Write a run as one ONNX file, after onnxruntime has agreed with torch on real rows.

    The graph maps ``features`` (N, D) or ``pixels`` (N, 3, H, W), float32, or ``image`` (N, H, W, 3), uint8 of any
    size, to ``probabilities`` (N, C) and ``logits`` (N, C); N is free. `exports/README.md` specifies the file. The same
    run exports to the same bytes. At least one of `onnx`, `triton` and `to_hub` says where to; all that are given hold
    the same file.

    Args:
        run: A run directory.
        onnx: A file to write, ``*.onnx``; an existing one is replaced.
        input: ``"features"``; ``"pixels"`` with the image encoder included; ``"image"`` with the preprocessing as well.
        precision: ``"fp32"``; ``"fp16"``: half the size; ``"int8"``: a quarter, and faster on CPUs. What the last two
            cost is measured on the run's test rows (`ulfine_exports.lower_precision.comparison`).
        max_drop: Points of macro accuracy, 0 to 100, that fp16 and int8 may cost.
        views: ``"center"``, or for ``image`` ``"five-crop"``: the mean of the logits of five crops, inside the graph;
            ``"auto"``: for ``image`` what the run was judged by when it was fitted, otherwise ``"center"``.
        test_prior: Move the answers inside the graph to another class distribution (`ulfine_fast.priors.class_prior`):
            ``"uniform"``; ``"labelled"``, the class frequencies of the labelled rows; ``"estimate"``, estimated from
            the unlabelled rows that the run was fitted on, whose truth is not looked at; or a CSV file with the columns
            class and weight. None exports the model as it was fitted.
        opset: Version of the ONNX operator set; None takes `ulfine_exports.graphs.opsets.DEFAULT_OPSET`.
        triton: A Triton model repository to put a model into, named after `onnx` or else after the run.
        to_hub: A folder to write in the layout of the Hugging Face Hub; nothing is uploaded.
        progress: Told about the four steps.

    Returns:
        onnx, input, precision, opset, exporter, bytes, classes, and under ``parity``: largest_difference (in
        probability), largest_logit_difference, tolerance, rows, batches, source; ``preparation``: None, or for
        ``image`` what preprocessing inside the graph changes (`ulfine_exports.gate.preparation.Preparation`); under a
        test prior test_prior, its name, and class_prior, name to share; triton and to_hub: the folders written or None;
        ``comparison``: None for fp32, else as `ulfine_exports.lower_precision.comparison.Comparison.figures`;
        seconds.

    Raises:
        UsageError: A value is not supported.
        UlfineError: The run cannot be read, the test prior's file does not fit or its estimate has no rows, the run's
            encoder cannot be made again or is another one, the graph cannot be written, onnxruntime and torch disagree,
            preprocessing inside the graph changes too much, a lower precision costs more than `max_drop` or its cost
            cannot be measured, or a place holds something else. Nothing is written then.

    Example:
        >>> export_onnx(run=Path("runs/first"), onnx=Path("first.onnx"))["parity"]["largest_difference"] < 1e-4
        True
    """
    options = ExportConfig.checked(
        run=run,
        onnx=onnx,
        input=input,
        precision=precision,
        max_drop=max_drop,
        views=views,
        test_prior=test_prior,
        opset=opset,
        triton=triton,
        to_hub=to_hub,
    )
    _check(options)
    started = time.perf_counter()

    from ulfine_exports.gate.parity import TOLERANCES
    from ulfine_exports.gate.run_rows import RunRows
    from ulfine_exports.graphs.opsets import DEFAULT_OPSET
    from ulfine_exports.graphs.run_graph import build_run_graph
    from ulfine_exports.lower_precision.comparison import lower_precision
    from ulfine_exports.run_prior import move_run
    from ulfine_fast.run import load_run

    chosen = DEFAULT_OPSET if options.opset is None else options.opset
    loaded = load_run(options.run)
    _check_places(options)
    views = _views(loaded, options, progress)
    rows = RunRows(loaded)
    moved = move_run(rows, options.test_prior, views, progress)
    judged = None if options.precision == "fp32" else _judged(rows, options, progress)
    progress.update("exporting", 0, _STEPS)
    built = build_run_graph(moved.run, rows, cast(InputKind, options.input), chosen, views)
    model = built.model
    progress.update("exporting", 1, _STEPS)
    if built.obstacle:
        progress.note(f"parity is checked on synthetic rows: {built.obstacle}")
    parity = built.check(model, TOLERANCES["fp32"])
    progress.update("exporting", 2, _STEPS)
    comparison = None
    if judged is not None:
        comparison = lower_precision(model, options.precision, judged, max_drop=options.max_drop)
        model = comparison.chosen.model
        # Fewer bits give other probabilities; here the outputs' shapes and finiteness are checked, and the difference
        # is recorded.
        parity = built.check(model, tolerance=1.0)
    progress.update("exporting", 3, _STEPS)
    metadata = replace(
        describe(loaded, cast(InputKind, options.input)),
        opset=chosen,
        exporter=built.exporter,
        precision=options.precision,
        variant=comparison.chosen.variant if comparison else "",
        parity_tolerance=parity.tolerance,
        parity_largest_difference=parity.rounded,
        parity_rows=parity.rows,
        parity_source=parity.source,
        labelled_counts=loaded.labelled_counts,
        class_prior=tuple(moved.class_prior.tolist()),
        test_prior=moved.test_prior or "",
        **built.described(),
    )
    content = _finish(model, metadata)
    _write(options, content, metadata, loaded, comparison)
    progress.update("exporting", _STEPS, _STEPS)
    return {
        "onnx": None if options.onnx is None else str(options.onnx),
        "triton": None if options.triton is None else str(options.triton / _triton_name(options)),
        "to_hub": None if options.to_hub is None else str(options.to_hub),
        "input": options.input,
        "views": views,
        "outputs": [output.name for output in model.graph.output],
        "precision": options.precision,
        "opset": chosen,
        "exporter": built.exporter,
        "bytes": len(content),
        "classes": len(loaded.class_names),
        **moved.figures(),
        "parity": {
            "largest_difference": parity.largest_difference,
            "largest_logit_difference": parity.largest_logit_difference,
            "tolerance": parity.tolerance,
            "rows": parity.rows,
            "batches": list(parity.batches),
            "source": parity.source,
        },
        "preparation": asdict(built.preparation) if built.preparation else None,
        "comparison": comparison.figures() if comparison else None,
        "seconds": round(time.perf_counter() - started, 3),
    }


def describe(run: "Run", input: InputKind) -> ExportMetadata:
    """What an export of a run says about where it comes from; the figures of the export itself are left at 0."""
    import torch

    from ulfine_fast.version import __version__

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
        pretrained=_without_folder(cache.get("pretrained", "")),
        weights_hash=cache.get("weights_hash", ""),
        cache_fingerprint=cache.get("fingerprint", ""),
        split=run.config.get("split") or "",
        seed=int(run.config.get("seed", 0)),
        ulfine_version=__version__,
    )


def _without_folder(pretrained: str) -> str:
    """Of a local checkpoint the name only: an export carries no paths of the machine it was made on."""
    path = Path(pretrained)
    return path.name if path.is_absolute() else pretrained


def _check(options: ExportConfig) -> None:
    from ulfine_exports.graphs.opsets import OPSETS
    from ulfine_exports.lower_precision.comparison import PRECISIONS

    if options.input not in get_args(InputKind):
        raise UsageError(f"unknown input {options.input!r}: choose {', '.join(get_args(InputKind))}")
    if options.views not in ("auto", *VIEWS):
        raise UsageError(f"unknown views {options.views!r}: choose auto, {' or '.join(VIEWS)}")
    if options.views == "five-crop" and options.input != "image":
        raise UsageError(f"--views {options.views} needs --input image: {options.input} hold one view")
    if options.precision not in PRECISIONS:
        raise UsageError(f"unknown precision {options.precision!r}: choose {', '.join(PRECISIONS)}")
    if not 0 <= options.max_drop <= 100:
        raise UsageError(f"max_drop is {options.max_drop:g}: give points of macro accuracy, 0 to 100")
    if options.opset is not None and options.opset not in OPSETS:
        raise UsageError(f"opset {options.opset} cannot be written: choose {OPSETS[0]} to {OPSETS[-1]}")
    if options.onnx is None:
        if options.triton is None and options.to_hub is None:
            raise UsageError("nowhere to write: give --onnx FILE, --triton DIR or --to-hub DIR")
    elif options.onnx.suffix.lower() != ".onnx":
        raise UsageError(f"cannot write {options.onnx}: the name must end in .onnx")
    elif options.onnx.is_dir():
        raise UlfineError(f"{options.onnx} is a directory: name a file")


def _views(run: "Run", options: ExportConfig, progress: Progress) -> str:
    """What the graph looks at, with a note where that is less than the run does."""
    if options.views != "auto":
        return options.views
    if options.input != "image" and run.views != "center":
        progress.note(
            f"the run averages five crops of each image, {options.input} hold one: --input image gives its answers"
        )
    return run.views if options.input == "image" else "center"


def _check_places(options: ExportConfig) -> None:
    """Refuse what could not be written in the end before the long work begins."""
    from ulfine_cache.atomic import make_directory
    from ulfine_exports.publishing.hub import check_hub
    from ulfine_exports.publishing.triton import check_triton

    if options.triton is not None:
        check_triton(options.triton, _triton_name(options))
    if options.to_hub is not None:
        check_hub(options.to_hub)
    if options.onnx is not None:
        make_directory(options.onnx.parent)


def _judged(rows: "RunRows", options: ExportConfig, progress: Progress) -> "JudgedRows":
    """The rows that tell what a lower precision costs; found before the long work begins, for they may be gone."""
    from ulfine_exports.gate.judged_rows import judged_rows

    judged = judged_rows(rows, cast(InputKind, options.input))
    if judged.source != "test rows":
        progress.note(
            f"{options.precision} is judged on {judged.source}, which flatter the run: its split has no test rows"
        )
    return judged


def _write(
    options: ExportConfig, content: bytes, metadata: ExportMetadata, run: "Run", comparison: "Comparison | None"
) -> None:
    from ulfine_cache.atomic import replacing
    from ulfine_exports.publishing.hub import write_hub
    from ulfine_exports.publishing.triton import write_triton

    if options.onnx is not None:
        with replacing(options.onnx) as partial:
            partial.write_bytes(content)
    if options.triton is not None:
        write_triton(options.triton, _triton_name(options), content, run.class_names)
    if options.to_hub is not None:
        write_hub(options.to_hub, content, metadata, run, comparison)


def _triton_name(options: ExportConfig) -> str:
    from ulfine_exports.publishing.triton import triton_name

    return triton_name(options.run.resolve().name if options.onnx is None else options.onnx.stem)


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
