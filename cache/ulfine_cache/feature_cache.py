"""Read a cache: rows of features with labels, paths and sets, and the class prototypes of the text encoder."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import h5py
import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UlfineError
from ulfine_cache.remote.places import place, url_of
from ulfine_cache.splitting.split_draw import Split, own_sets
from ulfine_cache.splitting.split_file import read_split, split_names
from ulfine_cache.store.cache_file import ShardTable, read_shard_table
from ulfine_cache.store.datasets import UNREADABLE, dataset, decode, open_for_reading, read_array, read_texts
from ulfine_cache.store.layout import CACHE_FILE
from ulfine_cache.store.shards import damaged, read_features, read_labels, read_paths
from ulfine_cache.store.unit_norm import unit_norm
from ulfine_cache.wording.counts import amount

_Rows = npt.NDArray[np.int64]

APPLIED = "applied"
"""Key of a split's protocol where it was drawn with labels that people decided, and not with the cache's own."""


class NamedRows(NamedTuple):
    """Rows of a cache, as scikit-learn's estimators take them: ``X, y, text = cache.training()``.

    Attributes:
        features: float32 (n, D), unit norm.
        labels: (n,) names of the classes, ``"-1"`` where unlabelled.
        text_features: float32 (C, D), unit norm, in the order of the sorted class names; None where there is no text.
    """

    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.str_]
    text_features: npt.NDArray[np.float32] | None


class FeatureCache:
    """A complete cache directory, opened for reading.

    Labels, names and prototypes are in memory; features are read from the shards when asked for. No file stays open.

    Attributes:
        path: The directory.
        n_rows: Images that could be read.
        n_views: Views of each image, >= 1.
        n_features: Width D of a feature.
        n_features_pre: Width D_pre of a feature before the encoder's projection; 0 where the cache does not hold them.
        labels: int64 (n_rows,), -1 = unlabelled.
        set_names: (n_rows,) of "", "train", "val" or "test".
        groups: n_rows names of what images have in common, such as a camera, a site or a batch, "" where nothing is
            said; None where nothing is said of any.
        class_names: C names; a label is an index into them.
        text_features: float32 (C, D), unit norm, or None where the encoder has no text tower.
        text_features_pre: float32 (C, D_pre), unit norm: `text_features` among the features before the projection, or
            None.
        prompt_features: float32 (C, T, D), unit norm: one per prompt, or None.
        prompts: C lists of T prompts, or an empty list.
        attributes: Everything recorded about how the features were made: schema_version, model, pretrained,
            weights_hash, preprocess (JSON), precision, views, versions (JSON), created, source, ...
        fingerprint: 64 hexadecimal digits that stay the same for the same features, labels, sets and encoder,
            whatever the shard size, time and place.

    Example:
        >>> cache = FeatureCache.open(Path("photos-cache"))
        >>> cache.class_names
        ['seven', 'three']
        >>> cache.features(cache.read_split(None).labelled).shape == (80, cache.n_features)
        True
        >>> X, y, text = cache.training()
        >>> sorted(set(y.tolist())), X.shape == (len(y), cache.n_features)
        (['seven', 'three'], True)
    """

    path: Path
    n_rows: int
    n_views: int
    n_features: int
    n_features_pre: int
    class_names: list[str]
    text_features: npt.NDArray[np.float32] | None
    text_features_pre: npt.NDArray[np.float32] | None
    attributes: dict[str, Any]
    fingerprint: str
    labels: npt.NDArray[np.int64]
    set_names: npt.NDArray[np.str_]
    groups: list[str] | None
    _table: ShardTable

    @classmethod
    def open(cls, path: Path | str, *, checked: bool = True) -> Self:
        """Open a cache directory (or its `cache.h5`).

        Args:
            path: Where it is: a path, or a URL such as ``s3://bucket/cache`` as text.
            checked: Refuse parts of different sizes; False is for who looks for them.

        Raises:
            UlfineError: It is missing, unfinished, damaged, or written by another version of the format.
        """
        path = place(path)
        path = path.parent if path.name == CACHE_FILE else path
        cache = cls()
        cache.path = path
        cache._table = read_shard_table(path)
        # HDF5 fills a virtual dataset with zeros where a shard is missing: look before reading.
        shards = zip(cache._table.paths, cache._table.sizes, strict=True)
        # What lies on a storage is checked when it is fetched.
        for shard, size in shards if url_of(path) is None else ():
            if not shard.is_file():
                raise UlfineError(f"{shard} is missing: run the command that made the cache again")
            if shard.stat().st_size != size:
                raise damaged(shard)
        try:
            with open_for_reading(path / CACHE_FILE) as file:
                cache._load_own(file)
                cache._load_rows(file)
                if checked:
                    cache._check_sizes()
        except UNREADABLE as error:
            raise UlfineError(f"{path} is damaged: `ulfine verify {path}` names the file") from error
        return cache

    def __repr__(self) -> str:
        """The directory and what it holds, in one line."""
        sizes = f"{amount(self.n_rows, 'row')}, {amount(self.n_features, 'feature')}, {amount(self.n_classes, 'class')}"
        return f"<FeatureCache {str(self.path)!r}: {sizes}>"

    @property
    def n_classes(self) -> int:
        """Number C of classes."""
        return len(self.class_names)

    def width(self, *, pre_projection: bool = False) -> int:
        """Width of a feature, D, or D_pre (0 where there is none) before the encoder's projection."""
        return self.n_features_pre if pre_projection else self.n_features

    def features(
        self, rows: npt.NDArray[np.int64] | None = None, view: int = 0, *, pre_projection: bool = False
    ) -> npt.NDArray[np.float32]:
        """Read one view of some rows.

        Args:
            rows: int64 (n,) row indices in any order; None reads all.
            view: Which view, 0 <= view < n_views.
            pre_projection: Give them as they were before the encoder's projection.

        Returns:
            float32 (n, D), or (n, D_pre) with `pre_projection`; unit norm, in the order of `rows`.

        Raises:
            UlfineError: A shard is missing or damaged, or the cache holds nothing before the projection.
            IndexError: A row or the view does not exist.
        """
        if not 0 <= view < self.n_views:
            raise IndexError(f"view {view} of {self.n_views}")
        if pre_projection and not self.n_features_pre:
            raise UlfineError(
                f"{self.path} holds no features before the projection: make a cache with "
                "`ulfine cache-features --pre-projection`"
            )
        rows = np.arange(self.n_rows) if rows is None else np.asarray(rows, np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < self.n_rows:
            raise IndexError(f"row {rows.min() if rows.min() < 0 else rows.max()} of {self.n_rows}")
        features = np.empty((len(rows), self.width(pre_projection=pre_projection)), np.float32)
        # One shard after the other, so that memory holds what is wanted of one shard beside the result.
        for shard, wanted, of_shard in self._by_shard(rows):
            rising, place = np.unique(of_shard, return_inverse=True)
            read = read_features(shard, view, rising, pre_projection=pre_projection)[place].astype(np.float32)
            # float16 leaves the norms off by up to 5e-4.
            features[wanted] = unit_norm(read)
        return features

    def training(self, split: str | None = None) -> NamedRows:
        """Read what a classifier may be trained on: the labelled and the unlabelled rows, in their order.

        Rows of the validation and test sets are left out, and labels that the split takes for unknown are hidden.

        Args:
            split: Named split; None takes the sets that the cache came with.

        Raises:
            UlfineError: There is no such split, or a class is called -1, which means unlabelled.
        """
        drawn = self.read_split(split)
        return self._named(np.sort(np.concatenate([drawn.labelled, drawn.unlabelled])), drawn.labelled)

    def test(self, split: str | None = None) -> NamedRows:
        """Read what a classifier may be judged on, in the form of `training`.

        Args:
            split: As there.

        Raises:
            UlfineError: As there, or there are no test rows.
        """
        drawn = self.read_split(split)
        if not len(drawn.test):
            raise UlfineError(
                f"{self.path} has no test rows: add test/ to the images, or name a split that `ulfine split` drew"
            )
        return self._named(drawn.test, drawn.test)

    def _named(self, rows: _Rows, known: _Rows) -> NamedRows:
        if "-1" in self.class_names:
            raise UlfineError(f"{self.path} has a class called '-1', which means unlabelled: give it another name")
        # The last name is what -1 stands for.
        names = np.array([*self.class_names, "-1"])
        labels = np.where(np.isin(rows, known), self.labels[rows], -1)
        text = self.text_features
        return NamedRows(
            self.features(rows), names[labels], None if text is None else text[np.argsort(names[: self.n_classes])]
        )

    @cached_property
    def paths(self) -> list[str]:
        """n_rows names of the inputs, relative to the source."""
        return self.paths_of(np.arange(self.n_rows))

    def paths_of(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """Names of the inputs of some rows, read from their shards.

        Args:
            rows: int64 (n,) row indices in any order.

        Returns:
            n names, relative to the source.

        Raises:
            UlfineError: A shard is missing or damaged.
        """
        names = [""] * len(rows)
        for shard, wanted, of_shard in self._by_shard(rows):
            for at, name in zip(wanted, decode(read_paths(shard)[of_shard]), strict=True):
                names[at] = name
        return names

    def _by_shard(self, rows: npt.NDArray[np.int64]) -> Iterator[tuple[Path, _Rows, _Rows]]:
        """Shards that hold some of the rows, in order: the file, which of `rows` it holds, and their numbers in it."""
        shard_of = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(shard_of):
            wanted = np.flatnonzero(shard_of == number)
            start = self._ends[number] - self._table.rows[number]
            yield self._table.paths[number], wanted, rows[wanted] - start

    @property
    def shard_paths(self) -> list[Path]:
        """Files of the shards, in the order of the rows."""
        return list(self._table.paths)

    @property
    def shard_rows(self) -> npt.NDArray[np.int64]:
        """int64 (n,): how many rows each shard holds."""
        return self._table.rows

    def split_names(self) -> list[str]:
        """Return the names of the splits drawn so far, sorted."""
        return split_names(self.path)

    def read_split(self, name: str | None) -> Split:
        """Read a named split, or with None the sets that the cache came with.

        Raises:
            UlfineError: There is no such split, it is damaged, or it was drawn from other features or labels.
        """
        if name is None:
            return own_sets(self.labels, self.set_names)
        split = self.stored_split(name)
        if APPLIED in split.protocol:
            raise UlfineError(
                f"split {name!r} was drawn with labels that people decided: give the file of decisions with --apply, "
                f"such as {split.protocol[APPLIED]['file']}"
            )
        return split

    def stored_split(self, name: str) -> Split:
        """Read a named split for its rows alone, whatever labels it was drawn with.

        Raises:
            UlfineError: There is no such split, it is damaged, or it was drawn from other features.
        """
        return read_split(self.path, name, self.fingerprint, self.n_rows)

    def _load_own(self, file: h5py.File) -> None:
        self.attributes = {name: _plain(value) for name, value in file.attrs.items()}
        self.fingerprint = str(self.attributes["fingerprint"])
        self.class_names = read_texts(file, "class_names")
        self.text_features = read_array(file, "text_features") if "text_features" in file else None
        if self.text_features is not None and not np.isfinite(self.text_features).all():
            raise UlfineError(
                f"{self.path / CACHE_FILE} holds text prototypes that are NaN or infinite: run the command that made "
                "the cache again"
            )
        self.text_features_pre = read_array(file, "text_features_pre") if "text_features_pre" in file else None
        self.prompt_features = read_array(file, "prompt_features") if "prompt_features" in file else None
        self.prompts = [decode(row) for row in read_array(file, "prompts")] if "prompts" in file else []

    def _load_rows(self, file: h5py.File) -> None:
        self.n_rows, self.n_views, self.n_features = (int(size) for size in dataset(file, "features").shape)
        self.n_features_pre = int(dataset(file, "features_pre").shape[2]) if "features_pre" in file else 0
        self._ends = np.cumsum(self._table.rows)
        self.groups = read_texts(file, "group") if "group" in file else None
        if not dataset(file, "label").is_virtual:
            self.labels = read_array(file, "label").astype(np.int64)
            self.set_names = read_array(file, "set").astype("U5")
            return
        # Version 1.
        self.labels = np.empty(self.n_rows, np.int64)
        self.set_names = np.empty(self.n_rows, "U5")
        # HDF5's view over many shards takes half as long again and holds on to several times as much memory.
        for shard, end, count in zip(self._table.paths, self._ends, self._table.rows, strict=True):
            self.labels[end - count : end], self.set_names[end - count : end] = read_labels(shard)

    def _check_sizes(self) -> None:
        """Refuse a cache whose parts are of different numbers of classes or rows."""
        known = self.labels.min(initial=0) >= -1 and self.labels.max(initial=-1) < self.n_classes
        texts = [
            part for part in (self.text_features, self.text_features_pre, self.prompt_features) if part is not None
        ]
        rows = len(self.labels) == len(self.set_names) == self.n_rows == sum(self._table.rows)
        rows = rows and (self.groups is None or len(self.groups) == self.n_rows)
        if not (known and rows and all(len(part) == self.n_classes for part in texts)):
            raise ValueError("labels, class names and text prototypes are of different sizes")


def own_counts(cache: FeatureCache) -> dict[str, int]:
    """Count the rows of a cache's own split: labelled, unlabelled, and labelled in its sets val and test."""
    own = cache.read_split(None)
    return {part: len(getattr(own, part)) for part in ("labelled", "unlabelled", "val", "test")}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value
