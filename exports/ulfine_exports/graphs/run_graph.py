"""A run as a graph, with all that is needed to check the graph and what is made from it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.progress import Progress, Silent
from ulfine_exports.gate.parity import Outputs, Parity, compare
from ulfine_exports.metadata import InputKind

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

    from ulfine_cache.encoders.encoder import ClipEncoder
    from ulfine_exports.gate.preparation import Preparation
    from ulfine_exports.gate.run_rows import RunRows
    from ulfine_fast.run import Run


@dataclass(frozen=True)
class RunGraph:
    """An fp32 graph and the answers that torch gives.

    Attributes:
        model: The graph: one input, outputs ``probabilities``, ``logits`` and, where images go in and logits were
            fused, ``logits_<part>``.
        exporter: ``"dynamo"`` or ``"torchscript"``, or ``"direct"`` where no exporter was needed.
        preprocess: JSON of how pictures are prepared, with the views; None where features go in.
        pairs: Batches of the input and torch's outputs.
        rows: Number of different rows in the batches.
        source: What the rows are.
        obstacle: Why they are synthetic, in one line; ``""`` otherwise.
        preparation: What preprocessing inside the graph changes; None where there is none.
        views: What an ``image`` graph looks at; ``""`` otherwise.
    """

    model: "ModelProto"
    exporter: str
    preprocess: str | None
    pairs: tuple[tuple[NDArray[Any], Outputs], ...]
    rows: int
    source: str
    obstacle: str = ""
    preparation: "Preparation | None" = None
    views: str = ""

    def described(self) -> dict[str, Any]:
        """What `ExportMetadata` says about images."""
        known: dict[str, Any] = {} if self.preprocess is None else {"preprocess": self.preprocess, "views": self.views}
        if self.preparation is not None:
            known |= {
                "preparation_tolerance": self.preparation.tolerance,
                "preparation_largest_difference": self.preparation.rounded,
                "preparation_largest_pixel_difference": self.preparation.largest_pixel_difference,
            }
        return known

    def check(self, model: "ModelProto", tolerance: float) -> Parity:
        """Compare a graph, this one or one made from it, with torch; see `ulfine_exports.gate.parity.compare`."""
        return compare(model.SerializeToString(), self.pairs, rows=self.rows, tolerance=tolerance, source=self.source)


def build_run_graph(
    run: "Run",
    rows: "RunRows",
    input: InputKind,
    opset: int,
    views: str = "center",
    progress: Progress = Silent(),  # noqa: B008
) -> RunGraph:
    """Write a run as an fp32 graph and let torch answer for it.

    Args:
        run: A loaded run, or one whose answers were moved.
        rows: Those of its cache, for the comparison.
        input: What the graph takes.
        opset: Version of the ONNX operator set.
        views: ``"center"`` or, for images, ``"five-crop"``: the mean of the logits of five crops.
        progress: Told that the encoder is loaded.

    Raises:
        UlfineError: The run's encoder cannot be made again or is another one, the graph cannot be written, or
            preprocessing inside the graph makes too much of a difference.
    """
    if input == "features":
        return _features(run, rows, opset)
    from ulfine_exports.encoders.run_encoder import encoder_of

    encoder = encoder_of(run, "export it with --input features", device="cpu", precision="fp32", progress=progress)
    if (run.cache or {}).get("precision") == "int8":
        progress.note("the run was fitted on features encoded in int8; the file encodes in its own precision")
    if input == "pixels":
        return _pixels(run, rows, encoder, opset)
    return _image(run, rows, encoder, opset, views)


def _features(run: "Run", rows: "RunRows", opset: int) -> RunGraph:
    from ulfine_exports.gate.parity import batches_of
    from ulfine_exports.gate.parity_rows import feature_rows
    from ulfine_exports.graphs.affine_graph import affine_graph, fold
    from ulfine_exports.graphs.graph import FeatureGraph, build_graph

    compared = feature_rows(rows)
    original = FeatureGraph(run.model).eval()
    folded = fold(run.model, run.n_features)
    if folded is None:
        model, exporter = build_graph(original, "features", (run.n_features,), opset)
    else:
        model, exporter = affine_graph(*folded, opset), "direct"
    pairs = _answered(batches_of(compared.rows), _classify(original))
    return RunGraph(model, exporter, None, pairs, len(compared.rows), compared.source, compared.obstacle)


def _pixels(run: "Run", rows: "RunRows", encoder: "ClipEncoder", opset: int) -> RunGraph:
    from ulfine_exports.gate.parity import batches_of
    from ulfine_exports.gate.parity_rows import picture_rows
    from ulfine_exports.graphs.graph import PixelGraph, build_graph

    parts, preprocess = _parts(run), encoder.preprocess
    compared = picture_rows(rows, preprocess)
    traced = PixelGraph(encoder.lean_image_tower, run.model, parts).eval()
    model, exporter = build_graph(traced, "pixels", compared.rows.shape[1:], opset, traced.outputs)
    # torch answers with the tower as open_clip wrote it, so that the gate also checks the rewritten one.
    pairs = _answered(batches_of(compared.rows), _classify(PixelGraph(encoder.image_tower, run.model, parts).eval()))
    return RunGraph(
        model, exporter, preprocess.to_json(), pairs, len(compared.rows), compared.source, compared.obstacle
    )


def _image(run: "Run", rows: "RunRows", encoder: "ClipEncoder", opset: int, views: str) -> RunGraph:
    from ulfine_cache.pictures.views import first_view
    from ulfine_exports.gate.parity_rows import picture_batches
    from ulfine_exports.gate.preparation import compare_preparation, prepare
    from ulfine_exports.graphs.graph import PixelGraph, ViewsGraph, build_graph
    from ulfine_exports.graphs.image_graph import prepend, preprocess_graph
    from ulfine_exports.inference.providers import open_session

    parts, preprocess = _parts(run), encoder.preprocess
    fitted = first_view(views, preprocess)
    pictures = picture_batches(rows, preprocess.size)
    preparing = preprocess_graph(fitted, opset, five_crops=views == "five-crop")
    session = open_session(preparing.SerializeToString(), "cpu").session
    made = [np.asarray(session.run(None, {"image": batch})[0]) for batch in pictures.batches]
    kind = PixelGraph if views == "center" else ViewsGraph
    traced = kind(encoder.lean_image_tower, run.model, parts).eval()
    model, exporter = build_graph(traced, "prepared", made[0].shape[1:], opset, traced.outputs)
    classify = _classify(kind(encoder.image_tower, run.model, parts).eval())
    # Torch answers for the pixels that the graph made; what those change is compared by itself, with its own tolerance.
    answers = [classify(batch) for batch in made]
    python = [prepare(batch, preprocess, views) for batch in pictures.batches]
    pairs = list(zip(python, made, strict=True))
    return RunGraph(
        prepend(preparing, model),
        exporter,
        fitted.to_json(),
        tuple(zip(pictures.batches, answers, strict=True)),
        pictures.rows,
        pictures.source,
        pictures.obstacle,
        compare_preparation(pairs, classify, answers, preprocess.grey_levels(), pictures.rows),
        views,
    )


def _parts(run: "Run") -> tuple[str, ...]:
    """Names of the logits that the run fused."""
    import torch

    with torch.no_grad():
        return tuple(run.model.parts(torch.ones(1, run.n_features)))


def _classify(module: "nn.Module") -> Callable[[NDArray[np.float32]], Outputs]:
    """A module as a function of arrays."""
    import torch

    def classify(batch: NDArray[np.float32]) -> Outputs:
        with torch.no_grad():
            return tuple(output.numpy() for output in module(torch.from_numpy(np.ascontiguousarray(batch))))

    return classify


def _answered(
    batches: Any, classify: Callable[[NDArray[np.float32]], Outputs]
) -> tuple[tuple[NDArray[np.float32], Outputs], ...]:
    return tuple((batch, classify(batch)) for batch in batches)
