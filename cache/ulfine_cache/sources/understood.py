"""What a command has understood of a source: its classes, sets and what looks wrong, for the last lines of a run."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ulfine_cache.progress import Progress
from ulfine_cache.sources.account import Account
from ulfine_cache.sources.source import UNKNOWN, UNLABELLED, ImageSource
from ulfine_cache.sources.words.class_labels import SEVERAL
from ulfine_cache.sources.words.ignored_names import ignored_in_words
from ulfine_cache.sources.words.set_names import SETS
from ulfine_cache.sources.words.suspicious_names import NO_CLASS, suspicion
from ulfine_cache.wording.counts import amount, listed, subject

_NO_SET = "no set"
_FEW_IMAGES = 20
_MOST_KINDS = 6
_MOST_REASONS = 8


def announce(source: ImageSource, class_names: Sequence[str], progress: Progress) -> None:
    """Say how a source was read before hours of work begin.

    Args:
        source: Listed.
        class_names: Its classes, as people spell them.
        progress: Receives the lines.
    """
    account = source.account
    for line in account.notes:
        progress.note(line)
    items = [item for item in source.items if item.size != UNKNOWN and item.path not in account.several]
    gone = len(source.items) - len(items) - len(account.several)
    labels = np.array([item.label for item in items], np.int64)
    sets = np.array([item.set_name for item in items], "U5")
    unlabelled = f"{int((labels == UNLABELLED).sum())} unlabelled"
    several = f", {len(account.several)} of several classes" if account.several else ""
    several += f", {gone} that cannot be used" if gone else ""
    ignored = "".join(f"; {part}" for part in ignored_in_words(account.ignored, _MOST_KINDS))
    found = f"{amount(len(source.items), 'image')}, {amount(len(source.classes), 'class')}"
    progress.note(f"found {found}, {unlabelled}{several}{ignored}")
    for line in understood(class_names, labels, sets, account)["warnings"]:
        progress.note(f"warning: {line}")


def understood(
    class_names: Sequence[str],
    labels: npt.NDArray[np.int64],
    set_names: npt.NDArray[np.str_],
    account: Account,
    reasons: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the figures that let a person see whether a source was understood.

    Args:
        class_names: C names, as people spell them.
        labels: int64 (n,), -1 = unlabelled.
        set_names: (n,) of "", "train", "val" or "test".
        account: What the source holds besides its images.
        reasons: Why images have no row, once for each.

    Returns:
        `sets` (images of each), `class_counts` (labelled images of each class in each set), `skipped_reasons` and
        `ignored` (files that are no images, by extension or reason), the most frequent first, and `warnings`.
    """
    kinds = [_NO_SET if name == "" else name for name in ("", *SETS)]
    by_set = {kind: set_names == name for kind, name in zip(kinds, ("", *SETS), strict=True)}
    by_set = {kind: rows for kind, rows in by_set.items() if rows.any()}
    counts = {
        kind: np.bincount(labels[rows & (labels >= 0)], minlength=len(class_names)) for kind, rows in by_set.items()
    }
    return {
        "sets": {kind: int(rows.sum()) for kind, rows in by_set.items()},
        "class_counts": {
            name: {kind: int(count[label]) for kind, count in counts.items()} for label, name in enumerate(class_names)
        },
        "skipped_reasons": dict(Counter(map(_kind_of_reason, reasons)).most_common(_MOST_REASONS)),
        "ignored": dict(account.ignored.most_common()),
        "warnings": [
            *account.warnings,
            *_judged_warning(by_set, counts),
            *_warnings(class_names, counts, missing_said=account.missing_said),
        ],
    }


def _kind_of_reason(reason: str) -> str:
    # Each image has classes of its own.
    return SEVERAL if reason.startswith(SEVERAL) else reason


def _judged_warning(
    by_set: Mapping[str, npt.NDArray[np.bool_]], counts: Mapping[str, npt.NDArray[np.int64]]
) -> list[str]:
    unused = sum(int(by_set[kind].sum() - counts[kind].sum()) for kind in ("val", "test") if kind in by_set)
    if not unused:
        return []
    return [
        f"{subject(unused, 'unlabelled image', 'is/are')} of the sets val or test: nothing is learned from such, and "
        "nothing is judged by them"
    ]


def _warnings(
    class_names: Sequence[str], counts: Mapping[str, npt.NDArray[np.int64]], *, missing_said: bool
) -> list[str]:
    total = sum(counts.values(), np.zeros(len(class_names), np.int64))
    learnable = sum((count for kind, count in counts.items() if kind in (_NO_SET, "train")), np.zeros_like(total))
    names = np.array(class_names, object)
    lines = []
    if not total.sum():
        lines.append("no image has a label")
    elif len(class_names) == 1:
        lines.append(f"there is only one class, {class_names[0]!r}: a classifier needs at least two")
    looks = defaultdict(list)
    for name in class_names:
        looks[suspicion(name)].append(name)
    looks.pop("", None)
    if missing_said:
        looks.pop(NO_CLASS, None)
    lines += [f"classes called like {what}: {listed(those)}" for what, those in looks.items()]
    empty = list(names[total == 0])
    if empty and total.sum():
        lines.append(f"classes without a readable image: {listed(empty)}")
    if total.sum() and not learnable.sum():
        lines.append("all labelled images are of the sets val or test: there is none to learn from")
    elif unseen := list(names[(total > 0) & (learnable == 0)]):
        lines.append(f"classes whose images are all of the sets val or test: {listed(unseen)}")
    if len(class_names) > 2 and _FEW_IMAGES < total.sum() < 2 * len(class_names):
        what = f"{amount(len(class_names), 'class')} for {amount(int(total.sum()), 'labelled image')}"
        lines.append(f"{what}: are these names of single images?")
    return lines + _alike(class_names)


def _alike(class_names: Sequence[str]) -> list[str]:
    same = defaultdict(list)
    for name in class_names:
        same[re.sub(r"[\W_]+", "", name).casefold() or name].append(name)
    alike = [" and ".join(map(repr, names)) for names in same.values() if len(names) > 1]
    shown = f"{'; '.join(alike[:3])}{' and more' if len(alike) > 3 else ''}"
    return [f"classes that differ in capitals or blanks only: {shown}"] if alike else []
