"""Named splits of a cache: drawn by the protocol, stored beside it, tied to its fingerprint."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.command import Place, command
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.splitting.protocol_types import Fraction, Imbalance, Natural, Positive, Ranks, Unlabelled
from ulfine_cache.wording.counts import amount

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splitting.split_draw import Split, draw_split, own_sets
    from ulfine_cache.splitting.split_presets import Preset
    from ulfine_cache.splitting.split_protocol import SplitProtocol, arrange_counts, long_tailed_counts

__all__ = [
    "Split",
    "SplitProtocol",
    "arrange_counts",
    "draw_split",
    "long_tailed_counts",
    "make_split",
    "own_sets",
]

_HOME = {
    **dict.fromkeys(("Split", "draw_split", "own_sets"), "ulfine_cache.splitting.split_draw"),
    **dict.fromkeys(("SplitProtocol", "arrange_counts", "long_tailed_counts"), "ulfine_cache.splitting.split_protocol"),
}
"""Handed on when asked for, so that the command line reads `make_split` without numpy."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


@command
def make_split(
    *,
    cache: Place,
    name: str | None = None,
    preset: str | None = None,
    labelled_max: Positive | None = None,
    imbalance: Imbalance | None = None,
    labelled_fraction: Fraction | None = None,
    unlabelled_max: Natural | None = None,
    unlabelled_imbalance: Imbalance | None = None,
    unlabelled: Unlabelled = "consistent",
    ranks: Ranks = "permutation",
    test_per_class: Positive | None = None,
    by_group: bool = False,
    seed: Natural = 0,
    apply: Path | None = None,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Draw a long-tailed split of a cache.

    That is a labelled set, an unlabelled one of a chosen shape and a balanced test set, all disjoint, stored in the
    cache under a name. Say how many images are labelled by `labelled_max` and `imbalance`, by `labelled_fraction`, or
    take a published protocol as a whole by `preset`.

    Args:
        cache: Directory of the cache.
        name: Name of the split, of letters, digits, ``.``, ``_`` and ``-``; by default that of the preset.
        preset: A published protocol, such as ``cifar100-lt-50-400-10`` or ``stl10-lt-150-10``; ``list`` draws nothing
            and shows them all. Only `name`, `seed` and `apply` go with it.
        labelled_max: Labelled images of the most frequent class.
        imbalance: Labelled images of the first class over those of the last.
        labelled_fraction: Instead of both: the share of every class that is labelled; the rest is unlabelled.
        unlabelled_max: Unlabelled images of the class that has most; by default as many as the shape can have.
        unlabelled_imbalance: Imbalance of the unlabelled images; by default that of the labelled ones.
        unlabelled: How the classes are distributed among the unlabelled images; ``own``: all the images that came
            without a label.
        ranks: Which classes are frequent: random ones, or the first ones, as in published CIFAR code.
        test_per_class: Images of every class held out for the test, if the cache has no test set.
        by_group: Never have rows of one group (camera, site, batch) in the test and among the others: whole groups are
            held out, and rows that share one with a test row are left out.
        seed: Decides which class is rare and which images are drawn.
        apply: CSV file of decisions about labels (``path,label``; an empty label means unlabelled), such as
            `ulfine label` writes; the split is drawn from these labels, and ``fit`` needs the same file with it.
        progress: Receives the notes.

    Returns:
        Figures: name, path, labelled, unlabelled, val, test (totals) and, as lists over classes, class_names,
        labelled_counts, unlabelled_counts, test_counts, ranks; clipped (class names), unlabelled_max, preset, protocol.
        unlabelled_counts and unlabelled_max are None where nobody knows. For ``preset="list"``: presets, as
        `ulfine_cache.splitting.split_presets.list_presets`.

    Raises:
        UsageError: The parameters contradict one another or the cache.
        UlfineError: The cache cannot be read or written or does not fit the preset, a class would have no labelled row,
            or the name belongs to a split of another protocol, which runs may refer to.

    Example:
        >>> split = make_split(cache=Path("photos-cache"), name="rare", labelled_max=20, imbalance=5)
        >>> sorted(split["labelled_counts"])
        [4, 20]
    """
    given = {**locals()}  # as the signature names them
    from ulfine_cache.feature_cache import APPLIED
    from ulfine_cache.labelling.relabelled import RelabelledCache, open_relabelled
    from ulfine_cache.splitting.split_draw import draw_split
    from ulfine_cache.splitting.split_file import is_outdated, read_protocol, write_split
    from ulfine_cache.splitting.split_presets import check_drawn, check_preset, find_preset, list_presets
    from ulfine_cache.splitting.split_protocol import protocol_values

    if preset == "list":
        return {"presets": list_presets()}
    if name is not None and not _NAME.fullmatch(name):
        allowed = "letters, digits, '.', '_' and '-', a letter or a digit first"
        raise UsageError(f"name={name!r} cannot be used: take {allowed}")
    chosen = None if preset is None else find_preset(preset)
    parameters = _parameters(given, chosen)
    name = name or preset
    if name is None:
        raise UsageError("the split needs a name: give --name")
    opened = open_relabelled(cache, apply, progress=progress)
    if chosen is not None:
        check_preset(chosen, len(opened.class_names), opened.read_split(None), str(cache))
    if parameters.by_group and opened.groups is None:
        raise UsageError(
            f"{cache} knows no groups, which by-group needs: name their column with `ulfine cache-features "
            "--group-column`, or add an array groups to the .npz file"
        )
    split = draw_split(
        opened.labels,
        opened.set_names,
        parameters,
        name=name,
        class_names=opened.class_names,
        groups=opened.groups,
    )
    if chosen is not None:
        check_drawn(chosen, split, str(cache))
        split.protocol["preset"] = chosen.name
    if isinstance(opened, RelabelledCache):
        split.protocol[APPLIED] = opened.applied
    if name in opened.split_names() and is_outdated(opened.path, name, opened.fingerprint):
        progress.note(f"split {name!r} was drawn from what {cache} held before: it is drawn again from its rows now")
    elif name in opened.split_names():
        former = read_protocol(opened.path, name).get(APPLIED, {}).get("sha256")
        if former != split.protocol.get(APPLIED, {}).get("sha256"):
            progress.note(f"split {name!r} was drawn with other decisions about labels: it is drawn again with these")
    path = write_split(
        opened.path, split, opened.fingerprint, check=lambda: _check_same_protocol(opened, name, parameters)
    )
    drawn = split.protocol["drawn"]
    if drawn["clipped"]:
        progress.note(
            f"fewer rows than asked for in {amount(len(drawn['clipped']), 'class')}: {', '.join(drawn['clipped'][:8])}"
        )
    if len(split.test) == 0:
        progress.note("no test rows: the cache has no test set and --test-per-class was not given")
    totals = {part: len(getattr(split, part)) for part in ("labelled", "unlabelled", "val", "test")}
    return {"name": name, "path": str(path), **totals, "class_names": opened.class_names, **drawn} | {
        "preset": preset,
        "protocol": protocol_values(parameters),
    }


def _parameters(given: dict[str, Any], preset: Preset | None) -> SplitProtocol:
    from ulfine_cache.splitting.split_protocol import SplitProtocol

    fields = SplitProtocol.model_fields
    if preset is None:
        return SplitProtocol(**{key: given[key] for key in fields})
    free = ("seed", "apply")
    extra = [key for key, field in fields.items() if given[key] != field.get_default() and key not in free]
    if extra:
        raise UsageError(
            f"preset {preset.name} sets the whole protocol: leave out {extra[0].replace('_', '-')}, or spell the "
            "protocol out without the preset"
        )
    return SplitProtocol.checked(**preset.protocol, seed=given["seed"])


def _check_same_protocol(cache: FeatureCache, name: str, wanted: SplitProtocol) -> None:
    from ulfine_cache.splitting.split_file import read_protocol, split_path
    from ulfine_cache.splitting.split_protocol import SplitProtocol, protocol_values

    if name not in cache.split_names():
        return
    # Splits drawn by earlier versions do not name what came later: those values are the defaults.
    known = {key: value for key, value in read_protocol(cache.path, name).items() if key in SplitProtocol.model_fields}
    found = protocol_values(SplitProtocol.checked(**known))
    values = protocol_values(wanted)
    changes = [
        f"{key}: {found.get(key, False)} -> {values.get(key, False)}"
        for key in dict.fromkeys([*values, *found])
        if found.get(key, False) != values.get(key, False)
    ]
    if changes:
        raise UlfineError(
            f"{cache.path} has a split {name!r} of another protocol ({', '.join(changes)}): choose another --name, or "
            f"delete {split_path(cache.path, name)}"
        )
