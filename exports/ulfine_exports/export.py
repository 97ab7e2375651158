"""`ulfine export`: a run as one ONNX file that gives the same answers."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Le

from ulfine_cache.command import command
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.joining.parts import BETWEEN, parts_of
from ulfine_cache.names.written import readable, readable_names
from ulfine_cache.progress import Progress, Silent
from ulfine_exports.graphs.opsets import DEFAULT_OPSET, OPSETS
from ulfine_exports.metadata import ExportMetadata, InputKind
from ulfine_fast.judging.five_crops import Views
from ulfine_fast.priors.test_prior import TestPriorOption

if TYPE_CHECKING:
    from onnx import ModelProto

    from ulfine_exports.gate.judged_rows import JudgedRows
    from ulfine_exports.gate.run_rows import RunRows
    from ulfine_fast.judging.outlier_score import OutlierScale
    from ulfine_fast.run import Run

_STEPS = 4


@command
def export_onnx(
    *,
    run: Path,
    onnx: Path | None = None,
    input: InputKind | None = None,
    precision: Literal["fp32", "fp16", "int8"] | None = None,
    max_drop: Annotated[float, Ge(0), Le(100)] = 0.5,
    views: Views = "auto",
    test_prior: TestPriorOption | None = None,
    opset: Annotated[int, Ge(OPSETS[0]), Le(OPSETS[-1])] = DEFAULT_OPSET,
    triton: Path | None = None,
    to_hub: Path | None = None,
    html: Path | None = None,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Write a run as one ONNX file, checked against torch.

    Nothing is written unless onnxruntime gives the same probabilities as torch on real rows. ``fp16`` and ``int8`` give
    others: what they cost is measured on the test rows and shown. At least one of `onnx`, `triton`, `to_hub` and `html`
    says where to; all that are given hold the same file. The same run exports to the same bytes.

    Args:
        run: Directory of the run.
        onnx: The file to write, ``*.onnx``; an existing one is replaced.
        input: What the file takes: features; pixels, with the encoder included; or image, uint8 of any size, with the
            preprocessing as well. Without it image where a page is written, features otherwise.
        precision: ``fp32``; ``fp16``, half the size; or ``int8``, a quarter, and faster on CPUs. Without it fp32; for
            a page int8, of the weights alone, or fp16 where that costs too much.
        max_drop: Points of macro accuracy that fp16 or int8 may cost on the test rows.
        views: What an image graph looks at: ``center``; ``five-crop``, the mean of the logits of five crops; ``auto``,
            as the run was fitted.
        test_prior: Class distribution that the file decides for: ``uniform``; ``labelled``, that of the labelled rows;
            ``estimate``, from the run's unlabelled rows; or a CSV file of class,weight. Without it: as fitted.
        opset: ONNX operator set.
        triton: A Triton model repository to put the model into, with its configuration.
        to_hub: A folder to write in the Hugging Face Hub's layout, with a model card; nothing is uploaded.
        html: A page to write that classifies pictures by itself in a browser, without Python, server or network. A
            model of more than 30 MB lies beside it.
        progress: Told about the four steps.

    Returns:
        Figures: onnx, input, views, outputs (names), precision, opset, exporter, bytes, classes, and under ``parity``:
        largest_difference (in probability), largest_logit_difference, tolerance, rows, batches, source;
        ``preparation``: None, or for ``image`` what preprocessing inside the graph changes
        (`ulfine_exports.gate.preparation.Preparation`); under a test prior test_prior, its name, and class_prior, name
        to share; triton and to_hub: the folders written or None; with a page html, html_weights (the file beside it, or
        None) and html_bytes; ``comparison``: None for fp32, else as
        `ulfine_exports.lower_precision.comparison.Comparison.figures`; seconds.

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
    input = input or ("features" if html is None else "image")
    _check(onnx, [triton, to_hub, html], input, views)
    if html is not None:
        from ulfine_exports.handing_over.html_page import check_page

        check_page(html, input)
    started = time.perf_counter()

    from ulfine_cache.atomic import replacing
    from ulfine_exports.drifting.export_reference import export_reference
    from ulfine_exports.gate.parity import TOLERANCES
    from ulfine_exports.gate.run_rows import RunRows
    from ulfine_exports.graphs.accepted_output import add_accepted
    from ulfine_exports.graphs.outlier_output import add_outlier_score
    from ulfine_exports.graphs.run_graph import build_run_graph
    from ulfine_exports.graphs.tidy import tidy
    from ulfine_exports.handing_over.html_page import write_html
    from ulfine_exports.handing_over.page_precision import PRECISIONS, page_precision
    from ulfine_exports.lower_precision.comparison import lower_precision
    from ulfine_exports.publishing.hub import write_hub
    from ulfine_exports.publishing.triton import triton_name, write_triton
    from ulfine_exports.run_under_test_prior import under_test_prior
    from ulfine_fast.judging.outlier_score import KNOWN_SHARE
    from ulfine_fast.run import load_run

    loaded = load_run(run)
    triton_model = triton_name(run.resolve().name if onnx is None else onnx.stem)
    _check_places(onnx, triton, triton_model, to_hub)
    looks_at = _looks_at(loaded, input, views, progress)
    rows = RunRows(loaded)
    under = under_test_prior(rows, test_prior, looks_at, progress)
    bits = precision or ("fp32" if html is None else PRECISIONS[0])
    judged = None if bits == "fp32" else _judged(rows, input, bits, progress, needed=precision is not None)
    bits = bits if judged else "fp32"
    progress.update("exporting", 0, _STEPS)
    built = build_run_graph(under.run, rows, input, opset, looks_at, progress)
    model = built.model
    progress.update("exporting", 1, _STEPS)
    if built.obstacle:
        progress.note(f"parity is checked on synthetic rows: {built.obstacle}")
    parity = built.check(model, TOLERANCES["fp32"])
    progress.update("exporting", 2, _STEPS)
    comparison = None
    if judged is not None:
        if html is None:
            comparison = lower_precision(model, bits, judged, max_drop=max_drop)
        else:
            comparison = page_precision(model, precision, judged, max_drop, progress)
        model, bits = comparison.chosen.model, comparison.chosen.precision
        # Fewer bits give other probabilities; here the outputs' shapes and finiteness are checked, and the difference
        # is recorded.
        parity = built.check(model, tolerance=1.0)
    progress.update("exporting", 3, _STEPS)
    scale = _outlier_scale(loaded, under.test_prior, progress)
    metadata = replace(
        describe(loaded, input),
        opset=opset,
        exporter=built.exporter,
        precision=bits,
        variant=comparison.chosen.variant if comparison else "",
        parity_tolerance=parity.tolerance,
        parity_largest_difference=parity.rounded,
        parity_rows=parity.rows,
        parity_source=parity.source,
        labelled_counts=loaded.labelled_counts,
        class_prior=tuple(under.class_prior.tolist()),
        test_prior=under.test_prior or "",
        **_acceptance(loaded, under.test_prior, progress),
        outlier_known_share=None if scale is None else KNOWN_SHARE,
        **built.described(),
    )
    if metadata.thresholds is not None:
        model = add_accepted(model, metadata.thresholds)
    if scale is not None:
        model = add_outlier_score(model, scale)
    reference = export_reference(tidy(model), rows, input)
    if reference is not None:
        metadata = replace(metadata, reference=reference.to_text())
    content = _finish(model, metadata)
    if onnx is not None:
        with replacing(onnx) as partial:
            partial.write_bytes(content)
    if triton is not None:
        write_triton(triton, triton_model, content, metadata.class_names)
    if to_hub is not None:
        write_hub(to_hub, content, metadata, loaded, comparison)
    page = {} if html is None else write_html(html, content, metadata)
    progress.update("exporting", _STEPS, _STEPS)
    return {
        "onnx": None if onnx is None else str(onnx),
        "triton": None if triton is None else str(triton / triton_model),
        "to_hub": None if to_hub is None else str(to_hub),
        **page,
        "input": input,
        "views": looks_at,
        "outputs": [output.name for output in model.graph.output],
        "precision": bits,
        "opset": opset,
        "exporter": built.exporter,
        "bytes": len(content),
        "classes": len(loaded.class_names),
        **under.figures(),
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


def describe(run: Run, input: InputKind) -> ExportMetadata:
    """What an export of a run says about where it comes from; the figures of the export itself are left at 0."""
    import torch

    from ulfine_fast.version import __version__

    cache = run.cache or {}
    with torch.no_grad():
        parts = tuple(run.model.parts(torch.ones(1, run.n_features)))
    return ExportMetadata(
        input=input,
        class_names=tuple(readable_names(run.class_names)),
        n_features=run.n_features,
        preprocess=cache.get("preprocess", ""),
        method=run.method,
        temperature=float(getattr(run.model, "temperature", 1.0)),
        logit_parts=parts,
        model=cache.get("model", ""),
        pretrained=_pretrained(cache),
        weights_hash=cache.get("weights_hash", ""),
        cache_fingerprint=cache.get("fingerprint", ""),
        split=readable(run.config.get("split") or ""),
        seed=int(run.config.get("seed", 0)),
        ulfine_version=__version__,
    )


def _pretrained(cache: dict[str, Any]) -> str:
    parts = parts_of(cache) or [cache]
    return BETWEEN.join(_without_folder(part.get("pretrained", "")) for part in parts)


def _without_folder(pretrained: str) -> str:
    """Of a local checkpoint the name only: an export carries no paths of the machine it was made on."""
    path = Path(pretrained)
    return readable(path.name if path.is_absolute() else pretrained)


def _check(onnx: Path | None, others: list[Path | None], input: InputKind, views: Views) -> None:
    """Refuse what contradicts itself."""
    if views == "five-crop" and input != "image":
        raise UsageError(f"--views {views} needs --input image: {input} hold one view")
    if onnx is None:
        if all(other is None for other in others):
            raise UsageError("nowhere to write: give --html FILE, --onnx FILE, --triton DIR or --to-hub DIR")
    elif onnx.suffix.lower() != ".onnx":
        raise UsageError(f"cannot write {onnx}: the name must end in .onnx")
    elif onnx.is_dir():
        raise UlfineError(f"{onnx} is a directory: name a file")


def _looks_at(run: Run, input: InputKind, views: Views, progress: Progress) -> str:
    """What the graph looks at, with a note where that is less than the run does."""
    if views != "auto":
        return views
    if input != "image" and run.views != "center":
        progress.note(f"the run averages five crops of each image, {input} hold one: --input image gives its answers")
    return run.views if input == "image" else "center"


def _acceptance(run: Run, test_prior: str | None, progress: Progress) -> dict[str, Any]:
    """The thresholds of a run for the metadata; it was learnt for the answers as they were fitted."""
    if run.threshold is None:
        return {}
    if test_prior is not None:
        progress.note("the run's threshold is for its answers without a test prior: the file has none")
        return {}
    target = run.metrics["acceptance"]["target_accuracy"]
    return {
        "acceptance_threshold": run.threshold,
        "acceptance_class_thresholds": run.class_thresholds,
        "acceptance_target": float(target),
    }


def _outlier_scale(run: Run, test_prior: str | None, progress: Progress) -> OutlierScale | None:
    """The scale of a run's outlier score; it was learnt for the logits as they were fitted."""
    if test_prior is not None and run.outlier_scale is not None:
        progress.note("the run's outlier score is for its answers without a test prior: the file has none")
        return None
    return run.outlier_scale


def _check_places(onnx: Path | None, triton: Path | None, triton_model: str, to_hub: Path | None) -> None:
    """Refuse what could not be written in the end before the long work begins."""
    from ulfine_cache.atomic import make_directory
    from ulfine_exports.publishing.hub import check_hub
    from ulfine_exports.publishing.triton import check_triton

    if triton is not None:
        check_triton(triton, triton_model)
    if to_hub is not None:
        check_hub(to_hub)
    if onnx is not None:
        make_directory(onnx.parent)


def _judged(rows: RunRows, input: InputKind, precision: str, progress: Progress, *, needed: bool) -> JudgedRows | None:
    """The rows that tell what a lower precision costs; found before the long work begins, for they may be gone."""
    from ulfine_exports.gate.judged_rows import judged_rows

    try:
        judged = judged_rows(rows, input)
    except UlfineError as error:
        if needed:
            raise
        progress.note(f"{error}: fp32 instead")
        return None
    if judged.source != "test rows":
        progress.note(f"{precision} is judged on {judged.source}, which flatter the run: its split has no test rows")
    return judged


def _finish(model: ModelProto, metadata: ExportMetadata) -> bytes:
    """Add the metadata and the digest, check the whole and give its bytes."""
    import onnx

    from ulfine_exports.inference.content_digest import add_digest

    onnx.helper.set_model_props(model, metadata.to_props())
    add_digest(model)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise UlfineError(
            f"the graph breaks ONNX's rules ({str(error).splitlines()[0]}): try another --opset"
        ) from error
    return model.SerializeToString(deterministic=True)
