"""Methods in files: fitted, compared, and opened again without the file."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_fast import ULFineClassifier
from ulfine_fast.compare import compare
from ulfine_fast.evaluate import evaluate
from ulfine_fast.fitting import fit
from ulfine_fast.registry import get_method
from ulfine_fast.run import load_run

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "method"

OWN_MODEL = """
import torch

from ulfine_cache.config import StrictConfig
from ulfine_fast.method import FitResult, Method
from ulfine_fast.models.logit_model import LogitModel
from ulfine_fast.seeds import one_by_one


class Nothing(StrictConfig):
    pass


class OwnModel(LogitModel):
    def __init__(self, n_classes):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(n_classes))

    def logits(self, features):
        return self.bias.expand(len(features), -1)

    def architecture(self):
        return {"n_classes": len(self.bias)}


def fit(data, settings, seed, progress):
    return FitResult(OwnModel(data.n_classes).eval())


OTHER = Method(name="own", settings=Nothing, fit_seeds=one_by_one(fit), build=lambda of: OwnModel(**of))
"""


@pytest.fixture
def file(tmp_path):
    return shutil.copy(EXAMPLE / "ulfine_class_means.py", tmp_path / "mine.py")


def test_file__is_a_method_and_its_run_needs_it_no_more(file, text_cache, tmp_path):
    run = fit(cache=text_cache, out=tmp_path / "run", split="lt", method=f"{file}:METHOD", set=["pseudo_count=2"])
    assert run.method == "class-means"
    assert run.metrics["macro_accuracy"] > 0.8
    file.unlink()
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from ulfine_exports.export import export_onnx\n"
        "from ulfine_exports.predict import predict\n"
        "from ulfine_fast.evaluate import evaluate\n"
        "run, cache, onnx = map(Path, sys.argv[1:])\n"
        "print(evaluate(run=run)['macro_accuracy'])\n"
        "export_onnx(run=run, onnx=onnx)\n"
        "predict(model=run, inputs=[cache], test_prior='uniform')\n"
    )
    arguments = [sys.executable, "-W", "error", "-c", code, run.path, text_cache, tmp_path / "run.onnx"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == run.metrics["macro_accuracy"]
    origin = json.loads((run.path / "provenance.json").read_text())["method"]
    assert origin["file"] == f"{file}:METHOD"
    assert len(origin["sha256"]) == 64


def test_file__takes_part_in_comparisons(file, text_cache):
    figures = compare(cache=text_cache, split="lt", methods=f"knn,{file}", seeds=1)
    assert [entry["method"] for entry in figures["methods"]] == ["knn", "class-means"]
    with pytest.raises(UsageError, match="have one name"):
        compare(cache=text_cache, split="lt", methods=f"{file},{file}:METHOD", seeds=1)


def test_file__works_in_the_estimator(file, clusters, tmp_path):
    rows, labels, text = clusters(20)
    classifier = ULFineClassifier(str(file)).fit(rows, labels, text_features=text)
    file.unlink()
    assert classifier.with_test_prior("labelled").score(rows, labels) > 0.8
    classifier.save(tmp_path / "run")
    np.testing.assert_allclose(
        load_run(tmp_path / "run").predict_proba(rows), classifier.predict_proba(rows), atol=1e-5
    )


def test_run__of_a_model_of_its_own_says_what_it_needs(text_cache, tmp_path):
    (tmp_path / "own.py").write_text(OWN_MODEL)
    run = fit(cache=text_cache, out=tmp_path / "run", split="lt", method=f"{tmp_path / 'own.py'}:OTHER")
    with pytest.raises(
        UlfineError, match=r"of method 'own' of the file .*own.py:OTHER, whose model is its own: install"
    ):
        evaluate(run=run.path)


def test_run__never_says_which_code_to_run(file, text_cache, tmp_path):
    marker = tmp_path / "was-run"
    run = fit(cache=text_cache, out=tmp_path / "run", split="lt", method=str(file))
    file.write_text(f"open({str(marker)!r}, 'w')\n" + file.read_text())
    load_run(run.path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("METHOD = 3", "is a int, not a Method"),
        ("pass", "is nothing, not a Method"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def f(:", "SyntaxError"),
        ("import sys; sys.exit('no')", "SystemExit: no"),
        ("from dataclasses import replace; from ulfine_fast.methods.knn import METHOD", "named 'knn', as a method of"),
        (
            "from dataclasses import replace; from ulfine_fast.methods.knn import METHOD as M; "
            "METHOD = replace(M, name='../x')",
            "choose letters, digits",
        ),
    ],
    ids=["number", "nothing", "raises", "syntax", "exits", "taken", "name"],
)
def test_file__that_holds_no_method_is_refused(content, complaint, tmp_path):
    (tmp_path / "mine.py").write_text(content)
    with pytest.raises(UlfineError, match=complaint):
        get_method(str(tmp_path / "mine.py"))


def test_file__that_is_missing_is_named(tmp_path):
    with pytest.raises(UlfineError, match=r"none.py, which is no file"):
        get_method(str(tmp_path / "none.py:METHOD"))


def test_file__that_changes_is_read_again(file):
    assert get_method(str(file)).settings().scale == 20.0
    file.write_text(file.read_text().replace("default=20.0", "default=10.0"))
    assert get_method(str(file)).settings().scale == 10.0


@pytest.mark.parametrize(
    ("instead", "complaint"),
    [
        ("raise ValueError('oh\\nno')", r"method 'class-means' failed \(ValueError: oh no\): mend it"),
        ("return None", "a fit gives a NoneType, not a FitResult"),
        ("return FitResult(weight)", "its model is a Tensor, not a LogitModel"),
        ("return FitResult(AffineModel.of(weight[:2], -weight[:2] @ centre))", r"logits of shape \(1, 2\) for one row"),
    ],
)
def test_file__whose_fit_fails_is_named(file, text_cache, tmp_path, instead, complaint):
    good = "return FitResult(AffineModel.of(weight, -weight @ centre))"
    assert good in file.read_text()
    file.write_text(file.read_text().replace(good, instead))
    with pytest.raises(UlfineError, match=complaint):
        fit(cache=text_cache, out=tmp_path / "run", split="lt", method=str(file))
    assert not (tmp_path / "run").exists()
