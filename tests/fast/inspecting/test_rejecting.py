"""Foreign rows are kept out of a fit, and the run says how many."""

import numpy as np

from tests.fast.inspecting.made import rows_of
from ulfine_fast.fitting import fit


def test_fit__rejects_foreign_rows(make_cache, tmp_path):
    features, labels = rows_of([20, 18, 16, 14, 12, 12])
    place = np.concatenate([np.arange(count) for count in (20, 18, 16, 14, 12, 12)])
    # Of five classes eight rows are labelled, of the sixth none is.
    known = np.where((place < 8) & (labels < 5), labels, -1)
    cache = make_cache("foreign", features=features, labels=known, class_names=[f"class {k}" for k in range(5)])
    plain = fit(cache=cache, out=tmp_path / "plain")
    notes = []

    class Listens:
        def note(self, message: str) -> None:
            notes.append(message)

        def update(self, *_: object, **__: object) -> None: ...

    run = fit(cache=cache, out=tmp_path / "rejecting", reject_outliers=True, progress=Listens())
    assert 6 <= run.config["rejected_outliers"] <= 20
    assert "rejected_outliers" not in plain.config
    assert any("belong to no class" in note for note in notes)
    assert run.metrics["pseudo_labels"] == plain.metrics["pseudo_labels"] or run.metrics["pseudo_labels"] is None


def test_fit__warns_of_test_rows_that_leak(make_cache, tmp_path):
    features, labels = rows_of([10, 10])
    features[[9, 19]] = features[[0, 10]]
    sets = np.array((["train"] * 7 + ["test"] * 3) * 2)
    cache = make_cache("leaks", features=features, labels=labels, split=sets, paths=[f"{n}.jpg" for n in range(20)])
    notes = []

    class Listens:
        def note(self, message: str) -> None:
            notes.append(message)

        def update(self, *_: object, **__: object) -> None: ...

    fit(cache=cache, out=tmp_path / "run", method="gda", progress=Listens())
    (warned,) = [note for note in notes if "also among the training images" in note]
    assert warned.startswith("2 test images are also among the training images (9.jpg, ...)")
