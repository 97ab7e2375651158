"""Nine sources made of the same pictures: everything in them is a row, skipped with a reason, or counted."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.sources.cached_images import cached_images
from ulfine_cache.stage_one import cache_features
from ulfine_cache.verify import verify

CLASSES = ("cat", "dog")
OTHERS = {"readme.txt": b"words", ".DS_Store": b"\0", "notes": b"words", "thumbs.db": b"\0"}


def pictures() -> dict[str, bytes]:
    """Six pictures by `<class>/<number>.png`, one of them broken."""
    found = {}
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).resize((40, 36)).save(buffer, "PNG")
        found[f"{CLASSES[number % 2]}/{number}.png"] = buffer.getvalue()
    found["dog/5.png"] = found["dog/5.png"][:60]
    return found


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def folder(root):
    return write(root / "photos", pictures() | OTHERS), len(pictures() | OTHERS)


def table(root):
    lines = ["path,label", *(f"{name},{name.partition('/')[0]}" for name in pictures())]
    files = pictures() | OTHERS | {"table.csv": "\n".join(lines).encode()}
    return write(root / "photos", files) / "table.csv", len(files)


def imagefolder(root):
    rows = [json.dumps({"file_name": Path(name).name, "label": name.partition("/")[0]}) for name in pictures()]
    files = {f"train/{Path(name).name}": data for name, data in pictures().items()}
    files |= {"train/metadata.jsonl": "\n".join(rows).encode()} | OTHERS
    return write(root / "photos", files), len(files)


def coco(root):
    images = [{"id": number, "file_name": name} for number, name in enumerate(pictures())]
    annotations = [{"id": number, "image_id": number, "category_id": number % 2} for number in range(6)]
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    files = pictures() | OTHERS | {"coco.json": json.dumps(content).encode()}
    return write(root / "photos", files) / "coco.json", len(files)


def shards(root):
    files = {}
    for name, data in pictures().items():
        label, _, base = name.partition("/")
        files |= {base: data, f"{Path(base).stem}.cls": label.encode()}
    files |= OTHERS
    return write_tar(root / "train-000.tar", files), len(files)


def tar_of_tars(root):
    inner = {}
    for label in CLASSES:
        own = {Path(name).name: data for name, data in pictures().items() if name.startswith(label)}
        inner[f"{label}.tar"] = write_tar(root / "inner.tar", own).read_bytes()
    (root / "inner.tar").unlink()
    return write_tar(root / "train.tar", inner | OTHERS), len(pictures() | OTHERS)


def zip_file(root):
    with zipfile.ZipFile(root / "photos.zip", "w") as file:
        for name, data in (pictures() | OTHERS).items():
            file.writestr(f"photos/{name}", data)
    return root / "photos.zip", len(pictures() | OTHERS)


def parquet_bytes(root):
    cells = [{"bytes": data, "path": Path(name).name} for name, data in pictures().items()]
    labels = [name.partition("/")[0] for name in pictures()]
    write(root / "data", OTHERS)
    parquet.write_table(pa.table({"image": cells, "label": labels}), root / "data" / "train.parquet")
    # The file of the rows is no file beside them.
    return root / "data", len(pictures() | OTHERS)


def arrays(root):
    images = np.stack([np.random.default_rng(number).integers(0, 256, (36, 40, 3), np.uint8) for number in range(6)])
    labels = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [1, 0], [1, 1]])
    np.savez(root / "x.npz", images=images, labels=labels, class_names=np.array(CLASSES))
    return root / "x.npz", len(images)


SOURCES = [folder, table, imagefolder, coco, shards, tar_of_tars, zip_file, parquet_bytes, arrays]


@pytest.mark.parametrize("make", SOURCES, ids=[make.__name__ for make in SOURCES])
def test_source__rows_skipped_and_ignored_are_all_files(make, tmp_path, random_model, recorder):
    source, n_files = make(tmp_path)
    options = {"model": random_model[0], "pretrained": random_model[1], "device": "cpu", "precision": "fp32"}
    options |= {"batch_size": 1, "shard_size": 4, "index": "none", "progress": recorder}
    figures = cache_features(source=source, out=tmp_path / "cache", **options)
    assert figures["rows"] + figures["skipped"] + sum(figures["ignored"].values()) == n_files
    assert (figures["rows"], figures["skipped"], figures["warnings"]) == (5, 1, figures["warnings"])
    assert {name: sum(counts.values()) for name, counts in figures["class_counts"].items()} == {"cat": 3, "dog": 2}
    assert sum(figures["skipped_reasons"].values()) == 1
    # What was asked is recorded, so that the same images can be read again, and a damaged shard be made again.
    cache = FeatureCache.open(tmp_path / "cache")
    read = cached_images(cache)
    assert all(len(read(row)) > 60 for row in range(cache.n_rows))
    (tmp_path / "cache" / "shards" / "00001.h5").unlink()
    verify(cache=tmp_path / "cache", repair=True)
    assert (tmp_path / "cache" / "shards" / "00001.h5").is_file()
    assert cache_features(source=source, out=tmp_path / "cache", **options)["shards_encoded"] == 0
