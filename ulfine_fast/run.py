"""A run: the directory that holds one fitted model and everything needed to use, judge and repeat it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from ulfine_cache.atomic import new_directory
from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.trees.regular_file import read_text
from ulfine_cache.store.digest_file import file_sha256
from ulfine_cache.store.unit_norm import objection
from ulfine_cache.wording.counts import amount
from ulfine_fast.elsewhere.found_method import GROUP, Origin
from ulfine_fast.version import __version__

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ulfine_fast.judging.outlier_score import OutlierScale
    from ulfine_fast.models.logit_model import LogitModel

SCHEMA_VERSION = 1
CONFIG, MODEL, METRICS, PROVENANCE = "config.yaml", "model.safetensors", "metrics.json", "provenance.json"
HISTORY, PREDICTIONS = "history.csv", "predictions.csv"
CROSS_VALIDATED, PER_CLASS = "cross_validated.csv", "per_class.csv"
_SCORED_ROWS = 8192
_DIGESTS = "sha256"
"""Of `PROVENANCE`: file name to digest, its own over what answers depend on; runs of earlier versions have none."""


@dataclass(frozen=True, repr=False)
class Run:
    """A fitted model with its history.

    Attributes:
        path: The run directory.
        model: torch module, features (N, D) to logits (N, C), on the CPU.
        method: Name of the method.
        config: What ``config.yaml`` holds: ``method``, ``seed``, ``split``, ``device``, ``views`` and, resolved,
            ``settings``; for methods from elsewhere also ``prior_power``, of `Method`.
        class_names: C names; column k of every output is class k.
        labelled_counts: Labelled training images of each class.
        n_features: Feature width D.
        metrics: Figures on the test rows, and under ``cross_validated`` those of left-out rows, as in
            ``metrics.json``.
        provenance: ``cache`` (path, fingerprint and how its features were made; None for features that never were in a
            cache), ``split`` (name, protocol, sizes), ``seed``, ``versions``, ``created``, ``seconds``,
            ``diagnostics``.
    """

    path: Path
    model: LogitModel
    method: str
    config: dict[str, Any]
    class_names: tuple[str, ...]
    labelled_counts: tuple[int, ...]
    n_features: int
    metrics: dict[str, Any]
    provenance: dict[str, Any]

    def __repr__(self) -> str:
        """The directory and what it holds, in one line."""
        sizes = f"{amount(self.n_features, 'feature')}, {amount(len(self.class_names), 'class')}"
        return f"<Run {str(self.path)!r}: {self.method}, {sizes}>"

    def _repr_html_(self) -> str:
        """The accuracies and where they are from, as notebooks show a run."""
        from ulfine_fast.judging.html_table import html_table, percent_cell

        names = ("accuracy", "macro_accuracy", "head_accuracy", "medium_accuracy", "tail_accuracy")
        known = [name for name in names if self.metrics.get(name) is not None]
        title = f"{self.path}: {self.method}, {amount(len(self.class_names), 'class')}"
        if not known:
            return html_table(title, ["labelled images"], [[str(sum(self.labelled_counts))]])
        columns = [name.removesuffix("_accuracy") for name in known]
        cells = [percent_cell(self.metrics[name]) for name in known]
        return html_table(
            f"{title}, percent of {amount(int(self.metrics.get('test_rows') or 0), 'test row')}", columns, [cells]
        )

    @property
    def cache(self) -> dict[str, Any] | None:
        """How the features were made: path, fingerprint, model, pretrained, weights_hash, preprocess and so on."""
        cache: dict[str, Any] | None = self.provenance.get("cache")
        return cache

    @property
    def views(self) -> str:
        """What the run looks at in an image: ``"center"`` or ``"five-crop"`` (`ulfine_fast.judging.five_crops`)."""
        return str(self.config.get("views", "center"))

    @property
    def threshold(self) -> float | None:
        """Confidence from which an answer counts as accepted (`ulfine_fast.deciding.acceptance`); None: none learnt."""
        found = self.metrics.get("acceptance") or {}
        return None if found.get("threshold") is None else float(found["threshold"])

    @property
    def class_thresholds(self) -> tuple[float, ...] | None:
        """That of each class, (C,), of a run fitted with ``--accept-by class``; None: `threshold` is for all."""
        entries = (self.metrics.get("acceptance") or {}).get("by_class") or []
        if len(entries) != len(self.class_names) or any("threshold" not in entry for entry in entries):
            return None
        return tuple(float(entry["threshold"]) for entry in entries)

    @property
    def outlier_scale(self) -> OutlierScale | None:
        """What its outlier score is measured by; None of a run that was fitted without ``--outlier-score``."""
        from ulfine_fast.judging.outlier_score import OutlierScale

        found = self.metrics.get("outlier_score")
        return OutlierScale(float(found["middle"]), float(found["threshold"])) if found else None

    def predict_proba(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Class probabilities of features from the encoder that the run was fitted on.

        Args:
            features: float (N, D), of any length that `ulfine_cache.store.unit_norm` lets through; or (N, views, D),
                whose logits are averaged over the views.

        Returns:
            float32 (N, C), rows sum to 1.

        Raises:
            UlfineError: The width is not D, or rows hold NaN or infinite values or have a length that cannot be
                normalised.

        Example:
            >>> run = load_run(Path("runs/first"))
            >>> run.class_names[int(run.predict_proba(cache.features([0]))[0].argmax())]
            'seven'
        """
        import torch

        from ulfine_fast.judging.five_crops import mean_logits

        rows = self._rows(features)
        if rows.ndim == 3:
            return torch.softmax(mean_logits(self.model, rows.unbind(1)), dim=-1).numpy()
        return self.model.probabilities(rows).numpy()

    def outlier_scores(self, features: NDArray[np.floating]) -> NDArray[np.float32] | None:
        """How unlike every class features are (`ulfine_fast.judging.outlier_score`).

        Args:
            features: As for `predict_proba`.

        Returns:
            float32 (N,): 0 is as the middle of labelled rows that were left out of the fit, and above 1 stranger than
            95 % of them. None of a run without such a score.

        Raises:
            UlfineError: As `predict_proba`.

        Example:
            >>> run = load_run(Path("runs/first"))
            >>> run.outlier_scores(cache.features([0])) is None
            True
        """
        from ulfine_fast.judging.five_crops import mean_logits
        from ulfine_fast.judging.outlier_score import outlier_scores

        rows, scale = self._rows(features), self.outlier_scale
        if scale is None:
            return None
        blocks = [block.unbind(1) if block.ndim == 3 else [block] for block in rows.split(_SCORED_ROWS)]
        return np.concatenate([outlier_scores(mean_logits(self.model, block).numpy(), scale) for block in blocks])

    def _rows(self, features: NDArray[np.floating]) -> Tensor:
        """Features as a tensor, float32, when they can be answered for."""
        import torch

        if features.ndim not in (2, 3) or features.shape[-1] != self.n_features or 0 in features.shape[1:]:
            raise UlfineError(
                f"features of shape {features.shape} do not fit the run {self.path}, which takes "
                f"(N, {self.n_features}): they come from another model"
            )
        if reason := objection(features, "the features"):
            raise UlfineError(reason)
        return torch.as_tensor(np.ascontiguousarray(features, dtype=np.float32))

    def answered_prior(self) -> NDArray[np.float64]:
        """The class prior that the logits answer for, float64 (C,).

        Raises:
            UsageError: The settings are not those of the method in this version.
        """
        from ulfine_fast.priors.class_prior import answered_prior
        from ulfine_fast.settings import prior_power

        return answered_prior(self.labelled_counts, prior_power(self.config))

    def figures(self) -> dict[str, Any]:
        """What the command line prints and writes with ``--json``: the path, the method and the metrics.

        ``interrupted_at`` stands there where Ctrl-C ended the fit, after that step, round or seed.
        """
        interrupted_at = self.provenance.get("interrupted_at")
        early = {} if interrupted_at is None else {"interrupted_at": interrupted_at}
        return {"run": str(self.path), "method": self.method, **early, **self.metrics}


@contextmanager
def new_run_directory(out: Path, *, overwrite: bool = False) -> Generator[Path]:
    """Write a run in a hidden directory next to where it will stand and move it there in one step.

    So a run directory that exists is complete; when the body raises, nothing is left behind. While one process writes a
    run, no other one begins to write the same.

    Args:
        out: Where the run will stand.
        overwrite: Whether a run that stands there may be replaced. Anything else is never replaced.

    Yields:
        An empty directory to write into.

    Raises:
        UlfineError: `out` holds something, is being written by another process, or cannot be written.
    """
    with new_directory(out.absolute(), hidden=True, replace=overwrite) as folder:
        _check_target(out, overwrite)
        yield folder


def _check_target(out: Path, overwrite: bool) -> None:
    if out.is_file():
        raise UlfineError(f"{out} is a file: choose another --out")
    if out.is_dir() and any(out.iterdir()):
        if not (out / MODEL).is_file() or not (out / PROVENANCE).is_file():
            raise UlfineError(f"{out} is not empty and holds no run: choose another --out")
        if not overwrite:
            raise UlfineError(f"{out} already holds a run: choose another --out, or replace it with --overwrite")


def write_run(folder: Path, run: Run) -> None:
    """Write everything but history and predictions into a directory.

    ``model.safetensors`` describes itself: its metadata hold the method, the architecture and the classes.
    ``provenance.json`` holds the SHA-256 of the other three files that `load_run` reads, and of what answers depend on
    in itself.

    Args:
        folder: An existing directory, usually from `new_run_directory`.
        run: What to write; its `path` is not used.
    """
    from safetensors.torch import save

    from ulfine_fast.elsewhere.known_models import name_of
    from ulfine_fast.registry import METHODS

    description: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "method": run.method,
        "architecture": run.model.architecture(),
        "class_names": run.class_names,
        "labelled_counts": run.labelled_counts,
        "n_features": run.n_features,
    }
    if run.method not in METHODS:
        description["model"] = name_of(run.model)
    # One key only: older safetensors write several in an order that changes from process to process.
    metadata = {"ulfine": json.dumps(description, sort_keys=True)}
    tensors = {name: tensor.contiguous().clone() for name, tensor in run.model.state_dict().items()}
    # save_file would leave a file that only its owner can read.
    files = {
        MODEL: save(tensors, metadata=metadata),
        CONFIG: yaml.safe_dump(run.config, sort_keys=True, allow_unicode=True).encode(),
        METRICS: _as_json(run.metrics),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    # As it will be read.
    provenance = json.loads(_as_json(run.provenance))
    digests[PROVENANCE] = hashlib.sha256(_relied_on(provenance)).hexdigest()
    files[PROVENANCE] = _as_json({**provenance, _DIGESTS: digests})
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _as_json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, allow_nan=False, default=_as_plain) + "\n").encode()


def _relied_on(provenance: dict[str, Any]) -> bytes:
    """What answers depend on; a place or a name may be another one where a run has moved."""
    cache = provenance.get("cache") or {}
    found = [cache.get("preprocess"), cache.get("precision"), provenance.get("classes"), provenance.get("columns")]
    return json.dumps(found).encode()


def _as_plain(value: Any) -> Any:
    # A method may leave numbers and arrays of numpy or torch among its diagnostics.
    return value.tolist()


def load_run(path: Path | str) -> Run:
    """Open a run directory. Nothing in it is executed or unpickled, and its files are compared with their digests.

    Args:
        path: A directory that `ulfine fit` or `ULFineClassifier.save` wrote.

    Raises:
        UlfineError: It is missing, damaged, or of a newer version.

    Example:
        >>> load_run(Path("runs/first")).metrics["macro_accuracy"] > 0.9
        True
    """
    from safetensors import SafetensorError, safe_open

    from ulfine_cache.names.text_path import text_path

    path = Path(path)
    if not (path / MODEL).is_file():
        what = "holds no run" if path.is_dir() else "does not exist"
        raise UlfineError(f"{path} {what}: make one with `ulfine fit CACHE --out {path}`")
    try:
        with text_path(path / MODEL) as weights, safe_open(weights, framework="pt") as file:
            description = json.loads((file.metadata() or {})["ulfine"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if description["schema_version"] > SCHEMA_VERSION:
            raise UlfineError(f"the run {path} was written by a newer ulfine-fast: upgrade this one")
        method = description["method"]
        build = _builder(path, method, description.get("model"))
        provenance = json.loads(_text(path / PROVENANCE))
        _check_digests(path, provenance, provenance.pop(_DIGESTS, {}))
        model = _built(build, description["architecture"])
        model.load_state_dict(tensors)
        _check_sizes(description, model)
        config = yaml.safe_load(_text(path / CONFIG))
        metrics = json.loads(_text(path / METRICS))
        if not all(isinstance(content, dict) for content in (config, metrics, provenance)):
            raise ValueError("a file is no mapping")
        return Run(
            path=path,
            model=model.eval().requires_grad_(False),
            method=method,
            config=config,
            class_names=tuple(description["class_names"]),
            labelled_counts=tuple(description["labelled_counts"]),
            n_features=int(description["n_features"]),
            metrics=metrics,
            provenance=provenance,
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, yaml.YAMLError) as error:
        words = " ".join(str(error).split())
        detail = words if len(words) <= 160 else words[:157] + "..."
        raise UlfineError(f"the run {path} is damaged ({type(error).__name__}: {detail}): fit it again") from error


def _builder(path: Path, method: str, model: Any) -> Callable[[dict[str, Any]], LogitModel]:
    """What makes the untrained model of a run again. A run never says which code to run."""
    from ulfine_fast.registry import builder_of, known_methods

    if (build := builder_of(method, model)) is not None:
        return build
    if origin := _origin_of(path):
        raise UlfineError(
            f"the run {path} is of method {method!r} of {origin}, whose model is its own: install a package that has "
            f"the method as an entry point in {GROUP}"
        )
    raise UlfineError(
        f"the run {path} is of method {method!r}, which ulfine-fast {__version__} does not have: use the "
        f"version that wrote it{_version_of(path)}, or fit it again with one of {', '.join(known_methods())}"
    )


def _built(build: Callable[[dict[str, Any]], LogitModel], architecture: dict[str, Any]) -> LogitModel:
    """The untrained model, of several encoders where it has some."""
    from ulfine_fast.models.several_encoders import ENCODERS, SeveralEncoders

    if ENCODERS not in architecture:
        return build(architecture)
    return SeveralEncoders([build(each) for each in architecture["models"]], architecture[ENCODERS])


def _origin_of(path: Path) -> Origin | None:
    """Where a run's method comes from, as the run says; None for a method of this package."""
    try:
        return Origin(**json.loads(_text(path / PROVENANCE))["method"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _text(path: Path) -> str:
    # A named pipe of that name would be waited for.
    return read_text(path, most=1 << 30)


def _check_sizes(description: dict[str, Any], model: LogitModel) -> None:
    """Refuse a run whose parts are of different numbers of classes."""
    import torch

    n_classes = len(description["class_names"])
    sizes = {
        "labelled_counts": len(description["labelled_counts"]),
        "the model": model(torch.ones(1, int(description["n_features"]))).shape[1],
    }
    for part, size in sizes.items():
        if size != n_classes:
            raise ValueError(f"{part} is for {amount(size, 'class')}, class_names for {n_classes}")


def _version_of(path: Path) -> str:
    """The version that wrote a run, in brackets, where the run says it."""
    try:
        version = json.loads(_text(path / PROVENANCE))["versions"]["ulfine-fast"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return f" ({version})"


def _check_digests(path: Path, provenance: dict[str, Any], digests: Any) -> None:
    if not isinstance(digests, dict) or not set(digests) <= {MODEL, CONFIG, METRICS, PROVENANCE}:
        raise ValueError(f"{PROVENANCE} has no digests of files of a run under {_DIGESTS!r}")
    for name, digest in digests.items():
        relied_on = name == PROVENANCE
        found = hashlib.sha256(_relied_on(provenance)).hexdigest() if relied_on else file_sha256(path / name)
        if found != digest:
            raise ValueError(f"{name} has changed since it was written, by its SHA-256 in {PROVENANCE}")
