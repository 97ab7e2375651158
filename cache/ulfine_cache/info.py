"""What `ulfine info CACHE` tells about a cache."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ulfine_cache.feature_cache import FeatureCache, own_counts
from ulfine_cache.store.objects.reading import size_there


def cache_info(path: Path) -> dict[str, Any]:
    """Describe a cache.

    Args:
        path: The cache directory.

    Returns:
        A JSON-able dict: kind ("cache"), path, rows, views, features, features_pre (width before the projection, or 0),
        classes, labelled, unlabelled, val, test, skipped, model, pretrained, weights_hash, precision, for int8
        cosine_to_fp32 (of a sample), view_recipe, preprocess (dict), templates, text (bool), prompts_per_class, index,
        index_quality (the dict of `IndexReport`), shards, bytes, created, source, versions, fingerprint, splits (by
        name: its totals and its protocol), per_class (list of name, labelled, val, test).

    Raises:
        UlfineError: There is no readable cache.
    """
    cache = FeatureCache.open(path)
    own = cache.read_split(None)
    attributes = cache.attributes

    def counts(rows: np.ndarray) -> list[int]:
        return np.bincount(cache.labels[rows], minlength=cache.n_classes).tolist()

    per_class = zip(cache.class_names, counts(own.labelled), counts(own.val), counts(own.test), strict=True)
    return {
        "kind": "cache",
        "path": str(cache.path),
        "rows": cache.n_rows,
        "views": cache.n_views,
        "features": cache.n_features,
        "features_pre": cache.n_features_pre,
        "classes": cache.n_classes,
        **own_counts(cache),
        "skipped": int(attributes.get("skipped", 0)),
        **{name: attributes.get(name, "") for name in ("model", "pretrained", "weights_hash", "precision")},
        **{name: float(attributes[name]) for name in ("cosine_to_fp32",) if name in attributes},
        "view_recipe": attributes.get("views", ""),
        "preprocess": json.loads(attributes.get("preprocess") or "{}"),
        "templates": attributes.get("templates", ""),
        "text": cache.text_features is not None,
        "prompts_per_class": len(cache.prompts[0]) if cache.prompts else 0,
        "index": attributes.get("index", "none"),
        "index_quality": json.loads(attributes.get("index_quality") or "{}"),
        "shards": len(cache.shard_paths),
        "bytes": size_there(cache.path) or sum(file.stat().st_size for file in cache.path.rglob("*") if file.is_file()),
        "created": attributes.get("created", ""),
        "source": attributes.get("source", ""),
        "versions": json.loads(attributes.get("versions") or "{}"),
        "fingerprint": cache.fingerprint,
        "splits": {name: _split_info(cache, name) for name in cache.split_names()},
        "per_class": [
            {"name": name, "labelled": labelled, "val": val, "test": test} for name, labelled, val, test in per_class
        ],
    }


def _split_info(cache: FeatureCache, name: str) -> dict[str, Any]:
    split = cache.stored_split(name)
    protocol = {key: value for key, value in split.protocol.items() if key != "drawn"}
    return {part: len(getattr(split, part)) for part in ("labelled", "unlabelled", "val", "test")} | {
        "protocol": protocol
    }
