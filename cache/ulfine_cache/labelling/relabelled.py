"""A cache with the labels that people decided, and everything else as it is: no feature is computed again.

The one place that says what a decision does. An image gets another class, a class, or none. A name that the cache does
not know becomes a class behind its own, in alphabetical order; a class that loses its last labelled image leaves. In a
named split a decided image is labelled if it has a class and unlabelled if not; images of val and test stay there, with
their truth corrected, and one without a class leaves them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import APPLIED, FeatureCache
from ulfine_cache.labelling.decisions import UNLABELLED, Decisions, class_decided, decided, describe, read_decisions
from ulfine_cache.labelling.new_class_text import text_of_classes
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.splitting.split_draw import Split
from ulfine_cache.wording.counts import amount, listed, subject

_Rows = npt.NDArray[np.int64]


class RelabelledCache(FeatureCache):
    """A cache whose labels, class names and splits are those that were decided; `apply_labels` makes one.

    Its fingerprint is that of the cache, whose features it reads.

    Attributes:
        original: The cache as it is on the disk.
        decisions: Those that are about images of the cache.
        decided_rows: int64 (n,), sorted: the rows that they are about.
    """

    original: FeatureCache
    decisions: Decisions
    decided_rows: _Rows

    @classmethod
    def of(
        cls, cache: FeatureCache, decisions: Decisions, rows: _Rows, labels: _Rows, class_names: Sequence[str]
    ) -> Self:
        """Put labels and classes into the place of a cache's own; text is left out where a class is new."""
        found = cls()
        found.__dict__.update(cache.__dict__)
        found.original, found.decisions, found.decided_rows = cache, decisions, np.sort(rows)
        found.labels, found.class_names = labels, list(class_names)
        places = [cache.class_names.index(name) if name in cache.class_names else -1 for name in class_names]
        for name in ("text_features", "text_features_pre", "prompt_features"):
            values = getattr(cache, name)
            setattr(found, name, None if values is None or -1 in places else values[places])
        found.prompts = [cache.prompts[place] for place in places] if cache.prompts and -1 not in places else []
        return found

    @property
    def applied(self) -> dict[str, Any]:
        """What a run or a split remembers of the decisions."""
        return describe(self.decisions)

    def read_split(self, name: str | None) -> Split:
        """Read a named split as the decisions change it; one that was drawn with the same decisions is as it is.

        Raises:
            UlfineError: As by a cache, or it was drawn with other decisions.
        """
        if name is None:
            return super().read_split(None)
        split = self.stored_split(name)
        drawn_with = split.protocol.get(APPLIED)
        if drawn_with is None:
            return self.changed(split)
        if drawn_with["sha256"] != self.decisions.digest:
            raise UlfineError(
                f"split {name!r} was drawn with other decisions about labels than {self.decisions.file} holds now: "
                "draw it again, the same `ulfine split` command does"
            )
        return split

    def changed(self, split: Split) -> Split:
        """Return a split that was drawn from the cache's own labels, as the decisions change it."""
        rows, known = self.decided_rows, self.labels[self.decided_rows] >= 0
        sets = self.set_names[rows]
        val = np.isin(rows, split.val) | ((sets == "val") & ~np.isin(rows, split.test))
        test = ~val & (np.isin(rows, split.test) | (sets == "test"))
        rest = ~val & ~test & ~self._out_of_reach(split, rows)
        parts = {"val": val, "test": test, "labelled": rest & known, "unlabelled": rest & ~known}

        def part(name: str) -> _Rows:
            kept = np.setdiff1d(getattr(split, name), rows)
            wanted = parts[name] & (known | (name == "unlabelled"))
            return np.union1d(kept, rows[wanted]).astype(np.int64)

        return replace(split, **{name: part(name) for name in parts})

    def _out_of_reach(self, split: Split, rows: _Rows) -> npt.NDArray[np.bool_]:
        """Which rows a split by groups has left out because their group is in the test: no label brings them back."""
        if not split.protocol.get("by_group") or self.groups is None:
            return np.zeros(len(rows), bool)
        tested = {self.groups[row] for row in split.test.tolist()} - {""}
        return np.array([self.groups[row] in tested for row in rows.tolist()], bool)


def apply_labels(
    cache: FeatureCache,
    decisions: Decisions,
    *,
    class_names: Sequence[str] | None = None,
    text: bool = False,
    progress: Progress = Silent(),  # noqa: B008
) -> RelabelledCache:
    r"""Change the labels of a cache as people decided; the cache on the disk stays as it is.

    Args:
        cache: An open cache.
        decisions: From `ulfine_cache.labelling.decisions.read_decisions`.
        class_names: The classes of the result, in their order, such as those of a run; None for those of the cache and
            the decisions.
        text: Ask the cache's own text encoder about classes that are new to a cache with text prototypes. Where it is
            not to be had, the result has no text, and a note says so.
        progress: Told what changes, and what is left out.

    Returns:
        The same cache with other labels, and with other classes where there are some.

    Raises:
        UlfineError: A path is that of several images, no path is known, a label is no class name, or a class is not
            among `class_names`.

    Example:
        >>> from ulfine_cache.labelling.decisions import read_decisions
        >>> _ = Path("labels.csv").write_text("path,label\nseven/0001.png,three\n")
        >>> changed = apply_labels(cache, read_decisions(Path("labels.csv")))
        >>> int((changed.labels != cache.labels).sum())
        1
    """
    known = _known(cache, decisions, progress)
    rows = np.array(list(known), np.int64)
    names = [decisions.labels[path] for path in known.values()]
    names = [_class_name(cache, decisions, path, name) for path, name in zip(known.values(), names, strict=True)]
    own = np.array([*cache.class_names, UNLABELLED], object)
    wanted = own[cache.labels]
    wanted[rows] = names
    if class_names is None:
        class_names = _class_names(cache, wanted, progress)
    number = {name: place for place, name in enumerate(class_names)} | {UNLABELLED: -1}
    unknown = sorted(set(wanted.tolist()) - set(number))
    if unknown:
        raise UlfineError(
            f"{listed(unknown, 3)}: no class of the run, which has {listed(list(class_names), 4)}: fit again with "
            "--apply"
        )
    labels = np.array([number[name] for name in wanted], np.int64)
    kept = dict(zip(known.values(), names, strict=True))
    lines = {path: decisions.lines[path] for path in kept}
    found = RelabelledCache.of(cache, Decisions(decisions.file, kept, lines), rows, labels, class_names)
    if len(rows):
        _note_changes(cache, found, progress)
    if text and cache.text_features is not None and found.text_features is None:
        _find_text(cache, found, progress)
    return found


def open_relabelled(
    path: Path,
    file: Path | None,
    *,
    text: bool = False,
    progress: Progress = Silent(),  # noqa: B008
) -> FeatureCache:
    """Open a cache, and change its labels where there is a file of decisions.

    Args:
        path: Directory of the cache.
        file: The file; None leaves the labels as they are.
        text: As for `apply_labels`.
        progress: As for `apply_labels`.

    Raises:
        UlfineError: As by `FeatureCache.open`, `read_decisions` and `apply_labels`.
    """
    cache = FeatureCache.open(path)
    return cache if file is None else apply_labels(cache, read_decisions(file, progress), text=text, progress=progress)


def note_judged(cache: FeatureCache, split: Split, progress: Progress) -> None:
    """Say of how many rows that a run is judged on the truth was corrected."""
    if not isinstance(cache, RelabelledCache):
        return
    changed = cache.decided_rows[_names(cache)[cache.decided_rows] != _names(cache.original)[cache.decided_rows]]
    count = int(np.isin(changed, np.concatenate([split.test, split.val])).sum())
    if count:
        progress.note(f"{decided(count)} correct the truth of rows of the test or validation set")


def _known(cache: FeatureCache, decisions: Decisions, progress: Progress) -> dict[int, str]:
    """The row of each decided image that the cache has, in the order of the decisions, and its path in the file."""
    # Tables do not count blanks around a cell.
    wanted = {path.strip() for path in decisions.labels}
    places: dict[str, list[int]] = {}
    for row, path in enumerate(cache.paths):
        if (plain := path.strip()) in wanted:
            places.setdefault(plain, []).append(row)
    found: dict[int, str] = {}
    unknown: list[str] = []
    for path in decisions.labels:
        rows = places.get(path.strip(), [])
        if len(rows) > 1:
            raise UlfineError(
                f"{decisions.file}, {decisions.lines[path]}: {path} is the path of {amount(len(rows), 'row')} of "
                f"{cache.path}, and nobody can tell which is meant: give the images paths of their own"
            )
        if rows:
            found[rows[0]] = path
        else:
            unknown.append(path)
    if not unknown:
        return found
    first = f"{decisions.lines[unknown[0]]}: {unknown[0]}"
    if not found:
        raise UlfineError(
            f"{decisions.file} is about no image of {cache.path} (first, {first}; its paths look like "
            f"{cache.paths[0]}): is it of another cache?"
        )
    progress.note(
        f"{subject(len(unknown), 'decision', 'is/are')} about images that {cache.path} does not have, and left out "
        f"(first, {first})"
    )
    return found


def _class_name(cache: FeatureCache, decisions: Decisions, path: str, name: str) -> str:
    if name == UNLABELLED or name in cache.class_names:
        return name
    try:
        return class_decided(name)
    except ValueError as error:
        raise UlfineError(f"{decisions.file}, {decisions.lines[path]}: {error}") from error


def _class_names(cache: FeatureCache, wanted: npt.NDArray[np.object_], progress: Progress) -> list[str]:
    there, before = set(wanted.tolist()), set(cache.labels.tolist())
    left = [name for place, name in enumerate(cache.class_names) if place in before and name not in there]
    if left:
        progress.note(f"{subject(len(left), 'class', 'has/have')} no labelled image left, and no place: {listed(left)}")
    new = sorted(there - {UNLABELLED} - set(cache.class_names))
    if new:
        progress.note(f"{amount(len(new), 'new class')}: {listed(new)}")
    return [name for name in cache.class_names if name not in left] + new


def _names(cache: FeatureCache) -> npt.NDArray[np.object_]:
    return np.array([*cache.class_names, UNLABELLED], object)[cache.labels]


def _note_changes(cache: FeatureCache, found: RelabelledCache, progress: Progress) -> None:
    rows = found.decided_rows
    kinds = Counter[str]()
    for old, new in zip(_names(cache)[rows], _names(found)[rows], strict=True):
        if old == new:
            kinds["as it was"] += 1
        else:
            kinds["labelled" if not old else "unlabelled" if not new else "of another class"] += 1
    parts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    progress.note(f"{decided(len(rows))} of {found.decisions.file}: {parts}")


def _find_text(cache: FeatureCache, found: RelabelledCache, progress: Progress) -> None:
    assert cache.text_features is not None
    own = set(cache.class_names)
    new = [name for name in found.class_names if name not in own]
    try:
        of_new = text_of_classes(cache, new, progress)
    except UlfineError as error:
        progress.note(
            f"no text of {listed(new, 3)} is to be had ({error}), so text is left out for all classes: make a cache "
            "that has the class to use text"
        )
        return
    by_name = dict(zip(cache.class_names, cache.text_features, strict=True)) | dict(zip(new, of_new, strict=True))
    found.text_features = np.stack([by_name[name] for name in found.class_names])
