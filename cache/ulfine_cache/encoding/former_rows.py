"""Features of images that were encoded before, found again by what is in the files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ulfine_cache.atomic import make_directory, reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.remote.failures import StorageError
from ulfine_cache.sources.source import ImageSource, SourceItem, identity, stamp
from ulfine_cache.store.digest_file import check_once, digest_path
from ulfine_cache.store.layout import FORMER
from ulfine_cache.store.objects.copies import bring
from ulfine_cache.store.objects.writing import withdraw
from ulfine_cache.store.seen_files import note_seen, read_seen
from ulfine_cache.store.shards import read_features, read_hashes, read_header, read_skipped


class FormerRows:
    """The rows of the shards in the folder `.former` of a cache: shards whose listing is no longer that of the source.

    An image is looked for by its file (name, size, time of change, and that it is still the very file), which needs no
    reading, and then by its content. Where several rows hold the same content, the first one counts. Nothing else is
    looked at (not the shards that are kept, nor those written in the meantime), so that an interrupted run finds the
    same rows again.

    Args:
        cache: The cache's directory.
        source: Where the images are now; None takes stamps for files.
    """

    def __init__(self, cache: Path, source: ImageSource | None = None) -> None:
        self._source = source
        self._folder = cache / FORMER
        self._shards: list[Path] = []
        stamps, contents, shards, rows, seen = [], [], [], [], []
        every = read_seen(cache)
        for path in sorted(self._folder.glob("*.h5")):
            try:
                header, (content, of_file) = read_header(path), read_hashes(path)
                known = every.get(path)
                if known is None or len(known) != header.n_rows + len(read_skipped(path)):
                    known = np.zeros(header.n_rows, np.uint64)
            except UlfineError:
                continue  # damaged: its images are encoded again
            if header.n_rows:
                stamps.append(of_file)
                contents.append(content)
                shards.append(np.full(header.n_rows, len(self._shards), np.int32))
                seen.append(known[: header.n_rows])
                rows.append(np.arange(header.n_rows, dtype=np.int32))
                self._shards.append(path)
        self._contents = _joined(contents)
        self._shard = np.concatenate([np.empty(0, np.int32), *shards])
        self._row = np.concatenate([np.empty(0, np.int32), *rows])
        self._seen = np.concatenate([np.empty(0, np.uint64), *seen])
        self._by_content, self._by_stamp = _Places(self._contents), _Places(_joined(stamps))

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._row)

    def of_file(self, item: SourceItem) -> tuple[int, str] | None:
        """Return the place of an image whose file has not been touched, and its content hash, or None."""
        place = self._by_stamp.find(stamp(item)) if item.size >= 0 else None
        if place is None or (self._source and int(self._seen[place]) != identity(self._source, item)):
            return None
        return place, self._contents[place].decode()

    def of_content(self, content: str) -> int | None:
        """Return the place of an image with the same bytes, or None.

        Args:
            content: `content_hash` of the bytes.
        """
        return self._by_content.find(content)

    def features(self, places: Sequence[int], *, pre_projection: bool = False) -> npt.NDArray[np.float16]:
        """Read the features of rows.

        Args:
            places: n of what the two above returned.
            pre_projection: Read those from before the encoder's projection.

        Returns:
            float16 (n, views, D), as they were written.

        Raises:
            UlfineError: A shard is damaged.
        """
        wanted = np.asarray(places, np.int64)
        found: npt.NDArray[np.float16] | None = None
        for shard in np.unique(self._shard[wanted]):
            here = np.flatnonzero(self._shard[wanted] == shard)
            rising, back = np.unique(self._row[wanted[here]], return_inverse=True)
            read = read_features(self._shards[shard], None, rising.astype(np.int64), pre_projection=pre_projection)
            if found is None:
                found = np.empty((len(wanted), *read.shape[1:]), np.float16)
            found[here] = read[back]
        return np.empty((0, 0, 0), np.float16) if found is None else found


def put_aside(cache: Path, shards: Sequence[Path]) -> None:
    """Move sound shards to where `FormerRows` looks, behind those that are there.

    Raises:
        UlfineError: The directory cannot be written.
    """
    folder = cache / FORMER
    if not shards:
        return
    make_directory(folder)
    seen = read_seen(cache)
    number = max((int(path.stem) for path in folder.glob("*.h5")), default=-1)
    for path in shards:
        try:
            bring(path)
            check_once(path)
        except (OSError, UlfineError) as error:
            if isinstance(error, StorageError):
                raise
            # Damaged: one beyond the last block would not even be written over.
            path.unlink(missing_ok=True)
            digest_path(path).unlink(missing_ok=True)
            withdraw(path)
            continue
        number += 1
        try:
            kept = folder / f"{number:05d}.h5"
            note_seen(cache, kept, seen.get(path, ()))
            path.replace(kept)
            digest_path(path).unlink(missing_ok=True)
            withdraw(path)
        except OSError as error:
            raise UlfineError(f"cannot move {path} to {folder}: {reason(error)}") from error


class _Places:
    """Finds the first place of a text in an array of texts."""

    def __init__(self, texts: npt.NDArray[np.bytes_]) -> None:
        self._order = np.argsort(texts, kind="stable").astype(np.int32)
        self._sorted = texts[self._order]

    def find(self, text: str) -> int | None:
        wanted = text.encode()
        place = int(np.searchsorted(self._sorted, wanted))
        return int(self._order[place]) if place < len(self._sorted) and self._sorted[place] == wanted else None


def _joined(parts: Sequence[npt.NDArray[np.bytes_]]) -> npt.NDArray[np.bytes_]:
    return np.concatenate([np.empty(0, "S32"), *(part.astype("S32") for part in parts)])
