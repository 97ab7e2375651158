"""The same features are refused by torch, ONNX, the estimator and the server, and the others are answered alike."""

import numpy as np
import pytest

from tests.exports.serve.conftest import Server
from ulfine_cache.errors import UlfineError
from ulfine_exports.export import export_onnx
from ulfine_exports.inference.acceptable import LARGEST_PIXEL, answer_objection, input_objection
from ulfine_exports.onnx_classifier import OnnxClassifier
from ulfine_exports.predicting.predictors import OnnxPredictor, RunPredictor
from ulfine_exports.serve.server import serving
from ulfine_fast.estimator import ULFineClassifier
from ulfine_fast.run import load_run


@pytest.fixture(scope="module")
def doors(feature_run, tmp_path_factory):
    """All that answers for features: functions of rows to probabilities."""
    pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    path = tmp_path_factory.mktemp("doors") / "doors.onnx"
    export_onnx(run=feature_run, onnx=path)
    run = load_run(feature_run)
    rows = np.random.default_rng(0).standard_normal((12, run.n_features))
    estimator = ULFineClassifier("knn").fit(rows, np.arange(12) % 3)
    with serving(model=path, device="cpu", threads=1) as url:

        def served(rows):
            item = {"name": "features", "shape": rows.shape, "datatype": "FP32", "data": rows.ravel().tolist()}
            answer = Server(url).infer("doors", {"inputs": [item]})
            if answer.status != 200:
                raise UlfineError(answer.refused(400))
            return np.array(answer.json["outputs"][0]["data"]).reshape(answer.json["outputs"][0]["shape"])

        yield {
            "run": run.predict_proba,
            "predict with a run": lambda rows: RunPredictor(feature_run).features(rows)[0],
            "onnx": OnnxClassifier(path, device="cpu").predict_proba,
            "predict with a file": lambda rows: OnnxPredictor(path).features(rows)[0],
            "server": served,
            "estimator": estimator.predict_proba,
        }


def rows_of(doors, length):
    width = doors["onnx"].__self__.metadata.n_features
    rows = np.random.default_rng(1).standard_normal((3, width))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[1] *= length
    return rows.astype(np.float32)


@pytest.mark.parametrize("length", [0.0, 1e-14, 1e-12, 1e-11, 3e18, 3e38])
def test_features__without_a_direction_are_refused_everywhere(doors, length):
    rows = rows_of(doors, length)
    for name, answer in doors.items():
        with pytest.raises(
            (UlfineError, ValueError), match=r"have a length outside 1e-10 to 1e\+18 in 1 row, first in row 1"
        ):
            answer(rows)
            raise AssertionError(name)


def test_features__that_are_all_as_large_as_can_be(doors):
    """Their sum is infinite in float32: the answer was that of zeros."""
    rows = np.full_like(rows_of(doors, 1.0), 3e38)
    for answer in doors.values():
        with pytest.raises((UlfineError, ValueError), match="have a length outside"):
            answer(rows)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features__that_are_not_finite_are_refused_everywhere(doors, value):
    rows = rows_of(doors, 1.0)
    rows[2, 0] = value
    for name, answer in doors.items():
        with pytest.raises((UlfineError, ValueError), match=r"NaN|infinity|Infinity|no JSON"):
            answer(rows)
            raise AssertionError(name)


@pytest.mark.parametrize("length", [2e-10, 1e-3, 1e6, 9e17])
def test_features__of_other_lengths_have_the_same_answers_everywhere(doors, length):
    plain = rows_of(doors, 1.0)
    for name, answer in doors.items():
        assert answer(rows_of(doors, length)) == pytest.approx(answer(plain), abs=1e-5), name
    assert doors["onnx"](plain) == pytest.approx(doors["run"](plain), abs=1e-5)


def test_pixels__beyond_reach():
    good = np.full((1, 3, 4, 4), LARGEST_PIXEL, np.float32)
    assert input_objection("pixels", good) == ""
    assert input_objection("pixels", good[:0]) == ""
    for value, reason in ((3e38, "beyond 1000"), (-1001, "beyond 1000"), (np.nan, "NaN"), (np.inf, "infinite")):
        bad = good.copy()
        bad[0, 1, 2, 3] = value
        assert reason in input_objection("pixels", bad)


def test_answers__that_are_not_finite():
    good = np.zeros((3, 2))
    assert answer_objection({"logits": good, "probabilities": good}) == ""
    bad = good.copy()
    bad[2, 1] = np.nan
    assert answer_objection({"logits": good, "probabilities": bad}) == (
        "the model gives no finite probabilities for row 2 of these"
    )
