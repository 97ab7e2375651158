"""`ulfine compare`: several methods on the same redrawn splits, with paired differences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Predicate

from ulfine_cache.command import Place, Written, command
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress, Silent
from ulfine_fast.bench.seed_range import is_range, seeds_of
from ulfine_fast.judging.comparison import Comparison, Comparisons

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split
    from ulfine_fast.bench.contender import Contender
    from ulfine_fast.bench.one_fit import Fit

COMPARISON = "comparison.json"
"""The figures of a comparison, in the directory of its fits."""


@command
def compare(
    *,
    cache: Place,
    split: Annotated[str, Written("NAME,NAME...")],
    methods: Annotated[str, Written("METHOD,METHOD...")],
    seeds: Annotated[int, Ge(1)] | Annotated[str, Predicate(is_range), Written("N|FIRST:END")] = 5,
    ablation: bool = False,
    settings: Path | None = None,
    set: Sequence[Annotated[str, Written("METHOD.KEY=VALUE")]] = (),
    grid: Sequence[Annotated[str, Written("METHOD.KEY=VALUE,VALUE...")]] = (),
    apply: Path | None = None,
    device: Annotated[str, Written("auto|cpu|cuda|cuda:N")] = "auto",
    out: Path | None = None,
    table: Sequence[Annotated[Path, Written("FILE.tex|FILE.md|FILE.csv")]] = (),
    latex: bool = False,
    markdown: bool = False,
    progress: Progress = Silent(),  # noqa: B008
) -> Comparison | Comparisons:
    """Train several methods on the same draws, side by side.

    Every seed, from 0 on, draws the split's protocol anew and fits every method with its default settings. Differences
    are paired, to the first method. Where the cache has a test set, all draws share it; otherwise each holds out its
    own. Where the cache holds five crops of each image, all methods are judged by all five. With `out` every fit is
    kept, and none is done twice: the same command goes on after a stop, processes with other seeds share the
    directory, and the command with all the seeds puts everything together.

    Args:
        cache: Directory of the cache.
        split: Named split, whose protocol is drawn anew for every seed; or several, separated by commas.
        methods: Methods, separated by commas; differences are to the first.
        seeds: How many draws, or which: ``10:20`` are the ten from 10 on.
        ablation: The one method named, and the same without each of its parts.
        settings: YAML file with a mapping of settings under the name of each method.
        set: A setting of one method, such as ``lp-la.tau=0.5``; wins over the file. May be repeated.
        grid: Values of a setting to choose from in every fit, on labelled rows that are left out in turn, never on test
            rows; such as ``lp-la.tau=0.5,1,1.5``. Repeated, all combinations of a method are tried.
        apply: CSV file of decisions about labels, as of ``fit``; the protocol is drawn from these labels.
        device: Where to train.
        out: Directory that keeps the logits, settings and metrics of every fit, and the figures, tables and pictures of
            the comparison.
        table: File of a table for a paper, by its suffix LaTeX, Markdown or CSV. May be repeated.
        latex: Print the table for a paper in LaTeX, and nothing else.
        markdown: The same in Markdown.
        progress: Told about every fit.

    Returns:
        Figures: ``{"split", "protocol", "seeds": [...], "methods": [...]}``. Each method has ``method``; for every name
        in `SCALARS` and for ``seconds`` (of training) ``{"mean", "std", "per_seed"}``, std over the seeds with n - 1;
        and ``difference`` ``{"mean", "stderr"}``, paired by seed, in macro accuracy, to the first method. std and
        stderr are None for one seed; all is None where the figure is not defined. ``pseudo_labels`` holds for ``all``,
        ``head``, ``medium`` and ``tail`` the same spreads of what `ulfine_fast.judging.pseudo_label_quality` says of
        the fitted model's pseudo-labels; None where the truth of no unlabelled row is known. With `ablation` the
        entries after the first are named ``"ulfine without paf"`` and so on. With `out` or `table` each method has
        ``test``, a paired permutation test of the difference with Holm's correction over the methods (``name``, ``p``,
        ``p_holm``; None for the first), and ``per_class``, the spread of the labelled rows and of the recall of each
        class; with `grid` also ``chosen``, the settings of each seed. The figures then have ``out`` and ``tables``, the
        files. Several splits give ``tasks``, these figures by the name of the split.

        With `latex` or `markdown` ``printed`` is that table.

    Raises:
        UsageError: A method, a setting or a seed cannot be used, or is named twice, or an ablation is asked of several
            methods or of one without switches.
        UlfineError: The split was not drawn from a protocol, or yields no test rows; or `out` holds fits of another
            cache, protocol, code or setting.

    Example:
        >>> figures = compare(cache=Path("photos-cache"), split="lt", methods="zero-shot,ulfine", seeds=5)
        >>> [method["method"] for method in figures["methods"]]
        ['zero-shot', 'ulfine']
        >>> list(figures["methods"][1]["difference"])
        ['mean', 'stderr']
    """
    from ulfine_cache.labelling.relabelled import open_relabelled
    from ulfine_fast.bench import paper_table
    from ulfine_fast.bench.contender import find_contenders
    from ulfine_fast.bench.kept_fits import check_directory

    if latex and markdown:
        raise UsageError("--latex and --markdown print one table each: give one of them, or files with --table")
    wanted = seeds_of(seeds)
    contenders = find_contenders(methods, ablation=ablation, settings=settings, assignments=set, grid=grid)
    splits = [name.strip() for name in split.split(",")]
    if len(dict.fromkeys(splits)) < len(splits):
        raise UsageError(f"a split is named twice in {split}: name each once")
    for path in table:
        paper_table.check_table(path)
    if out is not None:
        check_directory(out)
    opened = open_relabelled(cache, apply, text=True, progress=progress)
    draws = {name: _draws(opened, name, wanted) for name in splits}
    found = _fit_all(opened, draws, contenders, device, out, progress)
    tested = out is not None or bool(table) or latex or markdown
    comparisons = {
        name: _comparison(name, of_split, contenders, found, tested=tested) for name, of_split in draws.items()
    }
    figures = next(iter(comparisons.values())) if len(splits) == 1 else Comparisons(tasks=comparisons)
    if out is not None or table:
        _write(figures, comparisons, out, table)
    if latex or markdown:
        figures["printed"] = (paper_table.latex if latex else paper_table.markdown)(comparisons)
    return figures


def _draws(cache: FeatureCache, split: str, seeds: Sequence[int]) -> dict[int, Split]:
    """The draws of a split by seed."""
    from ulfine_cache.splits import draw_split

    protocol = cache.read_split(split).protocol
    if not protocol:
        raise UlfineError(f"split {split!r} has no protocol to draw anew: make one with `ulfine split {cache.path}`")
    draws = {
        seed: draw_split(
            cache.labels,
            cache.set_names,
            {**protocol, "seed": seed},
            name=split,
            class_names=cache.class_names,
            groups=cache.groups,
        )
        for seed in seeds
    }
    if any(not len(draw.test) for draw in draws.values()):
        raise UlfineError(
            f"split {split!r} has no test rows to compare on: draw it anew with `ulfine split --test-per-class K`"
        )
    return draws


def _protocol(draws: dict[int, Split]) -> dict[str, Any]:
    """What the draws of a split have in common."""
    first = next(iter(draws.values()))
    return {key: value for key, value in first.protocol.items() if key not in ("seed", "drawn")}


def _fit_all(
    cache: FeatureCache,
    draws: dict[str, dict[int, Split]],
    contenders: Sequence[Contender],
    device: str,
    out: Path | None,
    progress: Progress,
) -> dict[tuple[str, str, int], Fit]:
    """Every fit by split, contender and seed; those that are in `out` are read, the others are done and put there."""
    from ulfine_fast.bench.kept_fits import KeptFits
    from ulfine_fast.bench.one_fit import fit_and_judge

    kept = {} if out is None else {name: KeptFits(out, cache, name, _protocol(of)) for name, of in draws.items()}
    found: dict[tuple[str, str, int], Fit] = {}
    for split, fits in kept.items():
        found |= {(split, *key): fit for key, fit in fits.done(contenders, list(draws[split])).items()}
    wanted = [
        (split, seed, contender) for split, of_split in draws.items() for seed in of_split for contender in contenders
    ]
    if found:
        progress.note(f"{len(found)} of {len(wanted)} fits are in {out} and are not done again")
    for split, seed, contender in wanted:
        if (split, contender.name, seed) in found:
            continue
        draw = draws[split][seed]
        fit = fit_and_judge(cache, draw, contender, seed, device, logits=out is not None)
        if split in kept:
            kept[split].keep(contender, seed, draw, fit)
        found[split, contender.name, seed] = fit
        progress.update("comparing", len(found), len(wanted), macro_accuracy=fit.metrics["macro_accuracy"])
    return found


def _comparison(
    split: str,
    draws: dict[int, Split],
    contenders: Sequence[Contender],
    found: dict[tuple[str, str, int], Fit],
    *,
    tested: bool,
) -> Comparison:
    """The figures of one split."""
    from ulfine_fast.bench.summary import add_tests, per_class, summary

    metrics = {item.name: [found[split, item.name, seed].metrics for seed in draws] for item in contenders}
    first = [entry["macro_accuracy"] for entry in next(iter(metrics.values()))]
    entries = [summary(name, per_seed, first) for name, per_seed in metrics.items()]
    if tested:
        add_tests(entries)
        for entry in entries:
            entry["per_class"] = per_class(metrics[entry["method"]])
            chosen = [found[split, entry["method"], seed] for seed in draws]
            if chosen[0].grid is not None:
                entry["chosen"] = [fit.settings for fit in chosen]
    return Comparison(split=split, protocol=_protocol(draws), seeds=list(draws), methods=entries)


def _write(
    figures: dict[str, Any], comparisons: dict[str, Comparison], out: Path | None, tables: Sequence[Path]
) -> None:
    """Write the tables that were asked for, and into the directory of the fits those that belong there."""
    from ulfine_cache.atomic import replacing
    from ulfine_fast.bench.paper_table import write_class_table, write_table

    files = list(tables)
    if out is not None:
        files += [out / f"table{suffix}" for suffix in (".tex", ".md", ".csv")]
        figures["out"] = str(out)
    for path in files:
        write_table(path, comparisons)
    if out is not None:
        write_class_table(out / "per_class.csv", comparisons)
        files.append(out / "per_class.csv")
    figures["tables"] = [str(path) for path in files]
    if out is not None:
        with replacing(out / COMPARISON) as partial:
            partial.write_text(json.dumps(figures, indent=2, allow_nan=False), encoding="utf-8")
