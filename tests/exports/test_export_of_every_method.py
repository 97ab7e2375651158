import numpy as np
import pytest

from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_exports.export import export_onnx
from ulfine_exports.onnx_classifier import OnnxClassifier
from ulfine_fast.fitting import fit
from ulfine_fast.registry import METHODS


@pytest.fixture(scope="module", params=[True, False], ids=["text", "no text"])
def cache(request, tmp_path_factory):
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(4, 24))
    labels = np.repeat(np.arange(4), 40)
    arrays = {
        "features": (centres[labels] + generator.normal(size=(160, 24))).astype(np.float32),
        "labels": labels,
        "class_names": np.array(["ash", "birch", "cedar", "elm"]),
    }
    if request.param:
        arrays["text_features"] = (centres + generator.normal(size=centres.shape)).astype(np.float32)
    folder = tmp_path_factory.mktemp("every-method")
    np.savez(folder / "features.npz", **arrays)
    import_features(file=folder / "features.npz", out=folder / "cache", index="none")
    make_split(cache=folder / "cache", name="lt", labelled_max=12, imbalance=6.0, test_per_class=10)
    return folder / "cache"


@pytest.mark.parametrize("method", METHODS)
def test_export_onnx__every_method_gives_the_same_answers(cache, tmp_path, method):
    run = fit(cache=cache, out=tmp_path / "run", split="lt", method=method)
    figures = export_onnx(run=run.path, onnx=tmp_path / "model.onnx", input="features")
    assert figures["parity"]["largest_difference"] < 1e-4
    features = FeatureCache.open(cache).features()[::3]
    classifier = OnnxClassifier(tmp_path / "model.onnx", device="cpu")
    for rows in (features, features[:1]):
        np.testing.assert_allclose(classifier.predict_proba(rows), run.predict_proba(rows), atol=1e-4)
