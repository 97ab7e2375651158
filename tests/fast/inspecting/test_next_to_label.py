"""Rare classes, doubt and uncovered regions come first, and not one of them alone."""

import numpy as np
import torch

from tests.fast.inspecting.made import rows_of
from ulfine_fast.inspecting import next_to_label as module
from ulfine_fast.inspecting.next_to_label import choose_next


def sure(classes: np.ndarray, n_classes: int, by: float = 0.9) -> np.ndarray:
    table = np.full((len(classes), n_classes), (1 - by) / (n_classes - 1))
    table[np.arange(len(classes)), classes] = by
    return table


def test_choose_next__rare_classes_first():
    rows, classes = rows_of([30, 10, 10])
    found = choose_next(sure(classes, 3), np.array([20, 20, 1]), torch.as_tensor(rows), torch.as_tensor(rows[:1]), 5)
    assert classes[found.places[0]] == 2
    assert (classes[found.places] == 2).sum() >= 3
    assert found.classes.tolist() == classes[found.places].tolist()


def test_choose_next__a_class_in_need_is_not_asked_for_without_end():
    rows, classes = rows_of([30, 30])
    found = choose_next(sure(classes, 2), np.array([3, 1]), torch.as_tensor(rows), torch.as_tensor(rows[:1]), 20)
    taken = np.bincount(classes[found.places], minlength=2)
    assert taken.min() >= 7


def test_choose_next__does_not_name_two_copies():
    rows, classes = rows_of([8, 8])
    rows = np.repeat(rows, 2, axis=0)
    chances = sure(np.repeat(classes, 2), 2)
    places = choose_next(chances, np.array([2, 2]), torch.as_tensor(rows), torch.as_tensor(rows[:1]), 8).places
    assert len(set((places // 2).tolist())) == 8


def test_choose_next__doubt_decides_between_equals():
    rows = np.eye(4, dtype=np.float32)
    chances = np.array([[0.9, 0.1], [0.5, 0.5], [0.9, 0.1], [0.9, 0.1]])
    found = choose_next(chances, np.array([1, 1]), torch.as_tensor(rows), torch.full((1, 4), 0.5), 1)
    assert found.places.tolist() == [1]
    assert found.doubts.tolist() == [0.5]


def test_choose_next__gives_no_more_than_there_are_and_each_once():
    rows, classes = rows_of([3, 3])
    found = choose_next(sure(classes, 2), np.array([1, 1]), torch.as_tensor(rows), torch.as_tensor(rows[:1]), 50)
    assert sorted(found.places.tolist()) == list(range(6))
    assert found.gains[0] == 1 and (np.diff(found.gains) <= 1e-9).all()


def test_choose_next__looks_at_a_bounded_number_of_rows(monkeypatch):
    monkeypatch.setattr(module, "CANDIDATES", 10)
    monkeypatch.setattr(module, "REFERENCES", 8)
    rows, classes = rows_of([60, 20])
    found = choose_next(sure(classes, 2), np.array([9, 1]), torch.as_tensor(rows), torch.as_tensor(rows[:30]), 5)
    assert (classes[found.places] == 1).all()
