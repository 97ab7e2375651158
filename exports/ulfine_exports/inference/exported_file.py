"""A file written by `ulfine export`, opened: what the public reader, `predict` and the server all start from."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError
from ulfine_cache.wording.counts import amount
from ulfine_exports.inference.acceptable import answer_objection, input_objection
from ulfine_exports.inference.providers import Device, open_session
from ulfine_exports.inference.untrusted_model import read_model
from ulfine_exports.metadata import ACCEPTED, OUTLIER_SCORE, ExportMetadata

if TYPE_CHECKING:
    from ulfine_cache.preprocess import Preprocess


class Answers(NamedTuple):
    """What a model says of n rows.

    Attributes:
        probabilities: float32 (n, C).
        logits: float32 (n, C): any whose softmax are the probabilities.
        outlier_scores: float32 (n,), above 1 for what is unlike every class; None of a model without such a score.
    """

    probabilities: NDArray[np.float32]
    logits: NDArray[np.float32]
    outlier_scores: NDArray[np.float32] | None = None


class ExportedFile:
    """An exported file and the onnxruntime session that runs it.

    The file is not trusted: it is read into memory and refused when it refers to data outside itself or to operators
    beyond the ONNX standard, before onnxruntime sees it.

    Args:
        path: The ``.onnx`` file.
        device: As for `open_session`.
        threads: As for `open_session`.
        spinning: As for `open_session`.
        timeout: Seconds that a batch may take; None for no bound.

    Attributes:
        path: The file.
        metadata: All that the file says about itself.
        opened: The session, and what it really runs on.

    Raises:
        UlfineError: The file is missing, is no ONNX model, was not written by `ulfine export`, or is refused as above;
            CUDA was asked for and cannot be had.
    """

    def __init__(
        self,
        path: Path,
        device: Device = "auto",
        *,
        threads: int | None = None,
        spinning: bool = True,
        timeout: float | None = None,
    ) -> None:
        self.path = path
        model = read_model(path)
        self.metadata = ExportMetadata.from_props({item.key: item.value for item in model.metadata_props}, str(path))
        data = model.SerializeToString()
        # Hundreds of megabytes less while onnxruntime makes its own copy.
        del model
        self.opened = replace(open_session(data, device, threads=threads, spinning=spinning), timeout=timeout)
        names = [item.name for item in self.opened.session.get_inputs()]
        if names != [self.metadata.input]:
            raise UlfineError(
                f"{path} takes {', '.join(map(repr, names))}, its metadata say {self.metadata.input!r}: export again"
            )
        self._check_outputs()

    def _check_outputs(self) -> None:
        n_classes = len(self.metadata.class_names)
        names = [output.name for output in self.opened.session.get_outputs()]
        if self.scores_outliers and OUTLIER_SCORE not in names:
            raise UlfineError(f"{self.path} has no output {OUTLIER_SCORE!r}, which its metadata name: export it again")
        for output in self.opened.session.get_outputs():
            if output.name == OUTLIER_SCORE and len(output.shape or [""]) != 1:
                raise UlfineError(f"{self.path} gives {output.name} of shape {tuple(output.shape)}: export it again")
            if output.name in (ACCEPTED, OUTLIER_SCORE):
                continue
            # The shape may be unknown until the graph runs, or a size of it: then that has a name.
            if not output.shape or (len(output.shape) == 2 and not isinstance(output.shape[1], int)):
                continue
            if len(output.shape) != 2 or output.shape[1] != n_classes:
                raise UlfineError(
                    f"{self.path} gives {output.name} of shape {tuple(output.shape)}, and names "
                    f"{amount(n_classes, 'class')}: export the run again"
                )

    @property
    def scores_outliers(self) -> bool:
        """Whether answers have outlier scores."""
        return self.metadata.outlier_known_share is not None

    @cached_property
    def preprocess(self) -> "Preprocess":
        """How this file wants its images, as the cache was made; for ``image`` how it prepares them itself.

        Raises:
            UlfineError: This file takes features.
        """
        if self.metadata.input == "features":
            raise UlfineError(f"{self.path} takes features, not images: export the run with --input pixels or image")
        from ulfine_cache.pictures.joined_preprocess import read_preprocess

        return read_preprocess(self.metadata.preprocess)

    def checked(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Rows as the graph takes them: uint8 for ``image``, float32 otherwise.

        Args:
            rows: (n, ...) of the input; any floating type where the graph takes floats.

        Raises:
            UlfineError: They have another shape or type, or are refused by
                `ulfine_exports.inference.acceptable.input_objection`.
        """
        kind = self.metadata.input
        expected = tuple(self.opened.session.get_inputs()[0].shape[1:])
        fits = rows.ndim == len(expected) + 1 and all(
            have == want or (isinstance(want, str) and have > 0)
            for have, want in zip(rows.shape[1:], expected, strict=True)
        )
        if not fits:
            shape = ", ".join(str(size) for size in ("N", *expected))
            raise UlfineError(f"{self.path} takes {kind} of shape ({shape}), not {rows.shape}")
        if kind == "image":
            if rows.dtype != np.uint8:
                raise UlfineError(f"{self.path} takes uint8 images, not {rows.dtype}")
            return rows
        if not np.issubdtype(rows.dtype, np.floating):
            raise UlfineError(f"{self.path} takes floating-point {kind}, not {rows.dtype}")
        if reason := input_objection(kind, rows):
            raise UlfineError(reason)
        return rows.astype(np.float32, copy=False)

    def run(self, rows: NDArray[Any]) -> Answers:
        """Answers for n >= 1 rows that `checked` has let through.

        Raises:
            UlfineError: The answers are not finite.
        """
        wanted = ["probabilities", "logits", *([OUTLIER_SCORE] if self.scores_outliers else [])]
        found = Answers(*self.opened.run(np.ascontiguousarray(rows), wanted))
        probabilities, logits, scores = found
        expected = (len(rows), len(self.metadata.class_names))
        if not probabilities.shape == logits.shape == expected:
            raise UlfineError(
                f"{self.path} answers {amount(len(rows), 'row')} with probabilities {probabilities.shape} and logits "
                f"{logits.shape}, and names {amount(expected[1], 'class')}: export the run again"
            )
        if scores is not None and scores.shape != (len(rows),):
            raise UlfineError(
                f"{self.path} answers {amount(len(rows), 'row')} with outlier scores {scores.shape}: export it again"
            )
        given = dict(zip(wanted, (probabilities, logits, scores), strict=False))
        if reason := answer_objection({name: values for name, values in given.items() if values is not None}):
            raise UlfineError(f"{self.path}: {reason}")
        return found

    def answers(self, rows: NDArray[Any]) -> Answers:
        """Answers for n rows that run together; n may be 0.

        Raises:
            UlfineError: As `checked` and `run`.
        """
        rows = self.checked(rows)
        if not len(rows):
            none = np.zeros((0, len(self.metadata.class_names)), np.float32)
            return Answers(none, none, none[:, 0] if self.scores_outliers else None)
        return self.run(rows)
