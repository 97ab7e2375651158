"""Groups from the image source to the cache, its splits and back."""

import numpy as np
import pytest

from tests.cache.conftest import write_picture
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_cache.stage_one import cache_features
from ulfine_cache.verify import verify


def write_table(folder, camera):
    lines = [f"{number:02d}.png,{'cat' if number % 2 else 'dog'},{camera(number)}" for number in range(12)]
    (folder / "table.csv").write_text("\n".join(["path,label,camera", *lines]))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("groups") / "photos"
    for number in range(12):
        write_picture(folder / f"{number:02d}.png", number)
    write_table(folder, lambda number: f"c{number // 4}")
    return folder


def made(photos, out, **options):
    return cache_features(source=photos / "table.csv", out=out, model="builtin:tiny", index="none", **options)


def test_cache_features__remembers_groups_and_notices_others(photos, tmp_path):
    out = tmp_path / "cache"
    made(photos, out, group_column="camera", shard_size=5)
    cache = FeatureCache.open(out)
    assert cache.groups == [f"c{number // 4}" for number in range(12)]
    plain = tmp_path / "plain"
    made(photos, plain, shard_size=5)
    assert FeatureCache.open(plain).groups is None
    assert FeatureCache.open(plain).fingerprint != cache.fingerprint
    assert verify(cache=out)["damaged"] == []
    notes = []

    class Told:
        def note(self, text):
            notes.append(text)

        def update(self, *_, **__): ...

    write_table(photos, lambda number: "far away" if number == 7 else f"c{number // 4}")
    figures = made(photos, out, group_column="camera", shard_size=5, progress=Told())
    write_table(photos, lambda number: f"c{number // 4}")
    assert (figures["images_encoded"], figures["shards_encoded"]) == (0, 1)
    assert any("1 group changed" in note for note in notes)
    assert FeatureCache.open(out).groups[7] == "far away"


def test_verify__repairs_a_shard_with_its_groups(photos, tmp_path):
    out = tmp_path / "cache"
    made(photos, out, group_column="camera")
    shard = out / "shards" / "00000.h5"
    before = shard.read_bytes()
    shard.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    assert verify(cache=out, repair=True)["damaged"] == []
    assert shard.read_bytes() == before


def arrays(**more):
    generator = np.random.default_rng(0)
    return {"features": generator.normal(size=(60, 8)), "labels": np.arange(60) % 3, **more}


@pytest.mark.parametrize("groups", [np.arange(60) // 6, np.array([f"{row // 6}" for row in range(60)])])
def test_import_features__with_groups_and_a_split_that_keeps_them_apart(tmp_path, groups):
    np.savez(tmp_path / "f.npz", **arrays(groups=groups))
    import_features(file=tmp_path / "f.npz", out=tmp_path / "cache", index="none")
    cache = FeatureCache.open(tmp_path / "cache")
    assert cache.groups == [str(row // 6) for row in range(60)]
    asked = {"cache": tmp_path / "cache", "name": "apart", "labelled_max": 4, "imbalance": 2, "test_per_class": 4}
    figures = make_split(**asked, by_group=True)
    assert figures["protocol"]["by_group"] is True
    split = cache.read_split("apart")
    tested = {cache.groups[row] for row in split.test}
    assert not tested & {cache.groups[row] for row in (*split.labelled, *split.unlabelled)}
    make_split(**asked, by_group=True)
    with pytest.raises(UlfineError, match=r"another protocol \(by_group: True -> False\)"):
        make_split(**asked)


def test_groups__that_are_not_there_or_do_not_fit(tmp_path):
    np.savez(tmp_path / "f.npz", **arrays())
    import_features(file=tmp_path / "f.npz", out=tmp_path / "cache", index="none")
    with pytest.raises(UsageError, match="knows no groups, which by-group needs"):
        make_split(cache=tmp_path / "cache", name="x", labelled_max=4, imbalance=2, by_group=True)
    np.savez(tmp_path / "g.npz", **arrays(groups=np.arange(59)))
    with pytest.raises(UlfineError, match="groups has 59 entries for 60 rows"):
        import_features(file=tmp_path / "g.npz", out=tmp_path / "other", index="none")
