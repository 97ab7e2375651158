"""What is asked for in a folder of predictions, in small values from which any process makes the same parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.store.digest_file import file_sha256
from ulfine_exports.predicting.part_files import PartFolder
from ulfine_exports.predicting.part_work import PartWork
from ulfine_fast.judging.five_crops import Views

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ulfine_cache.sources.source import ImageSource
    from ulfine_exports.inference.exported_file import Answers
    from ulfine_exports.predicting.predictors import Predictor


@dataclass(frozen=True)
class PartRequest:
    """One call of `predict` for a folder.

    Attributes:
        model: The run or the exported file.
        place: The source.
        out: The folder.
        options: How the source is read.
        views: As it was asked for.
        prior: The test prior, (C,); None without one.
        timeout: Seconds that an exported file may take for a batch.
        part_size: Images of a part.
        batch_size: Images that are classified together.
        workers: Threads that read and decode; None for one a core.
    """

    model: Path
    place: Path
    out: Path
    options: SourceOptions
    views: Views
    prior: NDArray[np.float64] | None
    timeout: float
    part_size: int
    batch_size: int
    workers: int | None

    def model_digest(self) -> str:
        """16 hexadecimal digits: of the file that holds the model.

        Raises:
            OSError: It cannot be read.
        """
        return file_sha256(self.model / "model.safetensors" if self.model.is_dir() else self.model)[:16]

    def settings(self, predictor: Predictor) -> dict[str, Any]:
        """What decides about the bytes of the parts, for `PartFolder.settle`."""
        thresholds = self.class_thresholds(predictor)
        return {
            "model": self.model_digest(),
            "views": predictor.views,
            "test_prior": None if self.prior is None else [float(f"{share:.6g}") for share in self.prior],
            "part_size": self.part_size,
            "batch_size": self.batch_size,
            **({} if thresholds is None else {"class_thresholds": list(thresholds)}),
            **({"outlier_score": True} if predictor.scores_outliers else {}),
        }

    def threshold(self, predictor: Predictor) -> float | None:
        """From which confidence an answer is accepted; None under a test prior, for which none was learnt."""
        return predictor.threshold if self.prior is None else None

    def class_thresholds(self, predictor: Predictor) -> tuple[float, ...] | None:
        """The same, class by class."""
        return predictor.class_thresholds if self.prior is None else None

    def work(self, source: ImageSource, predictor: Predictor, cores: int | None = None) -> PartWork:
        """Return the work in this process.

        Args:
            source: As it is listed here.
            predictor: The model as it is loaded here.
            cores: How many the process may use; None for all of the machine.
        """
        from ulfine_fast.priors.class_prior import prior_shift, probabilities_under

        shift = None if self.prior is None else prior_shift(self.prior, predictor.answered_prior())

        def answer(answers: Answers) -> NDArray[np.float32]:
            return answers.probabilities if shift is None else probabilities_under(answers.logits, shift)

        return PartWork(
            source,
            PartFolder(self.out),
            predictor,
            answer,
            self.class_thresholds(predictor) or self.threshold(predictor),
            part_size=self.part_size,
            batch_size=self.batch_size,
            workers=self.workers,
            cores=cores,
        )
