"""Bits that flipped and files that were cut: found, or the same answer."""

import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.attacks.attempts import Attempt, Kind, asked, flips, lost, typed
from ulfine_cache.encoders.checkpoints.checkpoint_file import read_checkpoint
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.pictures.pixels import decode
from ulfine_cache.search.index import read_index
from ulfine_cache.store import digest_file
from ulfine_cache.verify import verify
from ulfine_exports.onnx_classifier import OnnxClassifier
from ulfine_fast.run import load_run


def features_of(victims: Path) -> np.ndarray:
    with np.load(victims / "features.npz") as file:
        return file["features"][::7]


def everything(cache: Path) -> Any:
    """All that a cache, its split and its index answer."""
    # What was compared with its digest before this is another process's.
    digest_file._checked.clear()
    opened = FeatureCache.open(cache)
    split = opened.read_split("lt")
    features = opened.features()
    assert opened.text_features is not None
    arrays = [features, opened.labels, opened.text_features, split.labelled, split.unlabelled, split.test]
    nearest = read_index(opened).search(features[::9].astype(np.float32), 3)
    return *(np.asarray(array).tobytes() for array in [*arrays, *nearest]), *opened.paths, *opened.class_names


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


def caches(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    """Each file of a cache, its split and its index among them."""
    cache = Path(shutil.copytree(victims / "cache", place / "cache"))
    expected = everything(cache)
    for path in files_of(cache):
        for at in flips(path, int(150 * effort)):
            yield f"{path.relative_to(cache)}, byte {at}", asked(lambda: everything(cache), expected)
    assert everything(cache) == expected


def verified_caches(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    """`ulfine verify` finds all of it."""
    cache = Path(shutil.copytree(victims / "cache", place / "cache"))

    def found() -> bool:
        return bool(verify(cache=cache)["damaged"])

    for path in files_of(cache):
        for at in flips(path, int(25 * effort)):
            yield f"{path.relative_to(cache)}, byte {at}", asked(found, True)


def runs(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    run = Path(shutil.copytree(victims / "run", place / "run"))
    features = features_of(victims)

    def answer() -> bytes:
        return load_run(run).predict_proba(features).tobytes()

    expected = answer()
    for name in ("model.safetensors", "config.yaml", "metrics.json", "provenance.json"):
        for at in flips(run / name, int(150 * effort)):
            yield f"{name}, byte {at}", asked(answer, expected)


def onnx_files(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    for name in ("m.onnx", "pixels.onnx"):
        path = Path(shutil.copy(victims / name, place / name))
        generator = np.random.default_rng(0)
        pictures = [Image.fromarray(generator.integers(0, 255, (32, 32, 3), np.uint8))]
        inputs: Any = features_of(victims) if name == "m.onnx" else pictures

        def answer(path: Path = path, inputs: Any = inputs) -> Any:
            model = OnnxClassifier(path, device="cpu")
            return model.predict_proba(inputs).tobytes(), model.class_names

        expected = answer()
        for at in flips(path, int((600 if name == "m.onnx" else 60) * effort)):
            yield f"{name}, byte {at}", asked(answer, expected)


def saved_pictures() -> dict[str, bytes]:
    """One picture in each kind of file."""
    values = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    found = {}
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "PPM", "ICO", "TGA"):
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, kind)
        found[kind.lower()] = buffer.getvalue()
    return found


def pictures(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    """Flipped and cut: decoded or refused each, and then all of them through `cache-features`."""
    damaged: dict[str, bytes] = {}
    for kind, whole in saved_pictures().items():
        generator = np.random.default_rng(len(kind))
        for number in range(int(60 * effort)):
            data = bytearray(whole)
            # Headers are short and do the most harm.
            place_of = int(generator.integers(0, len(data) if number % 2 else min(200, len(data))))
            data[place_of] ^= 1 << int(generator.integers(8))
            damaged[f"{number:03d}.{kind}"] = bytes(data)
            if number % 4 == 0:
                damaged[f"{number:03d}-cut.{kind}"] = whole[: int(generator.integers(len(whole)))]
    folder = place / "photos" / "all"
    folder.mkdir(parents=True)
    shutil.copytree(victims / "photos" / "ellipse", place / "photos" / "ellipse")
    for name, data in damaged.items():
        # A header that Pillow does not know by its name is written as .png, which asks for it all the same.
        (folder / f"{name}.png").write_bytes(data)
        yield f"decode {name}", asked(lambda data=data: decode(data).size)
    ended = typed(
        *("cache-features", place / "photos", "--out", place / "cache", "--model", "builtin:tiny", "--device", "cpu"),
        *("--json", place / "told.json"),
    )

    def all_there() -> bool:
        told = json.loads((place / "told.json").read_text("utf-8"))
        skipped = (place / "cache" / "skipped.csv").read_text("utf-8").count("\n") - 1
        return told["rows"] + skipped == len(damaged) + 8

    yield "cache-features of all", lost(ended, all_there)


class Code:
    """Leaves a file behind when it is unpickled by somebody careless."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def checkpoints(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    """Their form is damaged, or they hold code. What weights say is the word of whoever made them."""
    tensors = {"a.weight": torch.arange(60.0).reshape(2, 30), "b": torch.ones(2, dtype=torch.float16)}
    save_file(tensors, place / "w.safetensors")
    torch.save(tensors, place / "w.pt")
    torch.save(tensors, place / "old.pt", _use_new_zipfile_serialization=False)
    for path in (place / "w.safetensors", place / "w.pt", place / "old.pt"):
        for at in flips(path, int(150 * effort)):
            yield f"{path.name}, byte {at}", asked(lambda path=path: sorted(read_checkpoint(path)))
        whole = path.read_bytes()
        for length in np.linspace(0, len(whole) - 1, max(1, int(20 * effort)), dtype=int).tolist():
            path.write_bytes(whole[:length])
            yield f"{path.name}, cut to {length} bytes", asked(lambda path=path: sorted(read_checkpoint(path)))
    for new in (True, False):
        torch.save(
            {"w": torch.ones(1), "x": Code(place / "ran")}, place / "code.pt", _use_new_zipfile_serialization=new
        )
        yield f"code, {new}", asked(lambda: read_checkpoint(place / "code.pt"), "refused")
        yield f"code was not run, {new}", "it was" * (place / "ran").exists()


def feature_files(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    path = Path(shutil.copy(victims / "features.npz", place / "features.npz"))
    for at in flips(path, int(150 * effort)):
        out = place / f"cache-{at}"
        yield f"byte {at}", asked(lambda out=out: import_features(file=path, out=out, index="none")["rows"])
        shutil.rmtree(out, ignore_errors=True)


def repaired(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    """`verify --repair` gives the bytes that were there, or says what it cannot mend."""
    cache = Path(shutil.copytree(victims / "shapes", place / "cache"))
    before = everything_stored(cache)
    for path in files_of(cache):
        for at in flips(path, max(1, int(3 * effort))):
            ended = typed("verify", cache, "--repair")
            same = everything_stored(cache) == before
            loss = lost(ended, lambda same=same: same)
            yield f"{path.relative_to(cache)}, byte {at}", loss
            if not same:
                shutil.rmtree(cache)
                shutil.copytree(victims / "shapes", cache)


def everything_stored(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in files_of(cache) if path.suffix in (".h5", ".csv")}


KINDS: dict[str, Kind] = {
    "pictures, damaged": pictures,
    "checkpoints, damaged or with code": checkpoints,
    "caches, splits and indexes, a bit flipped": caches,
    "the same, found by verify": verified_caches,
    "the same, mended by verify --repair": repaired,
    "runs, a bit flipped": runs,
    "ONNX files, a bit flipped": onnx_files,
    "files of features, a bit flipped": feature_files,
}
