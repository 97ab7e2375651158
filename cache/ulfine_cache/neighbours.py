"""`ulfine neighbours`: the images of a cache that are nearest to a picture, to words, or to one of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge

from ulfine_cache.command import Place, Written, command
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.sources.trees.regular_file import read_regular

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ulfine_cache.encoders.encoder import ClipEncoder
    from ulfine_cache.feature_cache import FeatureCache


@dataclass(frozen=True)
class _Query:
    text: str
    meaning: Literal["row", "picture", "words"]
    row: int = -1


@command
def neighbours(
    *,
    cache: Place,
    queries: Sequence[str],
    k: Annotated[int, Ge(1)] = 10,
    device: Annotated[str, Written("auto|cpu|cuda|cuda:N|mps")] = "auto",
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Show the images nearest to a picture or to words.

    Nearest is the first view with the largest cosine similarity. A path of the cache needs no encoder; its own row is
    left out of the answer, its duplicates are not. Put ``./`` before an image file whose path the cache has too.

    Args:
        cache: Directory of the cache.
        queries: Image files, words, or paths of the cache itself.
        k: Neighbours of each query; fewer where the cache has fewer rows.
        device: Where the encoder runs.
        progress: Receives notes.

    Returns:
        Figures: cache, index (its kind; "none": exact search), queries (list of query, meaning ("row", "picture" or
        "words") and neighbours: a list of rank (from 1), row, similarity in [-1, 1], path and class, None where it is
        unlabelled).

    Raises:
        UsageError: There is no query, or `k` is less than 1.
        UlfineError: There is no cache, a query is no such file, or it cannot be encoded.

    Example:
        >>> found = neighbours(cache=Path("photos-cache"), queries=["a photo of a three"])
        >>> nearest = found["queries"][0]["neighbours"][0]
        >>> list(nearest), nearest["class"]
        (['rank', 'row', 'similarity', 'path', 'class'], 'three')
    """
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.search.exact_search import exact_search
    from ulfine_cache.search.index import search
    from ulfine_cache.store.layout import INDEX_FILE

    if not queries:
        raise UsageError("no query: give an image file, words, or a path of the cache")
    opened = FeatureCache.open(cache)
    meant = _meanings(opened, queries)
    features = _encoded(opened, meant, device, progress)
    # One more, for a row of the cache finds itself.
    wanted = min(k + 1, opened.n_rows)
    kind = str(opened.attributes.get("index", "none")) if (opened.path / INDEX_FILE).is_file() else "none"
    if kind == "none":
        progress.note("the cache has no index: every row is compared")
        similarities, rows = exact_search(opened.shard_paths, features, wanted)
    else:
        similarities, rows = search(opened, features, wanted)
    return {
        "cache": str(cache),
        "index": kind,
        "queries": [
            {"query": query.text, "meaning": query.meaning, "neighbours": _named(opened, query, found, k)}
            for query, *found in zip(meant, similarities, rows, strict=True)
        ],
    }


def _meanings(cache: FeatureCache, queries: Sequence[str]) -> list[_Query]:
    rows = _rows_of(cache, queries)
    return [_Query(text, "row", rows[text]) if text in rows else _picture_or_words(cache, text) for text in queries]


def _rows_of(cache: FeatureCache, names: Sequence[str]) -> dict[str, int]:
    """Rows of those names that are paths of the cache; memory holds the names of one shard."""
    import numpy as np

    from ulfine_cache.store.shards import read_paths

    wanted: dict[bytes, str] = {}
    for name in names:
        with suppress(UnicodeEncodeError):  # such a text is no path
            wanted[name.encode("utf-8", "surrogateescape")] = name
    found: dict[str, int] = {}
    start = 0
    for shard, count in zip(cache.shard_paths, cache.shard_rows, strict=True):
        paths = read_paths(shard)
        for place in np.flatnonzero(np.isin(paths, list(wanted))):
            found.setdefault(wanted[bytes(paths[place])], start + int(place))
        start += int(count)
        if len(found) == len(wanted):
            break
    return found


def _picture_or_words(cache: FeatureCache, text: str) -> _Query:
    from ulfine_cache.sources.words.image_names import EXTENSIONS

    path = Path(text)
    try:
        if path.is_dir():
            raise UlfineError(f"{text} is a folder: give an image file, words, or a path of the cache")
        there = path.is_file()
    # Words may be too long for a file's name or hold what no name may.
    except (OSError, ValueError):
        there = False
    if there:
        return _Query(text, "picture")
    if path.suffix.lower() in EXTENSIONS:
        raise UlfineError(f"{text}: no such file, nor a path of the cache; these look like {_first_path(cache)}")
    if not text.strip():
        raise UlfineError("a query is empty: give an image file, words, or a path of the cache")
    return _Query(text, "words")


def _encoded(
    cache: FeatureCache, queries: Sequence[_Query], device: str, progress: Progress
) -> npt.NDArray[np.float32]:
    import numpy as np

    features = np.empty((len(queries), cache.n_features), np.float32)
    own = [place for place, query in enumerate(queries) if query.meaning == "row"]
    features[own] = cache.features(np.array([queries[place].row for place in own], np.int64))
    if len(own) == len(queries):
        return features
    encoder = _encoder(cache, queries, device, progress)
    for place, query in enumerate(queries):
        if query.meaning == "picture":
            features[place] = _picture(cache, encoder, query.text)
        elif query.meaning == "words":
            features[place] = encoder.encode_text([query.text])[0]
    return features


def _encoder(cache: FeatureCache, queries: Sequence[_Query], device: str, progress: Progress) -> ClipEncoder:
    first = next(query for query in queries if query.meaning != "row")
    if not cache.attributes.get("weights_hash"):
        raise UlfineError(
            f"{first.text}: {cache.path} holds imported features, whose encoder is not known: ask with one of its own "
            f"paths, such as {_first_path(cache)}"
        )
    from ulfine_cache.joining.load import load_encoder

    encoder = load_encoder(cache.attributes, device, progress=progress)
    words = next((query for query in queries if query.meaning == "words"), None)
    if words is not None and not encoder.has_text:
        raise UlfineError(f"{words.text}: {encoder.model_name} has no text encoder: ask with a picture")
    return encoder


def _picture(cache: FeatureCache, encoder: ClipEncoder, file: str) -> npt.NDArray[np.float32]:
    import numpy as np

    from ulfine_cache.atomic import reason
    from ulfine_cache.pictures.joined_preprocess import read_preprocess
    from ulfine_cache.pictures.pixels import UndecodableImage, decode
    from ulfine_cache.sources.cached_images import cached_pixel_range

    # The recorded preprocessing is that of the first view, which is the one that is searched.
    preprocess = read_preprocess(cache.attributes["preprocess"])
    try:
        pixels = preprocess.to_pixels(decode(read_regular(str(file)), pixel_range=cached_pixel_range(cache)))
    except UndecodableImage as error:
        raise UlfineError(f"{file}: {error}") from error
    except OSError as error:
        raise UlfineError(f"{file} cannot be read: {reason(error)}") from error
    return encoder.encode_images(np.stack([pixels]))[0]


def _first_path(cache: FeatureCache) -> str:
    import numpy as np

    return cache.paths_of(np.zeros(1, np.int64))[0]


def _named(cache: FeatureCache, query: _Query, found: Sequence[npt.NDArray[Any]], k: int) -> list[dict[str, Any]]:
    import numpy as np

    nearest = [(float(value), int(row)) for value, row in zip(*found, strict=True) if row not in (-1, query.row)][:k]
    paths = cache.paths_of(np.array([row for _, row in nearest], np.int64))
    return [
        {
            "rank": rank,
            "row": row,
            "similarity": round(min(1.0, similarity), 4),
            "path": path,
            "class": cache.class_names[cache.labels[row]] if cache.labels[row] >= 0 else None,
        }
        for rank, ((similarity, row), path) in enumerate(zip(nearest, paths, strict=True), start=1)
    ]
