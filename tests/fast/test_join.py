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
from ulfine_fast.registry import get_method
from ulfine_fast.rows.encoder_shares import choose_encoder_shares, of_each_encoder
from ulfine_fast.rows.streamed_rows import StreamedRows
from ulfine_fast.rows.training_data import load_training_data
from ulfine_fast.run import load_run
from ulfine_fast.training import train


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


def test_unlabelled_rows__may_stay_on_the_disk(both, recorder):
    opened = FeatureCache.open(both[1])
    split = opened.read_split("lt")
    loaded, streamed = (load_training_data(opened, split, streams=streams) for streams in (False, True))
    parts = [of_each_encoder(data) for data in (loaded, streamed)]
    for one, other in zip(*parts, strict=True):
        assert isinstance(other.unlabelled, StreamedRows)
        torch.testing.assert_close(other.unlabelled[:], one.unlabelled, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(torch.cat(list(other.unlabelled.split(7))), other.unlabelled[:])
    assert choose_encoder_shares(parts[1], 0) == pytest.approx(choose_encoder_shares(parts[0], 0), abs=1e-4)
    method, rows = get_method("ulfine"), torch.as_tensor(opened.features(split.test))
    models = [train(method, method.settings(), data, 0, recorder).model for data in (loaded, streamed)]
    with torch.no_grad():
        torch.testing.assert_close(models[0].probabilities(rows), models[1].probabilities(rows), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("streams", [False, True])
def test_views__weak_and_strong_are_those_of_each_encoder(clusters, make_cache, tmp_path, recorder, streams):
    caches, views = [], []
    for seed in (0, 1):
        features, labels, text = clusters(20, seed)
        views.append(np.stack([features, np.roll(features, 1, axis=0), np.roll(features, 2, axis=0)], axis=1))
        paths = np.array([f"{row}.png" for row in range(len(labels))])
        found = {"features": views[-1], "labels": labels, "text_features": text, "paths": paths}
        caches.append(make_cache(f"views-{seed}", **found))
    join(caches=caches, out=tmp_path / "both")
    make_split(cache=tmp_path / "both", name="lt", labelled_max=4, imbalance=2.0, test_per_class=4)
    cache = FeatureCache.open(tmp_path / "both")
    cache.attributes["views"] = "weak-strong:2"
    split = cache.read_split("lt")
    data = load_training_data(cache, split, streams=streams)
    rows, drawn = torch.arange(len(split.unlabelled)), torch.ones(len(split.unlabelled), dtype=torch.long)
    for part, wanted in zip(of_each_encoder(data), views, strict=True):
        assert part.strong_views is not None
        strong = part.strong_views()[rows, drawn].float()
        expected = wanted[split.unlabelled, 2] / np.linalg.norm(wanted[split.unlabelled, 2], axis=1, keepdims=True)
        torch.testing.assert_close(strong, torch.as_tensor(expected, dtype=torch.float32), atol=2e-3, rtol=0)
    method = get_method("fixmatch")
    result = train(method, method.settings(steps=5), data, 0, recorder)
    assert result.diagnostics["strong_views"] == "cached"


def test_attributes__name_the_parts(both):
    _, cache, _ = both
    parts = json.loads(FeatureCache.open(cache).attributes["parts"])
    assert [part["model"] for part in parts] == ["imported", "imported"]
