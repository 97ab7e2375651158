"""`ulfine import-features`: a cache from features that were made elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ulfine_cache.command import Written, command
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent

if TYPE_CHECKING:
    from ulfine_cache.sources.features.feature_file import FeatureFile
    from ulfine_cache.store.shards import Shard

SHARD_ROWS = 8192


@command
def import_features(
    *,
    file: Path,
    out: Path,
    text_features: str = "text_features",
    index: Annotated[str, Written("auto|none|FACTORY")] = "auto",
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Make a cache from features that were computed elsewhere.

    Features and text prototypes are brought to unit norm. Importing the same file again changes nothing.

    Args:
        file: An ``.npz`` file with features, labels (-1: unlabelled); text_features, class_names, set, groups, paths,
            views if known.
        out: Directory of the cache.
        text_features: Name of the array with the text prototypes, or ``none`` to use none.
        index: FAISS index: ``auto``, ``none``, or a factory string.
        progress: Receives stages and notes.

    Returns:
        Figures: cache, rows, views, features, classes, labelled, unlabelled, val, test, text (bool), index.

    Raises:
        UlfineError: The file is wrong in a way that the line names, `out` holds something else or cannot be written.

    Example:
        >>> import_features(file=Path("photos.npz"), out=Path("imported-cache"))["rows"]
        80
    """
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.sources.features.feature_file import read_feature_file
    from ulfine_cache.store.digest_file import file_sha256
    from ulfine_cache.store.lock import writing
    from ulfine_cache.store.same_request import refuse_other_request

    content = read_feature_file(file, text_features=text_features)
    if content.ignored:
        progress.note(f"not read from {file.name}: {', '.join(content.ignored)}")
    for line in content.notes:
        progress.note(line)
    request = {"command": "import-features", "sha256": file_sha256(file), "text_features": text_features}
    with writing(out):
        refuse_other_request(out, request)
        if _is_complete(out, index):
            progress.note(f"{out} is complete: nothing to do")
        else:
            _write(file, out, index, content, request, progress)
    cache = FeatureCache.open(out)
    own = cache.read_split(None)
    return {
        "cache": str(out),
        "rows": cache.n_rows,
        "views": cache.n_views,
        "features": cache.n_features,
        "classes": cache.n_classes,
        **{part: len(getattr(own, part)) for part in ("labelled", "unlabelled", "val", "test")},
        "text": cache.text_features is not None,
        "index": cache.attributes["index"],
    }


def _is_complete(out: Path, index: str) -> bool:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.search.index import has_index

    try:
        cache = FeatureCache.open(out)
    except UlfineError:
        return False
    return has_index(cache, index)


def _write(
    file: Path, out: Path, index: str, content: FeatureFile, request: dict[str, Any], progress: Progress
) -> None:
    from ulfine_cache.atomic import make_directory, remove_partial_files
    from ulfine_cache.search.index import check_index, index_cache
    from ulfine_cache.store.cache_file import CacheContent, TextPrototypes, write_cache_file
    from ulfine_cache.store.layout import CACHE_FILE, SHARDS
    from ulfine_cache.store.shards import shard_path, write_shard
    from ulfine_cache.store.skipped import write_skipped

    check_index(index, content.features.shape[-1])
    make_directory(out / SHARDS)
    # While it is absent the cache is unfinished, which is what it is from here on.
    (out / CACHE_FILE).unlink(missing_ok=True)
    remove_partial_files(out)
    remove_partial_files(out / SHARDS)
    paths = []
    for number, shard in enumerate(_shards(content, request)):
        paths.append(shard_path(out, number))
        write_shard(paths[-1], shard)
        progress.update("importing", min((number + 1) * SHARD_ROWS, len(content.labels)), len(content.labels))
    write_skipped(out, [])
    attributes = {
        "model": "imported",
        "pretrained": "",
        "weights_hash": "",
        "preprocess": "",
        "precision": "",
        "views": content.views,
        "source": str(file.resolve()),
        "request": json.dumps(request, sort_keys=True),
        "call": json.dumps({"file": str(file.resolve())}),
        "templates": "",
        **index_cache(out, paths, index, progress=progress).attributes(),
    }
    text = None if content.text_features is None else TextPrototypes(content.text_features)
    write_cache_file(out, paths, CacheContent(content.class_names, attributes, text), progress=progress)


def _shards(content: FeatureFile, request: dict[str, Any]) -> Iterator[Shard]:
    import numpy as np

    from ulfine_cache.store.shards import Shard, content_hash
    from ulfine_cache.store.unit_norm import unit_norm

    for start in range(0, len(content.labels), SHARD_ROWS):
        rows = slice(start, start + SHARD_ROWS)
        # float64, because the squares of large float16 or float32 values overflow.
        features = content.features[rows].astype(np.float64)
        features /= np.abs(features).max(axis=2, keepdims=True)
        features = unit_norm(features).astype(np.float16)
        yield Shard(
            features=features,
            labels=content.labels[rows],
            paths=content.paths[rows],
            set_names=content.set_names[rows],
            groups=content.groups[rows],
            hashes=[content_hash(row.tobytes()) for row in features],
            request=request,
        )
