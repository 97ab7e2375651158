"""Named splits of a cache: drawn by the protocol, stored beside it, tied to its fingerprint."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.splitting.split_draw import Split, draw_split, own_sets
from ulfine_cache.splitting.split_file import split_path, write_split
from ulfine_cache.splitting.split_presets import Preset, check_drawn, check_preset, find_preset, list_presets
from ulfine_cache.splitting.split_protocol import (
    Ranks,
    SplitProtocol,
    Unlabelled,
    arrange_counts,
    long_tailed_counts,
    protocol_values,
)

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache

__all__ = [
    "MakeSplitConfig",
    "Split",
    "SplitProtocol",
    "arrange_counts",
    "draw_split",
    "long_tailed_counts",
    "make_split",
    "own_sets",
]


class MakeSplitConfig(SplitProtocol):
    """The parameters of `make_split`."""

    cache: Path
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    preset: str | None = None


def make_split(
    *,
    cache: Path,
    name: str | None = None,
    preset: str | None = None,
    labelled_max: int | None = None,
    imbalance: float | None = None,
    labelled_fraction: float | None = None,
    unlabelled_max: int | None = None,
    unlabelled_imbalance: float | None = None,
    unlabelled: Unlabelled = "consistent",
    ranks: Ranks = "permutation",
    test_per_class: int | None = None,
    seed: int = 0,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Draw a long-tailed split and store it in the cache under a name.

    Say how many rows are labelled by `labelled_max` and `imbalance`, by `labelled_fraction`, or take a published
    protocol as a whole by `preset`.

    Args:
        cache: A cache directory.
        name: Letters, digits, ".", "_" and "-"; None takes the name of the preset.
        preset: A published protocol, one of `ulfine_cache.splitting.split_presets.PRESETS`; only `name` and `seed` go
            with it. ``"list"`` draws nothing and describes them all.
        labelled_max: Labelled rows of the most frequent class.
        imbalance: How many times more labelled rows the most frequent class has than the rarest, >= 1.
        labelled_fraction: Instead of both: the share of every class that is labelled, in (0, 1); the rest is not.
        unlabelled_max: Unlabelled rows of the class that has most; None takes all that the shape can have.
        unlabelled_imbalance: Imbalance of the unlabelled rows; None repeats `imbalance`.
        unlabelled: How the unlabelled counts lie along the ranks, see `arrange_counts`; or ``"own"``: the rows that
            came without a label, all of them.
        ranks: Which class is frequent: ``"permutation"``, a random one, or ``"class-index"``, the first one, as
            published CIFAR-LT code has it.
        test_per_class: Rows of every class to hold out where the cache has no test set of its own.
        seed: Decides ranks and rows.
        progress: Receives the notes.

    Returns:
        Figures: name, path, labelled, unlabelled, val, test (totals) and, as lists over classes, class_names,
        labelled_counts, unlabelled_counts, test_counts; clipped (class names), unlabelled_max, preset, protocol.
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
    config = MakeSplitConfig.checked(
        cache=cache,
        name=name,
        preset=preset,
        labelled_max=labelled_max,
        imbalance=None if imbalance is None else float(imbalance),
        labelled_fraction=labelled_fraction,
        unlabelled_max=unlabelled_max,
        unlabelled_imbalance=None if unlabelled_imbalance is None else float(unlabelled_imbalance),
        unlabelled=unlabelled,
        ranks=ranks,
        test_per_class=test_per_class,
        seed=seed,
    )
    if config.preset == "list":
        return {"presets": list_presets()}
    from ulfine_cache.feature_cache import FeatureCache

    chosen = None if config.preset is None else find_preset(config.preset)
    parameters = _parameters(config, chosen)
    if config.name is None and chosen is None:
        raise UsageError("the split needs a name: give --name")
    name = config.name or config.preset or ""
    opened = FeatureCache.open(config.cache)
    if chosen is not None:
        check_preset(chosen, len(opened.class_names), opened.set_names, str(config.cache))
    split = draw_split(opened.labels, opened.set_names, parameters, name=name, class_names=opened.class_names)
    if chosen is not None:
        check_drawn(chosen, split, str(config.cache))
        split.protocol["preset"] = chosen.name
    if name in opened.split_names():
        _check_same_protocol(opened, name, parameters)
    path = write_split(opened.path, split, opened.fingerprint)
    drawn = split.protocol["drawn"]
    if drawn["clipped"]:
        progress.note(
            f"fewer rows than asked for in {len(drawn['clipped'])} classes: {', '.join(drawn['clipped'][:8])}"
        )
    if len(split.test) == 0:
        progress.note("no test rows: the cache has no test set and --test-per-class was not given")
    totals = {part: len(getattr(split, part)) for part in ("labelled", "unlabelled", "val", "test")}
    return {"name": name, "path": str(path), **totals, "class_names": opened.class_names, **drawn} | {
        "preset": config.preset,
        "protocol": protocol_values(parameters),
    }


def _parameters(config: MakeSplitConfig, preset: Preset | None) -> SplitProtocol:
    given = {key: getattr(config, key) for key in SplitProtocol.model_fields}
    if preset is None:
        return SplitProtocol.checked(**given)
    defaults = {key: field.get_default() for key, field in SplitProtocol.model_fields.items()}
    extra = [key for key, value in given.items() if value != defaults[key] and key != "seed"]
    if extra:
        raise UsageError(
            f"preset {preset.name} sets the whole protocol: leave out {extra[0].replace('_', '-')}, or spell the "
            "protocol out without the preset"
        )
    return SplitProtocol.checked(**preset.protocol, seed=config.seed)


def _check_same_protocol(cache: "FeatureCache", name: str, wanted: SplitProtocol) -> None:
    # Splits drawn by earlier versions do not name what came later: those values are the defaults.
    known = {key: value for key, value in cache.read_split(name).protocol.items() if key in SplitProtocol.model_fields}
    found = protocol_values(SplitProtocol.checked(**known))
    values = protocol_values(wanted).items()
    changes = [f"{key}: {found[key]} -> {value}" for key, value in values if found[key] != value]
    if changes:
        raise UlfineError(
            f"{cache.path} has a split {name!r} of another protocol ({', '.join(changes)}): choose another --name, or "
            f"delete {split_path(cache.path, name)}"
        )
