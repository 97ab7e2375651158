"""The four questions, asked of a cache: what is read for each, and what the answer looks like as a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ulfine_cache.errors import UlfineError
from ulfine_cache.wording.counts import amount, subject
from ulfine_fast.inspecting.inspected import Finding, Inspected
from ulfine_fast.inspecting.what import What

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.progress import Progress
    from ulfine_cache.splits import Split
    from ulfine_fast.models.logit_model import LogitModel
    from ulfine_fast.rows.training_data import TrainingData


@dataclass(frozen=True)
class Asked:
    """What a question is asked of.

    Attributes:
        cache: An open cache.
        split: The rows in question.
        model: Of a run of this cache, on the CPU; None where none was named.
        count: How many images to name next.
        seed: Of folds and fits.
        progress: Told about the work.
    """

    cache: FeatureCache
    split: Split
    model: LogitModel | None
    count: int
    seed: int
    progress: Progress

    def data(self, *, unlabelled: bool) -> TrainingData:
        """The labelled rows, and the unlabelled ones, which stay on the disk where they are many."""
        from dataclasses import replace

        from ulfine_fast.rows.training_data import load_training_data

        rows = self.split if unlabelled else replace(self.split, unlabelled=self.split.unlabelled[:0])
        return load_training_data(self.cache, rows, streams=len(rows.unlabelled) > IN_MEMORY)


IN_MEMORY = 50_000
"""Unlabelled rows that are loaded at once; more are read block by block."""


def ask(what: What, asked: Asked) -> Inspected:
    """Answer one of the questions.

    Raises:
        UlfineError: There are no rows for it, or a package is missing.
    """
    return _ANSWERS[what](asked)


def _duplicates(asked: Asked) -> Inspected:
    from ulfine_fast.inspecting.all_pairs import nearest_of_all
    from ulfine_fast.inspecting.duplicates import (
        EXACT,
        FLOOR,
        NEIGHBOURS,
        estimate_threshold,
        find_pairs,
        row_hashes,
    )

    split, cache = asked.split, asked.cache
    names = {"labelled": split.labelled, "unlabelled": split.unlabelled, "val": split.val, "test": split.test}
    rows = np.concatenate(list(names.values()))
    if not len(rows):
        raise UlfineError(f"{cache.path} has no rows in question")
    set_of = {row: name for name, part in names.items() for row in part.tolist()}
    judging = np.repeat([False, False, True, True], [len(part) for part in names.values()])
    similarities, neighbours = nearest_of_all(cache, rows, NEIGHBOURS, asked.progress)
    different = similarities < 1 - FLOOR
    nearest = np.where(different.any(1), similarities[np.arange(len(rows)), different.argmax(1)], np.nan)
    threshold = estimate_threshold(nearest[np.isfinite(nearest) & (nearest > -1)])
    pairs = find_pairs(rows, judging, row_hashes(cache), similarities, neighbours, threshold)
    labelled = set(split.labelled.tolist())
    paths = dict(zip(rows.tolist(), cache.paths_of(rows), strict=True))

    def finding(first: int, second: int, similarity: float, kind: str, leak: bool) -> Finding:
        labels = [cache.class_names[cache.labels[row]] if row in labelled else None for row in (first, second)]
        suggestion = "leave one out"
        if leak:
            suggestion = "leaks: leave it out of training or of the test"
        elif None not in labels and labels[0] != labels[1]:
            suggestion = f"two labels: {labels[0]} or {labels[1]}"
        others = {"duplicate": paths[second], "kind": kind, "sets": f"{set_of[first]}, {set_of[second]}", "leak": leak}
        return Finding(first, similarity, suggestion, others, beside=second)

    findings = [finding(*pair) for pair in pairs]
    leaks = sum(pair.leak for pair in pairs)
    exact = sum(pair.kind == EXACT for pair in pairs)
    figures = {
        "rows": len(rows),
        "pairs": len(pairs),
        "exact": exact,
        "near": len(pairs) - exact,
        "leaks": leaks,
        "threshold": threshold.similarity,
        "expected_false": threshold.expected_false,
        "typical_similarity": threshold.typical,
    }
    lines = [
        f"{amount(len(pairs), 'pair')} of duplicates among {amount(len(rows), 'image')}: {exact} of the same file, "
        f"{len(pairs) - exact} nearly the same; {leaks} between the training and the test or validation images"
    ]
    if threshold.similarity is not None:
        lines.append(
            f"nearly the same is a similarity of {threshold.similarity:.4f} and more (nearest neighbours are "
            f"{threshold.typical:.4f} alike); about {threshold.expected_false:.2g} images reach it by chance"
        )
    else:
        lines.append("too few images to estimate a threshold: only equal ones are named")
    return Inspected(findings, ("duplicate", "kind", "sets", "leak"), figures, lines)


def _label_errors(asked: Asked) -> Inspected:
    from ulfine_fast.inspecting.label_errors import find_label_errors

    data = asked.data(unlabelled=False)
    found = find_label_errors(data, asked.seed, asked.progress)
    labels, names, counts = data.labels.numpy(), data.class_names, data.labelled_counts.numpy()
    suspected = found.suspected()

    def finding(place: int) -> Finding:
        label, taken = int(labels[place]), int(found.suggestions[place])
        judged = not np.isnan(found.scores[place])
        suggestion = "" if taken == label else names[taken]
        others = {
            "label": names[label],
            "self_confidence": float(found.self_confidence[place]),
            "neighbours_agree": round(float(found.agreeing[place]), 4),
            "labelled": int(counts[label]),
            "suspected": bool(suspected[place]),
        }
        if not judged:
            suggestion = "cannot be judged: the only image of its class"
        return Finding(
            int(asked.split.labelled[place]),
            float(found.scores[place]),
            suggestion,
            others,
            suspected=bool(suspected[place]),
        )

    findings = [finding(int(place)) for place in found.order()]
    unjudged = int(np.isnan(found.scores).sum())
    figures = {"rows": len(labels), "suspected": int(suspected.sum()), "not_judged": unjudged}
    lines = [
        f"{subject(int(suspected.sum()), 'label', 'is/are')} suspected of {len(labels)}, by fits that had not seen "
        "them; the first in the list are the most suspicious"
    ]
    if unjudged:
        lines.append(f"{amount(unjudged, 'label')} cannot be judged: the only images of their classes, without text")
    columns = ("label", "self_confidence", "neighbours_agree", "labelled", "suspected")
    return Inspected(findings, columns, figures, lines)


def _outliers(asked: Asked) -> Inspected:
    from ulfine_fast.inspecting.outliers import find_outliers

    rows = _some_unlabelled(asked, "outliers are looked for among them")
    data = asked.data(unlabelled=True)
    found = find_outliers(data, asked.seed, asked.progress)
    suspected = found.suspected()

    def finding(place: int) -> Finding:
        nearest = data.class_names[int(found.classes[place])]
        others = {
            "nearest_class": nearest,
            "energy": float(found.energies[place]),
            "distance": float(found.distances[place]),
            "suspected": bool(suspected[place]),
        }
        suggestion = "no class" if suspected[place] else nearest
        return Finding(
            int(rows[place]), float(found.scores[place]), suggestion, others, suspected=bool(suspected[place])
        )

    findings = [finding(int(place)) for place in found.order()]
    figures = {
        "rows": len(rows),
        "suspected": int(suspected.sum()),
        "threshold": found.threshold,
        "energy_share": found.energy_share,
        "separation": found.separation,
    }
    lines = [
        f"{subject(int(suspected.sum()), 'image', 'belongs/belong')} to no class, of "
        f"{amount(len(rows), 'unlabelled row')}: their score is above {found.threshold:.2f}, by what "
        "left-out labelled images reach"
    ]
    if found.separation is not None:
        lines.append(
            f"where labelled classes were hidden, the score told their images from others with an AUROC of "
            f"{found.separation:.3f}"
        )
    return Inspected(findings, ("nearest_class", "energy", "distance", "suspected"), figures, lines)


def _next_to_label(asked: Asked) -> Inspected:
    from ulfine_fast.inspecting.next_to_label import choose_next

    rows = _some_unlabelled(asked, "the next are chosen among them")
    data = asked.data(unlabelled=True)
    model = asked.model
    if model is None:
        from ulfine_fast.registry import get_method

        asked.progress.note("no run is named: fitting one, with the default method")
        method = get_method("ulfine")
        model = method.fit(data, method.settings(), asked.seed, asked.progress).model
    probabilities = _probabilities(model, data)
    counts = data.labelled_counts.numpy()
    found = choose_next(probabilities, counts, data.unlabelled, data.features, asked.count)

    def finding(place: int) -> Finding:
        guess = int(found.classes[place])
        others = {
            "rank": place + 1,
            "doubt": float(found.doubts[place]),
            "labelled": int(counts[guess]),
        }
        return Finding(int(rows[found.places[place]]), float(found.gains[place]), data.class_names[guess], others)

    findings = [finding(place) for place in range(len(found.places))]
    figures = {"rows": len(rows), "chosen": len(findings)}
    lines = [
        f"{amount(len(findings), 'image')} to label next of {amount(len(rows), 'unlabelled row')}, best first: those "
        "that the rare classes and the regions without labels gain most from"
    ]
    return Inspected(findings, ("rank", "doubt", "labelled"), figures, lines)


def _some_unlabelled(asked: Asked, why: str) -> NDArray[np.int64]:
    rows = asked.split.unlabelled
    if not len(rows):
        where = f"split {asked.split.name!r} of {asked.cache.path}" if asked.split.name else str(asked.cache.path)
        raise UlfineError(f"{where} has no unlabelled rows, and {why}: name a split that has some with --split")
    return rows


def _probabilities(model: LogitModel, data: TrainingData) -> NDArray[np.float32]:
    import torch

    with torch.no_grad():
        blocks = [torch.softmax(model(block), dim=-1).numpy() for block in data.unlabelled.split(4096)]
    return np.concatenate(blocks)


_ANSWERS: dict[What, Callable[[Asked], Inspected]] = {
    "duplicates": _duplicates,
    "label-errors": _label_errors,
    "outliers": _outliers,
    "next-to-label": _next_to_label,
}
