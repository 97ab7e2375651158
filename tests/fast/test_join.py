"""Joined caches: what is in them, fits on them, and runs that open, compare and export."""

import json

import numpy as np
import onnxruntime
import pytest
import torch

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.splits import make_split
from ulfine_exports.export import export_onnx
from ulfine_fast.compare import compare
from ulfine_fast.evaluate import evaluate
from ulfine_fast.fitting import fit
from ulfine_fast.join import join
from ulfine_fast.run import load_run


@pytest.fixture
def both(make_cache, clusters, tmp_path):
    """Two encoders of the same 240 images: other rows of numbers, the second one wider."""
    caches = []
    for seed in (0, 1):
        features, labels, text = clusters(40, seed)
        paths = [f"{row}.png" for row in range(len(labels))]
        extra = np.tile(features, 2) if seed else features
        caches.append(
            make_cache(
                f"one-{seed}",
                features=extra,
                labels=labels,
                text_features=np.tile(text, 2) if seed else text,
                paths=np.array(paths),
            )
        )
    figures = join(caches=caches, out=tmp_path / "both")
    make_split(cache=tmp_path / "both", name="lt", labelled_max=8, imbalance=4.0, test_per_class=12)
    return caches, tmp_path / "both", figures


def test_join__features_side_by_side(both, tmp_path):
    caches, out, figures = both
    opened, *singles = map(FeatureCache.open, (out, *caches))
    assert (figures["features"], [part["width"] for part in figures["parts"]]) == (48, [16, 32])
    expected = np.concatenate([single.features() for single in singles], axis=1) / np.sqrt(2)
    np.testing.assert_allclose(opened.features(), expected, atol=1e-3)
    text = np.concatenate([single.text_features for single in singles], axis=1) / np.sqrt(2)
    np.testing.assert_allclose(opened.text_features, text, atol=1e-6)
    before = opened.fingerprint
    join(caches=caches, out=out)
    assert FeatureCache.open(out).fingerprint == before
    with pytest.raises(UlfineError, match="features made in another way"):
        join(caches=caches[::-1], out=out)
    with pytest.raises(UlfineError, match="is joined already"):
        join(caches=[out, caches[0]], out=tmp_path / "three")
    with pytest.raises(UsageError, match="two or more"):
        join(caches=caches[:1], out=tmp_path / "three")


@pytest.mark.parametrize("method", ["ulfine", "knn", "lp"])
def test_run__opens_again_and_exports(both, tmp_path, method):
    _, cache, _ = both
    settings = ["steps=20"] if method == "lp" else []
    run = fit(cache=cache, out=tmp_path / "run", split="lt", method=method, set=settings)
    shares = run.provenance["diagnostics"]["encoder_shares"]
    assert sum(shares) == pytest.approx(1)
    opened = load_run(tmp_path / "run")
    rows = FeatureCache.open(cache).features(np.arange(20))
    np.testing.assert_allclose(opened.predict_proba(rows), run.predict_proba(rows), atol=1e-6)
    # The answer is that of the two classifiers, each on its own features.
    parts = [torch.as_tensor(rows[:, :16]), torch.as_tensor(rows[:, 16:])]
    with torch.no_grad():
        logits = [share * model(part) for share, model, part in zip(shares, opened.model.models, parts, strict=True)]
    np.testing.assert_allclose(torch.softmax(sum(logits), 1), run.predict_proba(rows), atol=2e-3)
    assert evaluate(run=tmp_path / "run")["nll"] == pytest.approx(run.metrics["nll"])
    export_onnx(run=tmp_path / "run", onnx=tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    answered = session.run(["probabilities"], {"features": rows})[0]
    np.testing.assert_allclose(answered, run.predict_proba(rows), atol=1e-4)
    with pytest.raises(UlfineError, match="several encoders side by side: export it with --input features"):
        export_onnx(run=tmp_path / "run", onnx=tmp_path / "p.onnx", input="pixels")


def test_run__is_cross_validated_and_compared(both, tmp_path):
    _, cache, _ = both
    run = fit(cache=cache, out=tmp_path / "run", split="lt")
    assert run.metrics["cross_validated"]["rows"] > 0
    figures = compare(cache=cache, split="lt", methods="ulfine,zero-shot", seeds=1)
    assert figures["methods"][0]["macro_accuracy"]["mean"] > 0.5


def test_run__of_a_method_from_a_file_opens_without_it(both, tmp_path):
    _, cache, _ = both
    method = tmp_path / "mine.py"
    method.write_text(
        "import dataclasses\nfrom ulfine_fast.methods import gda\n"
        "METHOD = dataclasses.replace(gda.METHOD, name='mine')\n"
    )
    fit(cache=cache, out=tmp_path / "run", split="lt", method=str(method))
    method.unlink()
    assert load_run(tmp_path / "run").method == "mine"


def test_views__weak_and_strong_are_refused(both, tmp_path, monkeypatch):
    caches, _, _ = both
    real = FeatureCache.open

    def weak(path, **more):
        cache = real(path, **more)
        cache.attributes["views"] = "weak-strong:1"
        return cache

    monkeypatch.setattr(FeatureCache, "open", weak)
    with pytest.raises(UlfineError, match="weak and strong views"):
        join(caches=caches, out=tmp_path / "three")


def test_attributes__name_the_parts(both):
    _, cache, _ = both
    parts = json.loads(FeatureCache.open(cache).attributes["parts"])
    assert [part["model"] for part in parts] == ["imported", "imported"]
