"""The blocks of docs/python.md and of the README run as they stand, one after the other, like a reader would."""

import re
from pathlib import Path

import numpy as np
import pytest

from ulfine_cache.import_features import import_features
from ulfine_fast import FeatureCache, ULFineClassifier

ROOT = Path(__file__).resolve().parents[2]


def run_blocks(page, names):
    """Run the Python blocks of a page; how many there are."""
    text = page.read_text(encoding="utf-8")
    blocks = [(found.start(1), found.group(1)) for found in re.finditer(r"^```python\n(.*?)^```", text, re.S | re.M)]
    for start, block in blocks:
        # Errors point to the line of the page.
        exec(compile("\n" * text.count("\n", 0, start) + block, page, "exec"), names)
    return len(blocks)


@pytest.mark.filterwarnings("ignore")
def test_page__runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_blocks(ROOT / "docs" / "python.md", {"__name__": "page"}) >= 12
    printed = capsys.readouterr().out.splitlines()
    assert float(printed[0]) > 0.8


def test_readme__trains_on_no_test_picture(tmp_path, monkeypatch, capsys, clusters):
    monkeypatch.chdir(tmp_path)
    features, truth, text = clusters(20)
    sets = np.where(np.arange(120) % 4 == 0, "test", "train")
    labels = np.where((np.arange(120) % 4 == 1) | (sets == "test"), truth, -1)
    # Not in sorted order.
    names = np.array(["fig", "birch", "elm", "ash", "cedar", "date palm"])
    np.savez("rows.npz", features=features, labels=labels, text_features=text, class_names=names, split=sets)
    import_features(file=Path("rows.npz"), out=Path("cache"), index="none")
    seen = {}
    assert run_blocks(ROOT / "README.md", seen) == 1
    cached, order, trained = FeatureCache.open(Path("cache")), np.argsort(names), np.flatnonzero(sets == "train")
    y = np.where(labels < 0, "-1", names[labels])
    expected = ULFineClassifier().fit(cached.features(trained), y[trained], cached.text_features[order])
    X_test = cached.features(np.flatnonzero(sets == "test"))
    assert np.array_equal(seen["classifier"].decision_function(X_test), expected.decision_function(X_test))
    assert float(capsys.readouterr().out) == expected.score(X_test, names[truth[sets == "test"]]) > 0.8
