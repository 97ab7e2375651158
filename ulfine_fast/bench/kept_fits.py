"""The fits of comparisons on the disk: one file each, complete or absent, never done twice.

``fits/SPLIT/METHOD/SEED.safetensors`` holds the logits of the test rows (float32), their rows and labels, and under
``ulfine`` of its metadata, as JSON, what was fitted, its settings and its metrics. Processes that fit other seeds write
other files, so that any number of them, and copies from other machines, go together.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.atomic import make_directory, replacing
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import APPLIED
from ulfine_fast.bench.one_fit import Fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split
    from ulfine_fast.bench.contender import Contender

SCHEMA_VERSION = 1
FITS = "fits"
_SUFFIX = ".safetensors"
_KEY = "ulfine"
_OF_DATA = ("cache", "labels", "protocol")
_WORDS = {"cache": "features or labels", "labels": "decisions about labels", "code": "code", "grid": "grids"}


class KeptFits:
    """The fits of one split in a directory.

    Args:
        folder: The directory of the comparison.
        cache: What is fitted on.
        split: Name of the split.
        protocol: Of its draws, without the seed.
    """

    def __init__(self, folder: Path, cache: FeatureCache, split: str, protocol: dict[str, Any]) -> None:
        self._folder, self._cache, self._split = folder, cache, split
        applied = getattr(cache, "applied", None)
        plain = {key: value for key, value in protocol.items() if key != APPLIED}
        self._of_data = {
            "cache": cache.fingerprint,
            "labels": None if applied is None else applied["sha256"],
            # As it is read again.
            "protocol": json.loads(json.dumps(plain)),
        }

    def path(self, name: str, seed: int) -> Path:
        """Where the fit of a contender is or will be."""
        return self._folder / FITS / self._split / name / f"{seed:05d}{_SUFFIX}"

    def done(self, contenders: Sequence[Contender], seeds: Sequence[int]) -> dict[tuple[str, int], Fit]:
        """Read the fits that there are, by contender and seed, without their logits.

        Raises:
            UlfineError: One that lies there, of any seed, is of another cache, protocol, code or setting; or a file is
                damaged.
        """
        by_name = {contender.name: contender for contender in contenders}
        found: dict[tuple[str, int], Fit] = {}
        for path in sorted((self._folder / FITS / self._split).glob(f"*/*{_SUFFIX}")):
            kept = read_fit(path)
            contender = by_name.get(path.parent.name)
            expected = self._of_data if contender is None else {**self._of_data, **contender.identity()}
            _check_same(path, kept["identity"], expected)
            if contender is not None and kept["seed"] in seeds:
                found[contender.name, kept["seed"]] = Fit(kept["metrics"], kept["settings"], kept["grid"])
        return found

    def keep(self, contender: Contender, seed: int, draw: Split, fit: Fit) -> None:
        """Write a fit with its logits.

        Raises:
            UlfineError: It cannot be written.
        """
        from safetensors.numpy import save

        from ulfine_fast.records.provenance import stamp

        assert fit.logits is not None
        content = {
            "schema_version": SCHEMA_VERSION,
            "identity": {**self._of_data, **contender.identity()},
            "split": self._split,
            "seed": seed,
            "settings": fit.settings,
            "grid": fit.grid,
            "metrics": fit.metrics,
            "class_names": list(self._cache.class_names),
            **stamp(),
        }
        tensors = {"logits": fit.logits, "rows": draw.test, "labels": self._cache.labels[draw.test]}
        path = self.path(contender.name, seed)
        make_directory(path.parent)
        with replacing(path, goes_on=True) as partial:
            partial.write_bytes(save(tensors, {_KEY: json.dumps(content, allow_nan=False)}))


def read_fit(path: Path) -> dict[str, Any]:
    """Read what a file says of its fit, without the logits.

    Returns:
        ``identity``, ``seed``, ``settings``, ``grid``, ``metrics``, ``versions`` and so on.

    Raises:
        UlfineError: It is damaged, or of a newer version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            content = json.loads(file.metadata()[_KEY])
        version = content["schema_version"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UlfineError(f"{path} is damaged: delete it, and the same command fits it again") from error
    if version != SCHEMA_VERSION:
        raise UlfineError(f"{path} is of version {version}, this one reads {SCHEMA_VERSION}: take another --out")
    return content


def check_directory(folder: Path) -> None:
    """Refuse a directory that holds other things than a comparison.

    Raises:
        UlfineError: It does, or is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UlfineError(f"{folder} is a file: name a directory for the fits")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / FITS).is_dir():
        raise UlfineError(f"{folder} holds other things than a comparison: name a new directory")


def _check_same(path: Path, kept: dict[str, Any], expected: dict[str, Any]) -> None:
    for key, value in expected.items():
        if kept.get(key) == value:
            continue
        if isinstance(value, dict) and isinstance(kept.get(key), dict):
            names = [name for name in {**kept[key], **value} if kept[key].get(name) != value.get(name)]
            words = f"{names[0]}={_shown(kept[key].get(names[0]))}, not {_shown(value.get(names[0]))}"
            words = f"{'a protocol of ' if key == 'protocol' else ''}{words}"
        else:
            words = f"other {_WORDS[key]}" if key in _WORDS else f"{key}={kept.get(key)}, not {value}"
        again = "name another --out" if key in _OF_DATA else f"name another --out, or delete {path.parent}"
        raise UlfineError(f"{path} was made with {words}: {again}")


def _shown(value: Any) -> str:
    return json.dumps(value)[:60]
