"""What is attacked: pictures, a file of features, caches, a split, an index, runs and exported files."""

from pathlib import Path

import numpy as np

from tests.cli.conftest import draw_shapes
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_cache.stage_one import cache_features
from ulfine_exports.export import export_onnx
from ulfine_fast.fitting import fit


def make_victims(folder: Path):
    """`photos`, `features.npz`; of them `shapes` and `cache`; `run` and `m.onnx` of features, `pixels.onnx`."""
    for number, shape in enumerate(("ellipse", "rectangle")):
        draw_shapes(folder / "photos" / shape, shape, 8, number)
    generator = np.random.default_rng(7)
    text, labels = generator.normal(size=(4, 16)), np.repeat(np.arange(4), 20)
    features = text[labels] + 1.6 * generator.normal(size=(80, 16))
    np.savez(
        folder / "features.npz",
        features=features.astype(np.float32),
        labels=labels,
        text_features=text.astype(np.float32),
        class_names=np.array(["ash", "birch", "cedar", "date palm"]),
        paths=np.array([f"{label}/{row}.jpg" for row, label in enumerate(labels)]),
    )
    import_features(file=folder / "features.npz", out=folder / "cache", index="Flat")
    make_split(cache=folder / "cache", name="lt", labelled_max=6, imbalance=3, test_per_class=4)
    fit(cache=folder / "cache", out=folder / "run", split="lt")
    export_onnx(run=folder / "run", onnx=folder / "m.onnx")
    cache_features(source=folder / "photos", out=folder / "shapes", model="builtin:tiny", device="cpu", shard_size=4)
    fit(cache=folder / "shapes", out=folder / "shapes-run", method="lp")
    export_onnx(run=folder / "shapes-run", onnx=folder / "pixels.onnx", input="pixels")
