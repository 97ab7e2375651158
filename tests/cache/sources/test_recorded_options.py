"""What a user says about a source is recorded with the cache, so that the same source can be opened again."""

from tests.cache.conftest import write_picture
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.sources.cached_images import cached_images
from ulfine_cache.stage_one import cache_features
from ulfine_cache.verify import verify


def test_options__are_recorded_with_the_cache(tmp_path, random_model):
    paths = [f"{label}/{number}.png" for number in range(3) for label in ("cat", "dog")]
    for seed, path in enumerate(paths):
        write_picture(tmp_path / "elsewhere" / path, seed)
    lines = ["nr,breed,was", *(f"{name[:-4]},{name[:3]},NA" for name in paths)]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    options = {"model": random_model[0], "pretrained": random_model[1], "device": "cpu", "precision": "fp32"}
    options |= {"path_column": "nr", "label_column": "breed", "root": tmp_path / "elsewhere", "extension": "png"}
    figures = cache_features(
        source=tmp_path / "table.csv", out=tmp_path / "cache", index="none", shard_size=4, **options
    )
    assert (figures["rows"], figures["classes"]) == (6, 2)
    cache = FeatureCache.open(tmp_path / "cache")
    assert cached_images(cache)(0) == (tmp_path / "elsewhere" / cache.paths[0]).read_bytes()
    (tmp_path / "cache" / "shards" / "00000.h5").unlink()
    verify(cache=tmp_path / "cache", repair=True)
    assert (tmp_path / "cache" / "shards" / "00000.h5").is_file()
