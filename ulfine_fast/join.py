"""`ulfine join`: the features of several encoders for the same images, side by side in one cache."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.command import command
from ulfine_cache.elsewhere.found_part import ENCODER_ORIGIN, SOURCE_ORIGIN
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.joining.parts import OF_ENCODER, PARTS, encodes_pictures, parts_of, whole_of
from ulfine_cache.progress import Progress, Silent

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.store.cache_file import TextPrototypes

SHARD_ROWS = 8192


@command
def join(
    *,
    caches: Sequence[Path],
    out: Path,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Put the features of several encoders side by side.

    The caches hold the same images, by path and content, with the same classes, labels and sets. A fit on the result
    fits every encoder by itself and adds the answers, each with a share that labelled rows decide which are left out;
    see ``docs/encoders.md``. ``cache-features --model A+B`` does the same in one step.

    Args:
        caches: Directories of two or more caches.
        out: Directory of the new cache, which has no index.
        progress: Told about the rows.

    Returns:
        Figures: ``cache``, ``rows``, ``views``, ``features`` (the sum of the widths), ``classes``, ``text`` (bool) and
        ``parts``, a list of ``model``, ``pretrained`` and ``width``.

    Raises:
        UsageError: Fewer than two caches are named.
        UlfineError: They are not of the same images, have other views, or `out` holds something else.

    Example:
        >>> joined = join(caches=[Path("photos-cache"), Path("photos-cache")], out=Path("both-cache"))
        >>> joined["features"] == 2 * joined["parts"][0]["width"]
        True
    """
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.joining.same_images import content_hashes, rows_of_same_images
    from ulfine_cache.store.lock import writing
    from ulfine_cache.store.same_request import refuse_other_request

    if len(caches) < 2:
        raise UsageError("join takes two or more caches: name them one after the other")
    opened = [FeatureCache.open(path) for path in caches]
    _check_views(opened)
    rows = rows_of_same_images(opened)
    request = {"command": "join", "caches": [cache.fingerprint for cache in opened]}
    with writing(out):
        refuse_other_request(out, request)
        if _is_complete(out):
            progress.note(f"{out} is complete: nothing to do")
        else:
            _write(out, opened, rows, content_hashes(opened[0]), request, progress)
    cache = FeatureCache.open(out)
    return {
        "cache": str(out),
        "rows": cache.n_rows,
        "views": cache.n_views,
        "features": cache.n_features,
        "classes": cache.n_classes,
        "text": cache.text_features is not None,
        "parts": [{key: part[key] for key in ("model", "pretrained", "width")} for part in parts_of(cache.attributes)],
    }


def _check_views(caches: Sequence[FeatureCache]) -> None:
    first = caches[0]
    for cache in caches:
        if PARTS in cache.attributes:
            raise UlfineError(f"{cache.path} is joined already: name the caches that it was made of")
        if cache.attributes["views"] != first.attributes["views"]:
            raise UlfineError(f"{first.path} and {cache.path} have other views: make both with the same --views")


def _is_complete(out: Path) -> bool:
    from ulfine_cache.feature_cache import FeatureCache

    try:
        FeatureCache.open(out)
    except UlfineError:
        return False
    return True


def _write(
    out: Path,
    caches: Sequence[FeatureCache],
    rows: Sequence[Any],
    hashes: Any,
    request: dict[str, Any],
    progress: Progress,
) -> None:
    import numpy as np

    from ulfine_cache.atomic import make_directory, remove_partial_files
    from ulfine_cache.store.cache_file import CacheContent, write_cache_file
    from ulfine_cache.store.layout import CACHE_FILE, SHARDS
    from ulfine_cache.store.shards import Shard, shard_path, write_shard
    from ulfine_cache.store.skipped import write_skipped

    first = caches[0]
    make_directory(out / SHARDS)
    (out / CACHE_FILE).unlink(missing_ok=True)
    for folder in (out, out / SHARDS):
        remove_partial_files(folder)
    paths: list[Path] = []
    for number, start in enumerate(range(0, first.n_rows, SHARD_ROWS)):
        block = slice(start, start + SHARD_ROWS)
        views = [
            np.concatenate([cache.features(of[block], view) for cache, of in zip(caches, rows, strict=True)], axis=1)
            for view in range(first.n_views)
        ]
        paths.append(shard_path(out, number))
        write_shard(
            paths[-1],
            Shard(
                features=(np.stack(views, axis=1) / np.sqrt(len(caches))).astype(np.float16),
                labels=first.labels[block],
                paths=first.paths[block],
                set_names=first.set_names[block].tolist(),
                hashes=hashes[block].tolist(),
                request=request,
            ),
        )
        progress.update("joining", min(start + SHARD_ROWS, first.n_rows), first.n_rows)
    write_skipped(out, [])
    known = all(encodes_pictures(cache.attributes) for cache in caches)
    own = [
        {key: str(cache.attributes.get(key, "")) for key in OF_ENCODER}
        | {key: cache.attributes[key] for key in (ENCODER_ORIGIN,) if key in cache.attributes}
        for cache in caches
    ]
    parts = [
        {**part, "width": cache.n_features, "fingerprint": cache.fingerprint}
        for part, cache in zip(own, caches, strict=True)
    ]
    # Of imported features nobody knows the encoder: pictures cannot be encoded with it then.
    unknown = {"model": "joined", "pretrained": "", "weights_hash": "", "preprocess": "", "precision": ""}
    attributes = {
        **(whole_of(parts) if known else unknown),
        "views": first.attributes["views"],
        "source": first.attributes["source"],
        **{name: first.attributes[name] for name in (SOURCE_ORIGIN,) if name in first.attributes},
        "request": json.dumps(request, sort_keys=True),
        "call": json.dumps(_call(caches), sort_keys=True),
        "templates": "",
        "index": "none",
        "index_request": "none",
        PARTS: json.dumps(parts),
    }
    write_cache_file(out, paths, CacheContent(first.class_names, attributes, _text(caches)), progress=progress)


def _call(caches: Sequence[FeatureCache]) -> dict[str, Any]:
    """The caches, and how the first one's source was read, so that its images are found again."""
    from ulfine_cache.sources.source_options import SourceOptions
    from ulfine_cache.store.versions import call_of

    call = call_of(caches[0].attributes) or {}
    kept = (*SourceOptions.__dataclass_fields__, "pixel_range")
    return {"caches": [str(cache.path.resolve()) for cache in caches]} | {
        name: call[name] for name in kept if name in call
    }


def _text(caches: Sequence[FeatureCache]) -> TextPrototypes | None:
    """Text prototypes side by side; none where an encoder has no text."""
    import numpy as np

    from ulfine_cache.store.cache_file import TextPrototypes

    texts = [cache.text_features for cache in caches if cache.text_features is not None]
    if len(texts) < len(caches):
        return None
    return TextPrototypes(np.concatenate(texts, axis=1) / np.float32(np.sqrt(len(caches))))
