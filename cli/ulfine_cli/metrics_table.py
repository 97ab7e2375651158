"""What a classifier is worth, for people at a terminal: accuracies and what rows leave open, left-out rows, classes."""

from typing import Any

from ulfine_cache.wording.counts import amount, listed
from ulfine_cli.output import Output, percent, text
from ulfine_cli.tables.class_table import show_classes
from ulfine_cli.tables.thresholds import learnt_from, show_thresholds

ACCURACIES = ("macro_accuracy", "head_accuracy", "medium_accuracy", "tail_accuracy")

_BY_COUNT = {"many_accuracy": "more than 100", "median_accuracy": "20 to 100", "few_accuracy": "fewer than 20"}
_LEGEND = (
    "macro: mean recall of the classes; head, medium, tail: of a third of them each, from most to fewest labelled "
    "images; ece: mean gap between confidence and accuracy; nll: mean of -ln(probability of the true class)"
)


def show_metrics(figures: dict[str, Any], output: Output) -> None:
    """Print the metrics of one classifier: accuracies in percent, ece and nll as they are; then what they mean.

    Args:
        figures: Metrics under the names of ``metrics.json``; names that are missing are left out.
        output: Where to.
    """
    if spread := figures.get("seeds"):
        names = (*ACCURACIES, "ece")
        seeds = [str(len(spread["ece"]["per_seed"])), *(_over_seeds(spread[name]) for name in names)]
        output.table(["seeds", *(name.removesuffix("_accuracy") for name in names)], [seeds])
        output.text(
            "percent over seeds: mean ± standard deviation, which holds that of the seeds and that of "
            f"{amount(figures.get('test_rows', 0), 'test image')}; below, the first seed, which is the run"
        )
    names = ("accuracy", *ACCURACIES)
    shown = [
        (name.removesuffix("_accuracy"), percent(figures[name])) for name in names if figures.get(name) is not None
    ]
    shown += [(name, text(figures[name])) for name in ("ece", "nll", "seconds") if figures.get(name) is not None]
    output.table([name for name, _ in shown], [[value for _, value in shown]])
    if figures.get("test_rows"):
        _show_what_rows_say(figures, output)
    if found := figures.get("cross_validated"):
        _show_cross_validated(found, output)
    elif "cross_validated" in figures:
        output.text("not cross-validated: no labelled image that could be judged was left out of the fit")
    if "acceptance" in figures:
        _show_acceptance(figures["acceptance"], output)
        show_thresholds(figures, output)
    if "outlier_score" in figures:
        _show_outlier_score(figures["outlier_score"], output)
    if found := figures.get("against"):
        _show_against(found, output)
    show_classes(figures, output)


def _over_seeds(summary: dict[str, Any]) -> str:
    return mean_and_spread(summary, "error" if "error" in summary else "std")


def _show_what_rows_say(figures: dict[str, Any], output: Output) -> None:
    """Print the intervals of the accuracies, the groups by count, and what the columns mean."""
    intervals = figures.get("intervals") or {}
    parts = [
        f"{name.removesuffix('_accuracy')} {_range(intervals[name])}"
        for name in ("accuracy", "macro_accuracy")
        if intervals.get(name)
    ]
    also = f"; 95 % intervals: {', '.join(parts)}" if parts else ""
    output.text(f"percent of {amount(figures['test_rows'], 'test image')}{also}")
    counted = [
        f"{words} {percent(figures[name])}" for name, words in _BY_COUNT.items() if figures.get(name) is not None
    ]
    if len(counted) > 1:
        output.text(f"macro by labelled images of the class: {', '.join(counted)}")
    output.text(_LEGEND)


def _show_cross_validated(found: dict[str, Any], output: Output) -> None:
    """Print what left-out rows say, in sentences."""
    accuracy, macro, confident = (found[name] for name in ("accuracy", "macro_accuracy", "confident"))
    classes = found["per_class"]
    unjudged = [entry["name"] for entry in classes if not entry["rows"]]
    output.line()
    without = "its whole group" if found.get("by_group") else "it"
    output.text(
        f"cross-validated on {amount(found['rows'], 'labelled image')}, each by a fit without {without} and so rather "
        "too low:"
    )
    output.text(f"accuracy {_with_range(accuracy)}, with classes as frequent as among these", indent=2)
    of = f"{found['classes']} of {amount(len(classes), 'class')}" if unjudged else amount(len(classes), "class")
    output.text(f"macro accuracy {_with_range(macro)}, over {of}", indent=2)
    if confident["rows"]:
        output.text(
            f"of {confident['rows']} with a confidence of {confident['threshold']} or more {_with_range(confident)} "
            "are right",
            indent=2,
        )
    if unlabelled := found["unlabelled"]:
        output.text(
            f"of {amount(unlabelled['rows'], 'unlabelled image')} {_with_range(unlabelled['expected_accuracy'])} would "
            f"be right by the estimated shares of the classes; the mean confidence is "
            f"{percent(unlabelled['mean_confidence'])} %, and {unlabelled['confident_rows']} have "
            f"{confident['threshold']} or more",
            indent=2,
        )
    single = [entry["name"] for entry in classes if entry["labelled"] == 1]
    if single:
        output.text(f"cannot be judged from 1 image: {listed(single, 4)}", indent=2)


def _show_against(found: dict[str, Any], output: Output) -> None:
    """Print how the classes fared that a former run has as well, those that changed most first."""
    macro = found["common"]["macro_accuracy"]
    known = [entry for entry in found["per_class"] if entry["known_to_old"] and entry["rows"]]
    output.line()
    points = f"{100 * macro['difference']:+.1f} points ({100 * macro['low']:+.1f} to {100 * macro['high']:+.1f})"
    output.text(
        f"against {found['run']}, on {amount(found['common']['rows'], 'test image')} of "
        f"{amount(found['common']['classes'], 'class')} that both have: macro accuracy was {percent(macro['old'])} %, "
        f"and is {percent(macro['new'])} %, {points}"
    )
    changed = sorted((entry for entry in known if entry["difference"]), key=lambda entry: -abs(entry["difference"]))
    if changed:
        parts = [f"{entry['name']} {100 * entry['difference']:+.1f}" for entry in changed]
        output.text(f"recall in points: {listed(parts, 8)}", indent=2)


def _show_acceptance(found: dict[str, Any] | None, output: Output) -> None:
    """Print what the threshold is, what it was learnt from, and what it does to test rows."""
    output.line()
    if found is None:
        output.text("no threshold could be learnt: no labelled image that could be judged was left out of the fit")
        return
    target = percent(found["target_accuracy"])
    if not found["accepted"]:
        output.text(f"no confidence is enough for {target} % accuracy on {amount(found['rows'], 'left-out image')}")
        return
    output.text(
        f"accepted {learnt_from(found)}, for {target} % accuracy: "
        f"{percent(found['coverage'])} % of {amount(found['rows'], 'left-out image')}, of which "
        f"{percent(found['accuracy'])} % are right, each class counting the same"
    )
    if found["promised"] >= found["target_accuracy"]:
        output.text(f"at least {percent(found['promised'])} % with 95 % confidence", indent=2)
    else:
        output.text(
            f"{target} % cannot be promised from {found['accepted']} of them: with 95 % confidence it is at least "
            f"{percent(found['promised'])} %, and {found['rows_to_promise']} would be needed, all of them right",
            indent=2,
        )
    if by_class := [entry for entry in found.get("by_class", []) if entry["accepted"]]:
        sure = sum(entry["promised"] >= found["target_accuracy"] for entry in by_class)
        least = min(by_class, key=lambda entry: entry["promised"])
        output.text(
            f"class by class it can be promised for {sure} of {amount(len(by_class), 'class')} with accepted answers; "
            f"the least sure has {least['right']} of {least['accepted']} right, which promise "
            f"{percent(least['promised'])} %",
            indent=2,
        )
    if test := found["test"]:
        output.text(
            f"of {amount(test['rows'], 'test image')} {percent(test['coverage'])} % are accepted, and "
            f"{percent(test['accuracy'])} % of these are right",
            indent=2,
        )


def _show_outlier_score(found: dict[str, Any] | None, output: Output) -> None:
    """Print what the outlier score means, and what it says of test rows, whose classes are known."""
    output.line()
    if found is None:
        output.text("no outlier score could be learnt: too few labelled images could be left out")
        return
    output.text(
        f"outlier score: above 1 an image is less like any class than {percent(found['known_share'])} % of "
        f"{amount(found['rows'], 'left-out image')}, each class counting the same"
    )
    if test := found["test"]:
        output.text(f"of {amount(test['rows'], 'test image')} {percent(test['above'] / test['rows'])} % are", indent=2)


def _range(interval: dict[str, Any]) -> str:
    return f"{percent(interval['low'])} to {percent(interval['high'])}"


def _with_range(interval: dict[str, Any]) -> str:
    return f"{percent(interval['value'])} % ({_range(interval)})"


def mean_and_spread(summary: dict[str, Any], spread: str) -> str:
    """A mean over seeds in percent with its spread, such as ``"94.1 ± 0.3"``.

    Args:
        summary: Holds ``mean`` and the spread; None where they are not defined.
        spread: The spread's name.
    """
    mean = percent(summary["mean"])
    return mean if summary[spread] is None else f"{mean} ± {percent(summary[spread])}"
