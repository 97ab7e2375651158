"""Files that were made to break what reads them: refused in one line, in bounded time."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tests.attacks import arrays, graphs, no_files, pictures, requests, settings, tables
from tests.attacks.attempts import Attempt, Kind, asked, lost, refused, typed
from tests.cli.conftest import Ended
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.pictures.pixels import decode
from ulfine_cache.verify import verify


def encode(source: object, out: object, *options: object) -> Ended:
    return typed("cache-features", source, "--out", out, "--model", "builtin:tiny", "--device", "cpu", *options)


def part(things: Any, effort: float) -> list[Any]:
    """Evenly this much of them, at least one."""
    every = list(things)
    return every[:: max(1, round(1 / effort))]


def npz_files(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    for kind in part(arrays.KINDS, effort):
        path = arrays.write_hostile_npz(place / "x.npz", kind)
        yield f"import-features, {kind}", refused(typed("import-features", path, "--out", place / "c"))
        yield f"cache-features, {kind}", lost(encode(path, place / "d"))
        for model in ("run", "m.onnx"):
            yield f"predict {model}, {kind}", refused(typed("predict", victims / model, path))


def yaml_files(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    for name, text in part(settings.SETTINGS.items(), effort):
        (place / "s.yaml").write_text(text)
        ended = typed("fit", victims / "cache", "--out", place / "r", "--settings", place / "s.yaml")
        yield name, refused(ended)
    for method, setting in part(settings.ABSURD_SETTINGS, effort):
        ended = typed("fit", victims / "cache", "--out", place / "r", "--method", method, "--set", setting)
        yield f"{method} {setting[:40]}", refused(ended)


def onnx_files(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    metadata = graphs.metadata_of(victims / "m.onnx")
    open_metadata = {key: text for key, text in metadata.items() if "sha256" not in key}

    def described(**changes: str) -> Any:
        model = onnx.load(victims / "m.onnx")
        helper.set_model_props(model, open_metadata | changes)
        return model

    made = {
        f"a constant of terabytes, {name}": graphs.huge(metadata, name)
        for name in ("ConstantOfShape", "Expand", "Tile")
    }
    made |= {
        "a loop without end": graphs.endless(metadata),
        "nested class names": described(class_names="[" * 100_000 + "]" * 100_000),
        "class names that are none": described(class_names='{"a": 1}'),
        "too many class names": described(class_names=json.dumps([f"class {number}" for number in range(100_000)])),
        "equal class names": described(class_names='["a", "a", "a", "a"]'),
        "a width that is none": described(n_features="9" * 5000),
        "another width": described(n_features="17"),
        "an unknown input": described(input="spectra"),
        "a later schema": described(ulfine_format="99"),
    }
    expected = typed("predict", victims / "m.onnx", victims / "features.npz").out
    for name, model in part(made.items(), effort):
        onnx.save(model, place / "m.onnx")
        ended = typed("predict", place / "m.onnx", victims / "features.npz", "--timeout", "2")
        yield f"predict, {name}", lost(ended, lambda out=ended.out: out == expected)
        yield f"info, {name}", lost(typed("info", place / "m.onnx"))


def table_files(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    shutil.copytree(victims / "photos", place / "photos")
    for name in part(tables.hostile_tables(), effort):
        path = tables.write_table(place, name)
        ended = encode(path, place / "cache")
        yield name, lost(ended) or ("a secret was read" if "root:" in ended.out + ended.err else "")
        path.unlink()
        shutil.rmtree(place / "cache", ignore_errors=True)


def not_files(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    for name in ("cache", "run", "m.onnx", "photos", "features.npz"):
        (place / name).symlink_to(victims / name)
    for kind, (name, call) in part(((k, c) for k in no_files.KINDS for c in no_files.CALLS.items()), effort):
        path = Path(next(word for word in call if word.startswith("x.")))
        kind(path)
        # A device that is a picture is listed in skipped.csv; nothing else can be done with any of them.
        yield f"{name}, {kind.__name__}", lost(typed(*call))
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        shutil.rmtree("new", ignore_errors=True)


def many_pieces(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    makers = dict(pictures.MANY_PIECES)
    makers["jpeg that holds less than it says"] = pictures.jpeg_with_another_size
    makers["png of 20,000 x 20,000"] = requests.LARGEST_PICTURES["png of 400 million pixels"]
    for name, make in part(makers.items(), effort):
        yield name, asked(lambda make=make: decode(make()), "refused")


def names(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    """No name of a file forges a line or moves the cursor."""
    forged = [b"x\nerror: the disk is full\x1b[2J.png", b"=cmd!A0.png", b"caf\xe9.png", b"a\r\x9b2J.png"]
    for number, name in enumerate(forged):
        folder = place / os.fsdecode(name)
        shutil.copytree(victims / "photos", folder)
        for path in list(folder.rglob("*.png")):
            path.rename(path.with_name(f"{path.stem}{os.fsdecode(name)}"))
        (folder / "ellipse" / f"broken{os.fsdecode(name)}").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
        cache = place / f"cache-{number}"
        calls = {
            "cache-features": lambda folder=folder, cache=cache: encode(folder, cache),
            "info": lambda cache=cache: typed("info", cache),
            "predict": lambda folder=folder: typed("predict", victims / "pixels.onnx", folder),
            "verify": lambda cache=cache: typed("verify", cache),
            "no such file": lambda folder=folder: typed("verify", folder / "no" / folder.name),
        }
        for command, call in calls.items():
            ended = call()
            written = ended.out + ended.err
            bad = any((ord(sign) < 32 and sign != "\n") or 127 <= ord(sign) < 160 for sign in written)
            bad = bad or any(line.startswith("error: the disk") for line in written.splitlines())
            yield f"{command}, {name!r}", f"written as it is: {written!r}" if bad else lost(ended)


def clocks(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    """Times of change in the future, at the beginning, before it, and a clock that goes back between two calls."""
    expected = FeatureCache.open(victims / "shapes").features()
    for name, seconds in CLOCKS.items():
        photos = Path(shutil.copytree(victims / "photos", place / "photos"))
        out = place / "cache"
        for path in [photos, *photos.rglob("*")]:
            os.utime(path, (seconds, seconds))

        def same(out: Path = out) -> bool:
            features = FeatureCache.open(out).features()
            return np.array_equal(features, expected) and not verify(cache=out)["damaged"]

        yield f"{name}: cache-features", lost(encode(photos, out, "--shard-size", 4), same)
        for path in out.rglob("*"):
            os.utime(path, (seconds, seconds))
        ended = encode(photos, out, "--shard-size", 4, "--json", place / "told.json")
        again = json.loads((place / "told.json").read_text("utf-8"))["images_encoded"] if not ended.exit_code else 0
        yield f"{name}: again", lost(ended, same) or ("it was encoded again" if again else "")
        # Another picture, from before what was there: the clock was set back.
        shutil.copy(victims / "photos" / "rectangle" / "00.png", photos / "ellipse" / "00.png")
        os.utime(photos / "ellipse" / "00.png", (seconds - 86_400, seconds - 86_400))
        ended = encode(photos, out, "--shard-size", 4)

        def changed(out: Path = out) -> bool:
            features = FeatureCache.open(out).features()
            return np.array_equal(features[0], features[8]) and np.array_equal(features[1:], expected[1:])

        yield f"{name}: a clock that went back", lost(ended, changed)
        yield f"{name}: verify --source", lost(typed("verify", out, "--source"))
        shutil.rmtree(photos)
        shutil.rmtree(out)


CLOCKS = {
    "of the year 2100": 4_102_444_800,
    "of 1970": 0,
    "before 1970": -86_400 * 400,
    "of the year 2400": 13_569_465_600,
}

KINDS: dict[str, Kind] = {
    "files of arrays, made to break": npz_files,
    "settings, made to break": yaml_files,
    "ONNX files, made to break": onnx_files,
    "tables, made to break": table_files,
    "pipes, sockets, devices, folders": not_files,
    "pictures of many pieces": many_pieces,
    "names that forge lines": names,
    "clocks that jump": clocks,
}
