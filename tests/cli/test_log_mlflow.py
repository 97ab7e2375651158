"""`ulfine fit --log mlflow`, as a pipeline uses it."""

import json
import os
import signal
import socket
from importlib.util import find_spec

import pytest

from ulfine_cache.import_features import import_features
from ulfine_fast.records import mlflow_log

# Importing it outside of a test would have it call its makers.
pytestmark = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")


@pytest.fixture(scope="module")
def cache(tmp_path_factory, feature_file):
    place = tmp_path_factory.mktemp("log-mlflow") / "cache"
    import_features(file=feature_file, out=place, index="none")
    return place


@pytest.fixture
def fit(ulfine_here, cache, tmp_path):
    def call(*more):
        return ulfine_here("fit", cache, "--method", "lp", "--set", "steps=3", "--out", tmp_path / "run", *more)

    return call


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store of files, which needs no tables; its experiments and runs are folders."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "store" / "0"


@pytest.fixture
def nobody(monkeypatch):
    """The address of a server that is not there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://somebody:secret@{address}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return address


def test_fit__logs_the_run_with_its_report(fit, store, tmp_path):
    done = fit("--log", "mlflow", "--json", tmp_path / "f.json").succeeded()
    logged = json.loads((tmp_path / "f.json").read_text("utf-8"))["logged"]
    assert "logging to MLflow" in done.err.splitlines()
    assert f"1 run is in MLflow at {store.parent.as_uri()}, experiment 'Default'" in done.out.splitlines()
    (number,) = logged["runs"]
    artefacts = store / number / "artifacts"
    assert (artefacts / "report.html").read_bytes() == (tmp_path / "run" / "report.html").read_bytes()
    assert {file.name for file in artefacts.iterdir()} == {file.name for file in (tmp_path / "run").iterdir()}
    # Nothing but notes on standard error, nothing of MLflow's on standard output.
    assert "mlflow." not in done.err + done.out
    quiet = fit("--log", "mlflow", "--overwrite", "--quiet", "--no-report").succeeded()
    assert (quiet.out, quiet.err) == ("", "")
    (other,) = {folder.name for folder in store.iterdir() if folder.is_dir()} - {number}
    assert (store / other / "artifacts" / "metrics.json").is_file()
    assert not (store / other / "artifacts" / "report.html").exists()


def test_fit__a_server_that_is_not_there_costs_nothing(fit, nobody, tmp_path):
    done = fit("--log", "mlflow", "--json", tmp_path / "f.json")
    assert done.exit_code == 1
    lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert lines == [
        f"error: {tmp_path / 'run'} is written, but not all of it is in MLflow at http://***@{nobody} "
        "(ConnectionRefusedError: Connection refused): check MLFLOW_TRACKING_URI, and log it with the same command and "
        "--overwrite"
    ]
    assert done.err.splitlines()[-1] == lines[0]
    assert "secret" not in done.out + done.err + (tmp_path / "f.json").read_text("utf-8")
    assert f"written to {tmp_path / 'run'}" in done.out.splitlines()
    assert (tmp_path / "run" / "report.html").is_file()
    assert json.loads((tmp_path / "f.json").read_text("utf-8"))["logged"]["failed"] in lines[0]


def test_fit__a_server_that_goes_before_the_report_is_told(fit, store, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    def gone(*_):
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(MlflowClient, "log_artifact", gone)
    done = fit("--log", "mlflow")
    assert done.exit_code == 1
    assert "(ConnectionResetError: Connection reset by peer)" in done.err.splitlines()[-1]
    assert (tmp_path / "run" / "report.html").is_file()


def test_fit__interrupted_while_it_logs_keeps_the_run(fit, store, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setattr(MlflowClient, "log_artifacts", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    done = fit("--log", "mlflow", "--quiet")
    assert done.exit_code == 1
    assert done.err.startswith(
        f"error: {tmp_path / 'run'} is written, but not all of it is in MLflow at {store.parent.as_uri()}"
    )
    assert "(interrupted)" in done.err
    assert len(done.err.splitlines()) == 1
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_fit__wrong_calls_do_no_work(fit, tmp_path, monkeypatch):
    assert fit("--log", "wandb").failed(2) == "error: log='wandb' cannot be used: choose mlflow"
    monkeypatch.setattr(mlflow_log.importlib.util, "find_spec", lambda name: None)
    line = "error: --log mlflow needs mlflow, which is not installed: pip install 'ulfine-fast[mlflow]'"
    assert fit("--log", "mlflow").failed(1) == line
    assert list(tmp_path.iterdir()) == []


def test_report__logs_a_run_that_was_fitted_before(fit, ulfine_here, store, tmp_path):
    fit("--no-report").succeeded()
    done = ulfine_here("report", tmp_path / "run", "--log", "mlflow", "--json", tmp_path / "r.json").succeeded()
    assert done.out.splitlines() == [f"1 run is in MLflow at {store.parent.as_uri()}, experiment 'Default'"]
    assert "logging to MLflow" in done.err.splitlines()
    figures = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert list(figures) == ["logged"]
    (number,) = figures["logged"]["runs"]
    artefacts = store / number / "artifacts"
    assert {file.name for file in artefacts.iterdir()} == {file.name for file in (tmp_path / "run").iterdir()}
    for page in (tmp_path / "r.html", tmp_path / "run" / "report.html"):
        done = ulfine_here("report", tmp_path / "run", "--out", page, "--map", "pca", "--log", "mlflow").succeeded()
        assert done.out.splitlines()[0].split() == ["out", str(page)]
        (number,) = {folder.name for folder in store.iterdir() if folder.is_dir()} - {artefacts.parent.name, number}
        assert (store / number / "artifacts" / page.name).read_bytes() == page.read_bytes()


def test_report__a_server_that_is_not_there_is_told(fit, ulfine_here, nobody, tmp_path):
    fit("--no-report").succeeded()
    done = ulfine_here("report", tmp_path / "run", "--log", "mlflow")
    assert done.exit_code == 1
    assert done.err.splitlines()[-1] == (
        f"error: {tmp_path / 'run'} is written, but not all of it is in MLflow at http://***@{nobody} "
        "(ConnectionRefusedError: Connection refused): check MLFLOW_TRACKING_URI, and run the same command again"
    )


def test_report__wrong_calls_say_so(fit, ulfine_here, tmp_path):
    line = "error: missing option '--out': name the HTML file, or log the run with --log mlflow"
    assert ulfine_here("report", tmp_path / "run").failed(2) == line
    (tmp_path / "comparison.json").write_text("{}")
    line = f"error: {tmp_path / 'comparison.json'} is no run, so --log has no meaning"
    assert ulfine_here("report", tmp_path / "comparison.json", "--log", "mlflow").failed(2) == line
    assert ulfine_here("report", tmp_path / "nowhere", "--log", "mlflow").failed(1).startswith("error: ")
