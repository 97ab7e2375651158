"""Runs of MLflow made of a run of ours, in a real store."""

import os
import shutil
import warnings
from importlib.util import find_spec

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.import_features import import_features
from ulfine_fast.fitting import fit
from ulfine_fast.records import mlflow_log
from ulfine_fast.run import load_run

# Importing it outside of a test would have it call its makers.
pytestmark = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """An MLflow database with its tables: making these takes longer than all else."""
    place = tmp_path_factory.mktemp("mlflow") / "empty.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}")
        patch.chdir(place.parent)
        with mlflow_log._own_client({}) as client:
            client.search_experiments()
            client._tracking_client.store._dispose_engine()
    return place


@pytest.fixture
def client(tmp_path, monkeypatch, empty_store):
    """What a store of this test holds; a fit logs into it."""
    shutil.copy(empty_store, tmp_path / "m.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'm.db'}")
    for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        client = MlflowClient()
        yield client
        client._tracking_client.store._dispose_engine()


@pytest.fixture(scope="module")
def cache(tmp_path_factory, feature_file):
    place = tmp_path_factory.mktemp("mlflow-cache") / "cache"
    import_features(file=feature_file, out=place, index="none")
    return place


def fast(cache, out, **more):
    settings = () if more.get("method") else ("steps=3",)
    return fit(cache=cache, out=out, **{"method": "lp", "set": settings, "log": "mlflow", **more})


def runs(client, experiment="0"):
    found = client.search_runs([experiment], order_by=["attributes.start_time ASC"])
    return sorted(found, key=lambda run: run.info.run_name)


def test_fit__logs_settings_figures_history_files_and_tags(cache, client, tmp_path):
    run = fast(cache, tmp_path / "week-1", seed=7)
    (logged,) = runs(client)
    assert logged.info.run_name == "week-1"
    assert logged.info.status == "FINISHED"
    assert logged.data.params["method"] == "lp"
    assert logged.data.params["seed"] == "7"
    assert logged.data.params["settings.steps"] == "3"
    for name in ("accuracy", "macro_accuracy", "ece", "seconds"):
        assert logged.data.metrics[name] == run.metrics[name]
    assert logged.data.metrics["intervals.accuracy.low"] == run.metrics["intervals"]["accuracy"]["low"]
    history = client.get_metric_history(logged.info.run_id, "train/loss")
    lines = (run.path / "history.csv").read_text("utf-8").splitlines()
    assert [entry.step for entry in history] == [int(line.split(",")[0]) for line in lines[1:]]
    assert len(history) > 0
    files = {file.path: file.file_size for file in client.list_artifacts(logged.info.run_id)}
    assert files == {file.name: file.stat().st_size for file in run.path.iterdir()}
    assert {"model.safetensors", "config.yaml", "per_class.csv"} < set(files)
    assert logged.data.tags["ulfine.cache_fingerprint"] == run.cache["fingerprint"]
    assert logged.data.tags["ulfine.version"] == run.provenance["versions"]["ulfine-fast"]
    assert run.figures()["logged"] == {
        "to": "mlflow",
        "tracking_uri": f"sqlite:///{tmp_path / 'm.db'}",
        "experiment": "Default",
        "runs": [logged.info.run_id],
        "failed": None,
    }
    assert "logged" not in load_run(run.path).metrics


def test_fit__names_figures_of_left_out_rows_as_gates_do(cache, client, tmp_path):
    run = fast(cache, tmp_path / "run", method="ulfine", set=["folds=2"])
    (logged,) = runs(client)
    found = run.metrics["cross_validated"]["macro_accuracy"]["value"]
    assert logged.data.metrics["cross_validated.macro_accuracy"] == found


def test_fit__each_seed_is_a_run(cache, client, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "trees & more")
    run = fast(cache, tmp_path / "run", method="ulfine", set=["folds=2"], seed=4, seeds=3)
    experiment = client.get_experiment_by_name("trees & more")
    first, *others = runs(client, experiment.experiment_id)
    assert [each.info.run_name for each in (first, *others)] == ["run", "run seed 5", "run seed 6"]
    assert [each.data.params["seed"] for each in (first, *others)] == ["4", "5", "6"]
    assert {each.data.tags["mlflow.parentRunId"] for each in others} == {first.info.run_id}
    assert "mlflow.parentRunId" not in first.data.tags
    spread = [each.data.metrics["accuracy"] for each in (first, *others)]
    assert np.mean(spread) == pytest.approx(run.metrics["seeds"]["accuracy"]["mean"])
    losses = [client.get_metric_history(each.info.run_id, "train/loss")[-1].value for each in (first, *others)]
    assert len(set(losses)) == 3
    assert run.metrics["logged"]["experiment"] == "trees & more"
    # The experiment is there now.
    fast(cache, tmp_path / "second")
    assert len(runs(client, experiment.experiment_id)) == 4


def test_fit__leaves_nothing_behind(cache, client, tmp_path):
    import mlflow

    with mlflow.start_run(run_name="another's") as active:
        before = dict(os.environ)
        fast(cache, tmp_path / "run")
        assert dict(os.environ) == before
        assert mlflow.active_run().info.run_id == active.info.run_id
    assert mlflow.active_run() is None
    assert client.get_run(active.info.run_id).data.metrics == {}


@pytest.mark.parametrize("error", [RuntimeError("disk\nfull"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_fit__a_failure_half_way_ends_the_run_and_is_a_line(cache, client, tmp_path, monkeypatch, error):
    from mlflow import MlflowClient

    def broken(*_):
        raise error

    monkeypatch.setattr(MlflowClient, "log_artifacts", broken)
    run = fast(cache, tmp_path / "run")
    (logged,) = runs(client)
    assert logged.info.status == "FAILED"
    reason = "interrupted" if isinstance(error, KeyboardInterrupt) else "RuntimeError: disk full"
    assert f"{run.path} is written, but not all of it is in MLflow at sqlite:///" in run.metrics["logged"]["failed"]
    assert f"({reason})" in run.metrics["logged"]["failed"]
    assert load_run(run.path).metrics["accuracy"] == run.metrics["accuracy"]


def test_fit__a_folder_that_is_named_is_taken(cache, client, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "folder").as_uri())
    run = fast(cache, tmp_path / "run")
    assert run.metrics["logged"]["failed"] is None
    (number,) = run.metrics["logged"]["runs"]
    assert (tmp_path / "folder" / "0" / number / "artifacts" / "model.safetensors").is_file()


def test_fit__without_mlflow_says_so_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UlfineError, match=r"pip install 'ulfine-fast\[mlflow\]'"):
        fast(tmp_path / "nowhere", tmp_path / "run")


def test_log_run__names_and_values_that_a_server_does_not_take(cache, client, tmp_path):
    run = fast(cache, tmp_path / "run", log=None)
    run.config["settings"]["a long one"] = "x" * 9000
    figures = {"loss/of (this)": 1.0, "nan": float("nan"), "none": None, "per_group": [{"accuracy": 1.0}]}
    fitted = mlflow_log.Fitted(0, figures, [{"step": 1, "é/../x" + "y" * 300: 2.0}])
    assert mlflow_log.log_run(run, [fitted])["failed"] is None
    (logged,) = runs(client)
    assert len(logged.data.params["settings.a long one"]) == 500
    assert logged.data.metrics["loss_of _this_"] == 1.0
    assert not {"nan", "none"} & set(logged.data.metrics)
    assert len(logged.data.metrics) == 2


def test_log_written_run__is_what_the_fit_logs(cache, client, tmp_path):
    run = fast(cache, tmp_path / "run", method="ulfine", set=["folds=2"], seed=4, seeds=3)
    told = mlflow_log.log_written_run(load_run(run.path))
    assert told["failed"] is None
    assert len(told["runs"]) == 3
    at_once, later = ([client.get_run(number) for number in of["runs"]] for of in (run.metrics["logged"], told))
    for mine, its in zip(later, at_once, strict=True):
        assert mine.info.run_name == its.info.run_name
        assert mine.info.status == "FINISHED"
        assert mine.data.params == its.data.params
        assert mine.data.metrics.items() <= its.data.metrics.items()
    assert later[0].data.metrics == at_once[0].data.metrics
    assert later[2].data.metrics["accuracy"] == run.metrics["seeds"]["accuracy"]["per_seed"][2]
    assert {each.data.tags["mlflow.parentRunId"] for each in later[1:]} == {told["runs"][0]}
    history = [[(entry.step, entry.value) for entry in client.get_metric_history(of.info.run_id, "train/loss")]
               for of in (later[0], at_once[0])]  # fmt: skip
    assert history[0] == history[1] != []
    files = [{file.path for file in client.list_artifacts(of.info.run_id)} for of in (later[0], at_once[0])]
    assert files[0] == files[1]


def test_log_written_run__of_an_estimator_that_was_saved(cache, client, tmp_path):
    from ulfine_fast.estimator import ULFineClassifier

    rows = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    ULFineClassifier(random_state=0).fit(rows, np.arange(40) % 2).save(tmp_path / "saved")
    told = mlflow_log.log_written_run(load_run(tmp_path / "saved"))
    assert told["failed"] is None
    (logged,) = runs(client)
    assert logged.data.params["method"] == "ulfine"
    assert "ulfine.split" not in logged.data.tags
