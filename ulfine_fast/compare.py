"""`ulfine compare`: several methods on the same redrawn splits, with paired differences."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge

from ulfine_cache.command import Written, command
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress, Silent
from ulfine_fast.judging.comparison import Comparison
from ulfine_fast.registry import METHODS, get_method

if TYPE_CHECKING:
    from ulfine_cache.config import StrictConfig
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split
    from ulfine_fast.method import Method


@command
def compare(
    *,
    cache: Path,
    split: str,
    methods: Annotated[str, Written("METHOD,METHOD...")],
    seeds: Annotated[int, Ge(1)] = 5,
    ablation: bool = False,
    apply: Path | None = None,
    device: Annotated[str, Written("auto|cpu|cuda|cuda:N")] = "auto",
    progress: Progress = Silent(),  # noqa: B008
) -> Comparison:
    """Train several methods on the same draws, side by side.

    Every seed, from 0 on, draws the split's protocol anew and fits every method with its default settings. Differences
    are paired, to the first method. Where the cache has a test set, all draws share it; otherwise each holds out its
    own. Where the cache holds five crops of each image, all methods are judged by all five.

    Args:
        cache: Directory of the cache.
        split: Named split, whose protocol is drawn anew for every seed.
        methods: Methods, separated by commas; differences are to the first.
        seeds: How many draws.
        ablation: The one method named, and the same without each of its parts.
        apply: CSV file of decisions about labels, as of ``fit``; the protocol is drawn from these labels.
        device: Where to train.
        progress: Told about every fit.

    Returns:
        Figures: ``{"split", "protocol", "seeds": [...], "methods": [...]}``. Each method has ``method``; for every name
        in `SCALARS` and for ``seconds`` (of training) ``{"mean", "std", "per_seed"}``, std over the seeds with n - 1;
        and ``difference`` ``{"mean", "stderr"}``, paired by seed, in macro accuracy, to the first method. std and
        stderr are None for one seed; all is None where the figure is not defined. ``pseudo_labels`` holds for ``all``,
        ``head``, ``medium`` and ``tail`` the same spreads of what `ulfine_fast.judging.pseudo_label_quality` says of
        the fitted model's pseudo-labels; None where the truth of no unlabelled row is known. With `ablation` the
        entries after the first are named ``"ulfine without paf"`` and so on.

    Raises:
        UsageError: A method is unknown or named twice, or an ablation is asked of several methods or of one without
            switches.
        UlfineError: The split was not drawn from a protocol, or yields no test rows.

    Example:
        >>> figures = compare(cache=Path("photos-cache"), split="lt", methods="zero-shot,ulfine", seeds=5)
        >>> [method["method"] for method in figures["methods"]]
        ['zero-shot', 'ulfine']
        >>> list(figures["methods"][1]["difference"])
        ['mean', 'stderr']
    """
    from ulfine_cache.labelling.relabelled import open_relabelled

    names = [name.strip() for name in methods.split(",")]
    if "" in names:
        raise UsageError(f"methods {methods!r} holds an empty name: write them as zero-shot,lp,ulfine")
    if len(set(names)) < len(names):
        raise UsageError(f"a method is named twice in {methods}: name each once")
    found = [get_method(name) for name in names]
    if len({method.name for method in found}) < len(found):
        raise UsageError(f"two of the methods {methods} have one name: give each METHOD its own")
    contenders = _ablation(found) if ablation else {method.name: (method, method.settings()) for method in found}
    opened = open_relabelled(cache, apply, text=True, progress=progress)
    draws = _draws(opened, split, seeds)
    collected: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    total = len(draws) * len(contenders)
    for seed, draw in enumerate(draws):
        for name, (method, settings) in contenders.items():
            figures = _fit_and_judge(opened, draw, method, settings, seed, device)
            collected[name].append(figures)
            done = sum(map(len, collected.values()))
            progress.update("comparing", done, total, macro_accuracy=figures["macro_accuracy"])
    protocol = {key: value for key, value in draws[0].protocol.items() if key not in ("seed", "drawn")}
    first = [figures["macro_accuracy"] for figures in next(iter(collected.values()))]
    return Comparison(
        split=split,
        protocol=protocol,
        seeds=list(range(seeds)),
        methods=[_summary(name, per_seed, first) for name, per_seed in collected.items()],
    )


def _ablation(methods: list[Method]) -> dict[str, tuple[Method, StrictConfig]]:
    """The whole method and the method without each of its parts, by name."""
    if len(methods) != 1 or not methods[0].switches:
        able = ", ".join(name for name in METHODS if get_method(name).switches)
        raise UsageError(f"--ablation takes one method that has parts to turn off: --methods is one of {able}")
    (method,) = methods
    return {
        method.name if part is None else f"{method.name} without {part}": (method, method.settings(**changes))
        for part, changes in method.ablations().items()
    }


def _draws(cache: FeatureCache, split: str, seeds: int) -> list[Split]:
    from ulfine_cache.splits import draw_split

    protocol = cache.read_split(split).protocol
    if not protocol:
        raise UlfineError(f"split {split!r} has no protocol to draw anew: make one with `ulfine split {cache.path}`")
    draws = [
        draw_split(
            cache.labels,
            cache.set_names,
            {**protocol, "seed": seed},
            name=split,
            class_names=cache.class_names,
            groups=cache.groups,
        )
        for seed in range(seeds)
    ]
    if any(not len(draw.test) for draw in draws):
        raise UlfineError(
            f"split {split!r} has no test rows to compare on: draw it anew with `ulfine split --test-per-class K`"
        )
    return draws


def _fit_and_judge(
    cache: FeatureCache, split: Split, method: Method, settings: StrictConfig, seed: int, device: str
) -> dict[str, Any]:
    from ulfine_fast.judging.five_crops import FIVE_CROPS, choose_views
    from ulfine_fast.judging.judge import judge
    from ulfine_fast.judging.metrics import SCALARS
    from ulfine_fast.rows.memory_bound import memory_bound
    from ulfine_fast.rows.training_data import load_training_data
    from ulfine_fast.streaming_choice import must_stream
    from ulfine_fast.training import choose_device, train

    used_device = choose_device(device)
    streams = must_stream(cache, split, used_device, memory_bound("auto"))
    data = load_training_data(cache, split, used_device, streams=streams)
    start = time.perf_counter()
    # The bar shows the comparison; the steps inside each fit would only flicker.
    result = train(method, settings, data, seed, Silent())
    seconds = time.perf_counter() - start
    views = choose_views("auto", FIVE_CROPS, cache)
    metrics = judge(result.model, cache, split, data.labelled_counts.cpu().numpy(), views=views).metrics
    return {**{key: metrics[key] for key in SCALARS}, "seconds": seconds, "pseudo_labels": metrics["pseudo_labels"]}


def _summary(name: str, per_seed: list[dict[str, Any]], first: list[float]) -> dict[str, Any]:
    import numpy as np

    from ulfine_fast.judging.metrics import SCALARS
    from ulfine_fast.judging.spread import spread

    figures = {key: spread([entry[key] for entry in per_seed]) for key in (*SCALARS, "seconds")}
    differences = np.array([entry["macro_accuracy"] for entry in per_seed]) - np.array(first)
    n_seeds = len(differences)
    stderr = float(differences.std(ddof=1) / np.sqrt(n_seeds)) if n_seeds > 1 else None
    difference = {"mean": float(differences.mean()), "stderr": stderr}
    return {"method": name, **figures, "difference": difference, "pseudo_labels": _pseudo_labels(per_seed)}


def _pseudo_labels(per_seed: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Spreads of the pseudo-labels' figures, for each group of classes."""
    from ulfine_fast.judging.spread import spread

    qualities = [entry["pseudo_labels"] for entry in per_seed if entry["pseudo_labels"] is not None]
    if not qualities:
        return None
    names = ("used", "false_used", "false", "false_confidence")
    return {
        group: {name: spread([quality[group][name] for quality in qualities]) for name in names}
        for group in ("all", "head", "medium", "tail")
    }
