"""Which pictures are shown, in which order, and what is said of each."""

from types import SimpleNamespace

import numpy as np

from ulfine_exports.reporting.runs.judged_rows import JudgedRows
from ulfine_exports.reporting.runs.picture_part import galleries, pairs

NAMES = ("ash", "birch", "cedar")


class Thumbnails:
    def of(self, row):
        return f"data:{row}"


def facts(judged=None, unlabelled=None):
    cache = SimpleNamespace(paths=[f"{row}.jpg" for row in range(20)])
    return SimpleNamespace(run=SimpleNamespace(class_names=NAMES), cache=cache, judged=judged, unlabelled=unlabelled)


def rows(truth, table, first_row=0):
    table = np.array(table, np.float32)
    return JudgedRows(np.arange(len(table)) + first_row, np.array(truth), table, {}, len(table))


def said(gallery):
    return [(shot["path"], shot["said"], shot["is"]) for shot in gallery["shots"]]


def test_galleries__mistakes_from_the_surest_hits_from_the_least_sure():
    judged = rows([0, 0, 1, 1], [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.8, 0.1, 0.1], [0.2, 0.7, 0.1]])
    mistakes, hits = galleries(facts(judged), Thumbnails())
    assert said(mistakes) == [("2.jpg", "ash", "birch"), ("1.jpg", "birch", "ash")]
    assert said(hits) == [("0.jpg", "ash", ""), ("3.jpg", "birch", "")]
    assert hits["shots"][0]["next"][0][0] == "birch"
    assert [shot["src"] for shot in mistakes["shots"]] == ["data:2", "data:1"]


def test_galleries__doubtful_unlabelled_rows_by_the_margin_and_never_their_truth():
    table = [[0.45, 0.15, 0.4], [0.5, 0.01, 0.49], [0.9, 0.05, 0.05]]
    (doubtful,) = galleries(facts(unlabelled=rows([2, 2, 2], table, 10)), Thumbnails())
    assert said(doubtful) == [("11.jpg", "ash", ""), ("10.jpg", "ash", ""), ("12.jpg", "ash", "")]
    assert doubtful["shots"][0]["next"] == [("cedar", np.float32(0.49))]


def test_galleries__that_would_be_empty_are_left_out():
    assert [gallery["title"] for gallery in galleries(facts(rows([0], [[1, 0, 0]])), Thumbnails())] == [
        "Least confident hits"
    ]
    assert galleries(facts(), Thumbnails()) == []


def test_pairs__name_both_classes():
    (pair,) = pairs(facts(rows([0, 0], [[0.1, 0.8, 0.1], [1, 0, 0]])), Thumbnails())
    assert (pair["truth"], pair["predicted"], pair["count"], pair["of"]) == ("ash", "birch", 1, 2)
    assert pairs(facts(), Thumbnails()) is None
