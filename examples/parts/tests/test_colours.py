"""Run with pytest where ulfine-fast and this package are installed."""

from pathlib import Path

import numpy as np
from PIL import Image

from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.stage_one import cache_features


def test_colours__of_a_list(tmp_path):
    lines = []
    for number, colour in enumerate(["red", "green", "blue", "red"]):
        Image.new("RGB", (80, 60), colour).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png {colour}" if number < 3 else f"{number}.png")
    (tmp_path / "images.txt").write_text("\n".join(lines))
    cache_features(source=Path(f"image-list:{tmp_path / 'images.txt'}"), out=tmp_path / "cache", model="colours")
    cache = FeatureCache.open(tmp_path / "cache")
    assert cache.class_names == ["blue", "green", "red"]
    assert cache.labels.tolist() == [2, 1, 0, -1]
    np.testing.assert_array_equal(cache.features()[0], cache.features()[3])
