"""`ulfine import-features`: a cache from features that were made elsewhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ulfine_cache.atomic import make_directory, remove_partial_files
from ulfine_cache.config import StrictConfig
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.search.index import check_index, has_index, index_cache
from ulfine_cache.sources.features.feature_file import TEXT_FEATURES, FeatureFile, read_feature_file
from ulfine_cache.store.cache_file import CACHE_FILE, CacheContent, TextPrototypes, write_cache_file
from ulfine_cache.store.digest_file import file_sha256
from ulfine_cache.store.lock import writing
from ulfine_cache.store.plan import refuse_other_plan
from ulfine_cache.store.shards import SHARDS, Shard, content_hash, shard_path, write_shard
from ulfine_cache.store.skipped import write_skipped

SHARD_ROWS = 8192


class ImportFeaturesConfig(StrictConfig):
    """The parameters of `import_features`."""

    file: Path
    out: Path
    text_features: str = TEXT_FEATURES
    index: str = "auto"


def import_features(
    *,
    file: Path,
    out: Path,
    text_features: str = TEXT_FEATURES,
    index: str = "auto",
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Make a cache from an `.npz` file; `read_feature_file` lists the arrays it may hold.

    Features and text prototypes are brought to unit norm. Importing the same file again changes nothing.

    Args:
        file: The `.npz` file.
        out: The cache directory to make.
        text_features: Name of the array with the text prototypes, or "none" to use none.
        index: "auto", "none" or a FAISS factory string.
        progress: Receives stages and notes.

    Returns:
        Figures: cache, rows, views, features, classes, labelled, unlabelled, val, test, text (bool), index.

    Raises:
        UlfineError: The file is wrong in a way that the line names, `out` holds something else or cannot be written.

    Example:
        >>> import_features(file=Path("whurs19_vit-b-32.npz"), out=Path("whurs19"))  # doctest: +SKIP
    """
    config = ImportFeaturesConfig.checked(file=file, out=out, text_features=text_features, index=index)
    content = read_feature_file(config.file, text_features=config.text_features)
    if content.ignored:
        progress.note(f"not read from {config.file.name}: {', '.join(content.ignored)}")
    for line in content.notes:
        progress.note(line)
    plan = {
        "made by": "import-features",
        "file": file_sha256(config.file),
        "text features": config.text_features,
    }
    with writing(config.out):
        refuse_other_plan(config.out, plan)
        if _is_complete(config):
            progress.note(f"{config.out} is complete: nothing to do")
        else:
            _write(config, content, plan, progress)
    cache = FeatureCache.open(config.out)
    own = cache.read_split(None)
    return {
        "cache": str(config.out),
        "rows": cache.n_rows,
        "views": cache.n_views,
        "features": cache.n_features,
        "classes": cache.n_classes,
        **{part: len(getattr(own, part)) for part in ("labelled", "unlabelled", "val", "test")},
        "text": cache.text_features is not None,
        "index": cache.attributes["index"],
    }


def _is_complete(config: ImportFeaturesConfig) -> bool:
    try:
        cache = FeatureCache.open(config.out)
    except UlfineError:
        return False
    return has_index(cache, config.index)


def _write(config: ImportFeaturesConfig, content: FeatureFile, plan: dict[str, Any], progress: Progress) -> None:
    check_index(config.index, content.features.shape[-1])
    make_directory(config.out / SHARDS)
    # While it is absent the cache is unfinished, which is what it is from here on.
    (config.out / CACHE_FILE).unlink(missing_ok=True)
    remove_partial_files(config.out)
    remove_partial_files(config.out / SHARDS)
    paths = []
    for number, shard in enumerate(_shards(content, plan)):
        paths.append(shard_path(config.out, number))
        write_shard(paths[-1], shard)
        progress.update("importing", min((number + 1) * SHARD_ROWS, len(content.labels)), len(content.labels))
    write_skipped(config.out, [])
    attributes = {
        "model": "imported",
        "pretrained": "",
        "weights_hash": "",
        "preprocess": "",
        "precision": "",
        "views": content.views,
        "source": str(config.file.resolve()),
        "request": json.dumps(
            {"file": str(config.file.resolve()), "sha256": plan["file"], "text_features": config.text_features}
        ),
        "templates": "",
        **index_cache(config.out, paths, config.index, progress=progress).attributes(),
    }
    text = None if content.text_features is None else TextPrototypes(content.text_features)
    write_cache_file(config.out, paths, CacheContent(content.class_names, attributes, text), progress=progress)


def _shards(content: FeatureFile, plan: dict[str, Any]) -> Iterator[Shard]:
    for start in range(0, len(content.labels), SHARD_ROWS):
        rows = slice(start, start + SHARD_ROWS)
        # float64, because the squares of large float16 or float32 values overflow.
        features = content.features[rows].astype(np.float64)
        features /= np.abs(features).max(axis=2, keepdims=True)
        features = (features / np.linalg.norm(features, axis=2, keepdims=True)).astype(np.float16)
        yield Shard(
            features=features,
            labels=content.labels[rows],
            paths=content.paths[rows],
            set_names=content.set_names[rows],
            hashes=[content_hash(row.tobytes()) for row in features],
            plan=plan,
        )
