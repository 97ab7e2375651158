"""Champion and challenger: same classes, one class more, other places, rows that a model knows, and the page."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_exports.diff import diff
from ulfine_exports.export import export_onnx
from ulfine_fast.deciding.contest import contest
from ulfine_fast.fitting import fit

CLASSES = np.array(["ash", "birch", "cedar", "elm", "=fig"])


class Notes:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def update(self, *_: object, **__: object) -> None: ...

    def note(self, line: str) -> None:
        self.lines.append(line)


def features(labels: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(5, 16))
    return (centres[labels] + 0.8 * generator.normal(size=(len(labels), 16))).astype(np.float32)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache; runs of it: `good`, `bad`; and `four`, fitted without the class =fig."""
    place = tmp_path_factory.mktemp("diff")
    labels = np.repeat(np.arange(5), 60)
    paths = np.array([f"{CLASSES[label]}/{row}.jpg" for row, label in enumerate(labels)])
    np.savez(place / "all.npz", features=features(labels), labels=labels, class_names=CLASSES, paths=paths)
    import_features(file=place / "all.npz", out=place / "cache", index="none")
    make_split(cache=place / "cache", name="lt", labelled_max=16, imbalance=4, test_per_class=30)
    make_split(cache=place / "cache", name="other", labelled_max=16, imbalance=4, test_per_class=30, seed=1)
    fit(cache=place / "cache", split="lt", out=place / "good")
    fit(cache=place / "cache", split="lt", out=place / "bad", method="lp", set=["steps=1"])
    lines = [f"{path}," for path in paths[labels == 4]]
    (place / "without.csv").write_text("\n".join(["path,label", *lines]) + "\n", "utf-8")
    fit(cache=place / "cache", split="lt", out=place / "four", apply=place / "without.csv")
    return place


def test_diff__same_model(place):
    found = diff(old=place / "good", new=place / "good")
    assert not found["worse"]
    assert found["test_rows"] == 150
    assert found["split"] == "lt"
    assert found["flips"] == {"lost": 0, "won": 0, "both_wrong": 0}
    assert found["common"]["macro_accuracy"]["difference"] == 0
    assert found["common"] == found["whole"]
    assert found["new_classes"] == found["gone_classes"] == []


def test_diff__worse_and_better(place):
    worse = diff(old=place / "good", new=place / "bad")
    better = diff(old=place / "bad", new=place / "good")
    macro, back = worse["common"]["macro_accuracy"], better["common"]["macro_accuracy"]
    assert worse["worse"]
    assert macro["high"] < 0
    assert "beyond doubt" in worse["verdict"]
    assert not better["worse"]
    assert back["difference"] == pytest.approx(-macro["difference"])
    assert worse["flips"]["lost"] == better["flips"]["won"] == sum(entry["lost"] for entry in worse["per_class"])
    from ulfine_fast.evaluate import evaluate

    judged = evaluate(run=place / "bad")
    assert macro["new"] == pytest.approx(judged["macro_accuracy"])
    assert worse["common"]["tail_accuracy"]["new"] == pytest.approx(judged["tail_accuracy"])
    assert worse["common"]["ece"]["new"] == pytest.approx(judged["ece"])


def test_diff__a_large_drop_may_be_allowed(place):
    assert not diff(old=place / "good", new=place / "bad", max_drop=1.0)["worse"]
    assert diff(old=place / "good", new=place / "good", max_drop=0.0, doubt="old")["worse"]


def test_diff__one_class_more(place):
    notes = Notes()
    found = diff(old=place / "four", new=place / "good", progress=notes)
    assert found["new_classes"] == ["=fig"]
    assert found["gone_classes"] == []
    assert found["common"]["classes"] == 4
    assert found["whole"]["classes"] == 5
    assert found["per_class"][-1]["name"] == "=fig"
    assert found["per_class"][-1]["old"] == 0
    assert found["per_class"][-1]["new"] > 0.5
    assert found["common"]["rows"] + found["per_class"][-1]["rows"] == found["test_rows"]
    back = diff(old=place / "good", new=place / "four", cache=place / "cache", split="lt", apply=None)
    assert back["gone_classes"] == ["=fig"]


def test_diff__exported_files(place, tmp_path):
    for name in ("good", "bad"):
        export_onnx(run=place / name, onnx=tmp_path / f"{name}.onnx")
    runs = diff(old=place / "good", new=place / "bad")
    files = diff(old=tmp_path / "good.onnx", new=tmp_path / "bad.onnx", cache=place / "cache", split="lt")
    assert files["common"]["macro_accuracy"] == pytest.approx(runs["common"]["macro_accuracy"])
    assert files["left_out_rows"] == 0
    assert files["models"]["old"]["bytes"] == (tmp_path / "good.onnx").stat().st_size
    with pytest.raises(UlfineError, match="--cache"):
        diff(old=tmp_path / "good.onnx", new=tmp_path / "bad.onnx")


def test_diff__rows_that_a_model_knows_are_left_out(place, tmp_path):
    notes = Notes()
    found = diff(old=place / "good", new=place / "bad", split="other", progress=notes)
    cache = FeatureCache.open(place / "cache")
    test, own = cache.read_split("other").test, cache.read_split("lt")
    seen = np.intersect1d(test, np.union1d(own.labelled, own.unlabelled))
    assert found["left_out_rows"] == len(seen) > 0
    assert found["test_rows"] == len(test) - len(seen)
    assert any("left out" in line for line in notes.lines)
    export_onnx(run=place / "good", onnx=tmp_path / "good.onnx")
    again = diff(old=tmp_path / "good.onnx", new=place / "good", split="other")
    assert again["left_out_rows"] == len(seen)


def test_diff__a_cache_that_has_grown(place, tmp_path):
    labels = np.concatenate([np.repeat(np.arange(5), 60), np.repeat(np.arange(5), 20)])
    paths = np.array([f"{CLASSES[label]}/{row}.jpg" for row, label in enumerate(labels)])
    np.savez(tmp_path / "all.npz", features=features(labels), labels=labels, class_names=CLASSES, paths=paths)
    shutil.copytree(place / "good", tmp_path / "good")
    import_features(file=tmp_path / "all.npz", out=tmp_path / "cache", index="none")
    notes = Notes()
    make_split(cache=tmp_path / "cache", name="lt", labelled_max=16, imbalance=4, test_per_class=30)
    diff(old=tmp_path / "good", new=tmp_path / "good", cache=tmp_path / "cache", split="lt", progress=notes)
    assert any("does not say which rows" in line for line in notes.lines)


def test_diff__page(place, tmp_path):
    out = tmp_path / "pages" / "d.html"
    found = diff(old=place / "four", new=place / "bad", out=out)
    text = out.read_text("utf-8")
    assert found["out"] == str(out)
    assert found["verdict"] in text
    assert "=fig" in text
    assert "Lost: " in text
    assert "There are no pictures" in text


@pytest.mark.parametrize(
    ("change", "match"),
    [({"split": "none"}, "none"), ({"cache": Path("gone")}, "gone"), ({"new": Path("gone")}, "gone")],
)
def test_diff__refusals(place, change, match):
    with pytest.raises(UlfineError, match=match):
        diff(**({"old": place / "good", "new": place / "bad"} | change))


def test_contest__no_class_in_common(place, tmp_path):
    labels = np.repeat(np.arange(2), 20)
    np.savez(tmp_path / "f.npz", features=features(labels), labels=labels, class_names=np.array(["x", "y"]))
    import_features(file=tmp_path / "f.npz", out=tmp_path / "cache", index="none")
    fit(cache=tmp_path / "cache", out=tmp_path / "run", method="lp")
    with pytest.raises(UlfineError, match="no class in common"):
        diff(old=place / "good", new=tmp_path / "run")


def test_contest__brings_columns_to_one_list():
    old = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    new = np.array([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]], np.float32)
    found = contest((["b", "a"], ["a", "c", "b"]), (old, new), ["b", "c"], [3, 2, 1])
    assert found.names == ("b", "a", "c")
    assert found.new.argmax(axis=1).tolist() == [0, 1]
    assert found.common.tolist() == [True, False]
    assert found.known.tolist() == [[True, True, False], [True, True, True]]


def test_diff__page_in_a_browser(pixel_run, photographs, tmp_path, browser):
    """Pictures whose answer changed are there, the page asks nobody for anything, and a click sorts the classes."""
    from tests.exports.pages.headless import look
    from ulfine_fast.run import load_run

    cache = Path((load_run(pixel_run).cache or {})["path"])
    lines = [line.split(",") for line in (pixel_run / "labelled.csv").read_text("utf-8").splitlines()[1:]]
    names = sorted({label for _, label in lines})
    turned = [f"{path},{names[(names.index(label) + 1) % len(names)]}" for path, label in lines]
    (tmp_path / "wrong.csv").write_text("\n".join(["path,label", *turned]) + "\n", "utf-8")
    fit(cache=cache, out=tmp_path / "bad", method="lp", apply=tmp_path / "wrong.csv")
    found = diff(old=pixel_run, new=tmp_path / "bad", out=tmp_path / "d.html")
    assert found["worse"]
    seen = look(browser, tmp_path / "d.html")
    assert seen.complaints == []
    assert seen.broken_pictures == 0
    assert [url for url in seen.asked if not url.startswith(("file:", "data:"))] == []
    assert seen.run("return document.querySelector('#verdict').textContent").endswith(found["verdict"] + ".")
    shown = seen.run("return document.querySelectorAll('.shot img').length")
    assert shown == sum(min(24, count) for count in found["flips"].values()) > 0
    before = seen.run("return document.querySelector('.sortable tbody tr td').textContent")
    seen.run("document.querySelector('.sortable thead button').click()")
    names = seen.run("return [...document.querySelectorAll('.sortable tbody tr')].map(row => row.cells[0].textContent)")
    assert before in names
    assert names == sorted(names)
