"""The parts of a report that are made of pictures: the most confused pairs, and what is worth a look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ulfine_exports.reporting.runs.confusions import confusions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_exports.pages.thumbnails import Thumbnails
    from ulfine_exports.reporting.runs.judged_rows import JudgedRows
    from ulfine_exports.reporting.runs.run_facts import RunFacts

MOST_PAIRS, PAIR_PICTURES, GALLERY = 8, 6, 18
"""Confused pairs, pictures of each, and pictures in a gallery."""


def pairs(facts: RunFacts, thumbnails: Thumbnails) -> list[dict[str, Any]] | None:
    """The most confused pairs with pictures, the most confident mistakes first; None where no truth is known."""
    judged, names = facts.judged, facts.run.class_names
    if judged is None:
        return None
    return [
        {
            "truth": names[pair.truth],
            "predicted": names[pair.predicted],
            "count": pair.count,
            "of": pair.of,
            "shots": _shots(facts, thumbnails, judged, pair.places[:PAIR_PICTURES]),
        }
        for pair in confusions(judged, len(names), MOST_PAIRS)
    ]


def galleries(facts: RunFacts, thumbnails: Thumbnails) -> list[dict[str, Any]]:
    """Confident mistakes, doubtful hits, and unlabelled images between two classes, those that there are."""
    found: list[dict[str, Any]] = []

    def add(title: str, words: str, judged: JudgedRows, places: NDArray[np.int64]) -> None:
        if len(places):
            found.append({"title": title, "words": words, "shots": _shots(facts, thumbnails, judged, places[:GALLERY])})

    judged, unlabelled = facts.judged, facts.unlabelled
    if judged is not None:
        surest = np.argsort(-judged.confidence, kind="stable")
        add(
            "Most confident mistakes",
            "Wrong answers, the surest first: look here for wrong labels, two classes in one picture, and classes that "
            "are one.",
            judged,
            surest[~judged.right[surest]],
        )
        doubtful = surest[::-1]
        add(
            "Least confident hits",
            "Right answers, the least sure first, with the class that came second.",
            judged,
            doubtful[judged.right[doubtful]],
        )
    if unlabelled is not None:
        add(
            "Most doubtful unlabelled images",
            "Unlabelled images whose two most probable classes are nearly equal: labels of these say most about the "
            "border between the two.",
            unlabelled,
            np.argsort(_margin(unlabelled.probabilities), kind="stable"),
        )
    return found


def _shots(
    facts: RunFacts, thumbnails: Thumbnails, judged: JudgedRows, places: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Pictures with what was said of them."""
    assert facts.cache is not None
    names, paths = facts.run.class_names, facts.cache.paths
    shots: list[dict[str, Any]] = []
    for place in places.tolist():
        probabilities, truth = judged.probabilities[place], int(judged.truth[place])
        first, *others = np.argsort(-probabilities, kind="stable")[:2].tolist()
        # Of an unlabelled row the truth is nobody's business here, even where it is known.
        wrong = judged is facts.judged and truth != first
        shots.append(
            {
                "src": thumbnails.of(int(judged.rows[place])),
                "path": paths[judged.rows[place]],
                "said": names[first],
                "confidence": float(probabilities[first]),
                "wrong": wrong,
                "is": names[truth] if wrong else "",
                "next": [(names[k], float(probabilities[k])) for k in others],
            }
        )
    return shots


def _margin(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far the most probable class is ahead of the second, float32 (N,)."""
    if probabilities.shape[1] < 2:
        return np.ones(len(probabilities), np.float32)
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return two[:, 1] - two[:, 0]
