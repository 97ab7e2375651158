"""A finished run as runs of MLflow: settings, figures, history and files."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import time
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.errors import UlfineError
from ulfine_cache.remote.places import without_secrets
from ulfine_fast.records.history import read_history_csv

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ulfine_fast.run import Run

_WHILE_LOGGING = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Nothing is sent to anybody but the tracking server, and nothing printed."""

_UNLESS_SET = {
    # Whoever names a folder means it, although MLflow would rather have a database there.
    "MLFLOW_ALLOW_FILE_STORE": "true",
    # Its own, seven and two minutes, are minutes of waiting where no server is.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
}

_AT_ONCE = 100
"""Figures or settings of one call; a server takes no more than a hundred settings."""

_BAD = re.compile(r"[^\w\-. :]")
"""What no name has: a slash is for our own prefix."""

_HISTORY = "history.csv"
_AGAIN = "log it with the same command and --overwrite"
"""What to do about a fit that is not logged; one that stands there already has nothing to be overwritten."""

_LONGEST_NAME, _LONGEST_VALUE, _LONGEST_REASON = 200, 500, 160


@dataclass(frozen=True)
class Fitted:
    """One seed of a run.

    Attributes:
        seed: The seed.
        metrics: Figures under the names of ``metrics.json``.
        history: Entries such as ``{"step": 1, "loss": 2.3}``.
    """

    seed: int
    metrics: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]


def check_mlflow() -> None:
    """Say what is to be installed, before anything is computed.

    Raises:
        UlfineError: MLflow is not installed.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise UlfineError("--log mlflow needs mlflow, which is not installed: pip install 'ulfine-fast[mlflow]'")


def log_run(run: Run, seeds: Sequence[Fitted], again: str = _AGAIN) -> dict[str, Any]:
    """Log a run that stands in its directory; whatever goes wrong, it stays there.

    Where to, MLflow's own environment variables say: ``MLFLOW_TRACKING_URI``, ``MLFLOW_EXPERIMENT_NAME`` or
    ``MLFLOW_EXPERIMENT_ID``, and whatever a server wants for access. No run is left active.

    Args:
        run: The run. Its files are logged with its first seed.
        seeds: What each seed of the fit came to; those after the first become children of its run.
        again: What to do where it fails, as the end of a sentence.

    Returns:
        ``{"to": "mlflow", "tracking_uri", "experiment", "runs", "failed"}``: ``runs`` are MLflow's names for them, one
        a seed; ``failed`` is a line that says why not all is there, or None.
    """
    logged: dict[str, Any] = {"to": "mlflow", "tracking_uri": None, "experiment": None, "runs": [], "failed": None}
    with _noting_failure(logged, run.path, again), _own_client(logged) as client:
        experiment = _experiment(client)
        logged["experiment"] = experiment.name
        parent = None
        for fitted in seeds:
            name = run.path.absolute().name + (f" seed {fitted.seed}" if parent else "")
            tags = _tags(run) | ({"mlflow.parentRunId": parent} if parent else {})
            number = client.create_run(experiment.experiment_id, run_name=name, tags=tags).info.run_id
            logged["runs"].append(number)
            with _ended(client, number, interrupted=run.provenance.get("interrupted_at") is not None):
                _log_params(client, number, run.config | {"seed": fitted.seed})
                _log_metrics(client, number, fitted)
                if parent is None:
                    client.log_artifacts(number, str(run.path))
            parent = parent or number
    return logged


def log_written_run(run: Run) -> dict[str, Any]:
    """Log a run that was fitted before, by `log_run`: what its directory holds.

    Of the seeds after the first that are the figures in ``seeds``; their history is not kept.

    Args:
        run: From `ulfine_fast.run.load_run`.

    Returns:
        As `log_run`.

    Raises:
        UlfineError: Its history is damaged.
    """
    seed = int(run.config.get("seed") or 0)
    seeds = [Fitted(seed, run.metrics, read_history_csv(run.path / _HISTORY))]
    spread = run.metrics.get("seeds") or {}
    for number in range(1, int(run.provenance.get("seeds") or 1)):
        figures = {name: of["per_seed"][number] for name, of in spread.items()}
        seeds.append(Fitted(seed + number, figures, []))
    return log_run(run, seeds, "run the same command again")


def log_file(logged: dict[str, Any], run: Path, file: Path) -> None:
    """Log one more file of a run, such as its report, with what `log_run` has logged.

    Args:
        logged: From `log_run`; a failure is noted there.
        run: Directory of the run.
        file: The file.
    """
    if logged["failed"] is None:
        with _noting_failure(logged, run), _own_client(logged) as client:
            client.log_artifact(logged["runs"][0], str(file))


@contextmanager
def _noting_failure(logged: dict[str, Any], run: Path, again: str = _AGAIN) -> Generator[None]:
    try:
        yield
    # Of MLflow, or of a database, a storage or a network behind it: what is fitted already is not lost for it.
    except (Exception, KeyboardInterrupt) as error:
        place = f" at {logged['tracking_uri']}" if logged["tracking_uri"] else ""
        logged["failed"] = (
            f"{run} is written, but not all of it is in MLflow{place} ({_reason(error)}): check MLFLOW_TRACKING_URI, "
            f"and {again}"
        )


def _reason(error: BaseException) -> str:
    """Why, in few words: MLflow's own hold those of every library below it."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            error = cause
        cause = cause.__cause__ or cause.__context__
    words = without_secrets(" ".join((getattr(error, "strerror", None) or str(error)).split()))
    return f"{type(error).__name__}: {words if len(words) <= _LONGEST_REASON else f'{words[:_LONGEST_REASON]}...'}"


@contextmanager
def _own_client(logged: dict[str, Any]) -> Generator[MlflowClient]:
    """A client beside whatever run the process has active, with the environment as it was afterwards."""
    before = dict(os.environ)
    os.environ.update(_UNLESS_SET | before | _WHILE_LOGGING)
    try:
        with warnings.catch_warnings():
            # MLflow's of its own versions and of what it calls.
            warnings.simplefilter("ignore")
            import mlflow

            logged["tracking_uri"] = without_secrets(mlflow.get_tracking_uri())
            yield mlflow.MlflowClient()
    finally:
        # MLflow sets some of its own, too.
        for name in [name for name in os.environ if "MLFLOW" in name and name not in before]:
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if "MLFLOW" in name})


def _experiment(client: MlflowClient) -> Any:
    if number := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return client.get_experiment(number)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME")
    if not name:
        return client.get_experiment("0")
    found = client.get_experiment_by_name(name)
    if found is None:
        # Another fit may make it at the same moment.
        with suppress(Exception):
            return client.get_experiment(client.create_experiment(name))
        found = client.get_experiment_by_name(name)
    return found or client.get_experiment(client.create_experiment(name))


@contextmanager
def _ended(client: MlflowClient, number: str, *, interrupted: bool) -> Generator[None]:
    try:
        yield
    except BaseException:
        with suppress(Exception):
            client.set_terminated(number, "FAILED")
        raise
    client.set_terminated(number, "KILLED" if interrupted else "FINISHED")


def _tags(run: Run) -> dict[str, str]:
    tags = {
        "mlflow.source.name": "ulfine fit",
        "ulfine.run": str(run.path),
        "ulfine.version": run.provenance["versions"]["ulfine-fast"],
        "ulfine.cache_fingerprint": (run.cache or {}).get("fingerprint"),
        "ulfine.split": (run.provenance.get("split") or {}).get("name"),
    }
    return {name: str(value) for name, value in tags.items() if value is not None}


def _log_params(client: MlflowClient, number: str, config: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    found = [Param(_name(name), _text(value)) for name, value in _flat(config)]
    for first in range(0, len(found), _AT_ONCE):
        client.log_batch(number, params=found[first : first + _AT_ONCE])


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def _log_metrics(client: MlflowClient, number: str, fitted: Fitted) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    last = 0
    found: list[Metric] = []
    for place, entry in enumerate(fitted.history, start=1):
        last = int(entry.get("step", place))
        found += [Metric(f"train/{_name(name)}", float(entry[name]), now, last) for name in entry if name != "step"]
    for name, value in _flat(fitted.metrics):
        if isinstance(value, int | float) and math.isfinite(value):
            # A figure that has an interval is called as in a gate.
            found.append(Metric(_name(name.removesuffix(".value")), float(value), now, last))
    for first in range(0, len(found), _AT_ONCE):
        client.log_batch(number, metrics=found[first : first + _AT_ONCE])


def _flat(content: Mapping[str, Any], before: str = "") -> Generator[tuple[str, Any]]:
    """Names with points, as of gates, and values; lists are values, and those of figures have tables of their own."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _name(name: str) -> str:
    return _BAD.sub("_", name)[:_LONGEST_NAME]
