"""`ulfine report` as a whole: what is on the page, what it says is missing, and that it asks nobody for anything."""

import json
import re
import shutil

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
pytest.importorskip("jinja2", reason="jinja2 is not installed")

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.exports.pages.headless import look
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_cache.splitting.split_draw import Split
from ulfine_cache.splitting.split_file import write_split
from ulfine_cache.stage_one import cache_features
from ulfine_exports.pages.render import short
from ulfine_exports.report import report
from ulfine_exports.reporting.runs import judged_rows
from ulfine_exports.reporting.runs.run_page import BUDGET
from ulfine_fast.compare import compare
from ulfine_fast.fitting import fit
from ulfine_fast.run import load_run

HOSTILE = [
    "</title></script><script>document.title='pwned'</script>",
    "\x1b[2J\x07 line\nbreak \u202eturned",
    "x" * 3000,
    "$\\frac{1}{2}$ & <b>bold</b> 'quoted\" {{ 7 * 7 }}",
    "日本語 🦜",
]


@pytest.fixture(scope="module")
def page(shapes, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report.html"
    figures = report(target=shapes / "run", out=out, map="pca")
    assert figures["missing"] == []
    assert figures["bytes"] == out.stat().st_size
    return out


@pytest.fixture(scope="module")
def compared(shapes, tmp_path_factory):
    path = tmp_path_factory.mktemp("compared") / "compared.json"
    path.write_text(json.dumps(compare(cache=shapes / "cache", split="lt", methods="zero-shot,lp,ulfine", seeds=3)))
    return path


@pytest.fixture(scope="module")
def comparison(compared):
    out = compared.with_name("comparison.html")
    report(target=compared, out=out)
    return out


@pytest.mark.parametrize("which", ["page", "comparison"])
@pytest.mark.parametrize(
    ("width", "scheme", "paper"), [(1100, "light", False), (360, "dark", False), (700, "light", True)]
)
def test_page__asks_for_nothing_and_fits(which, width, scheme, paper, request, browser):
    path = request.getfixturevalue(which)
    seen = look(browser, path, width=width, scheme=scheme, paper=paper)
    assert seen.asked == [path.as_uri()]
    assert seen.complaints == []
    assert seen.broken_pictures == 0
    assert seen.width <= width


def test_policy__keeps_out_what_is_put_into_the_page_later(page, tmp_path, browser):
    """The policy is at work: without it each of these would be asked for or run."""
    text = page.read_text("utf-8")
    more = "<img src='http://127.0.0.1:9/a.png'><script>document.title = 'run'</script><p style='color: red'>"
    (tmp_path / "more.html").write_text(text.replace("<main>", f"<main>{more}"), "utf-8")
    seen = look(browser, tmp_path / "more.html")
    assert len(seen.complaints) == 3
    assert all("Content Security Policy" in line for line in seen.complaints)
    assert browser.title != "run"


def test_run__every_part_is_there(page, browser):
    look(browser, page)
    assert [heading.text for heading in browser.find_elements(By.TAG_NAME, "h2")] == [
        *("Classes", "Confidence", "Pseudo-labels", "Most confused pairs", "Worth a look", "Map of the features"),
        *("Training", "Settings and provenance"),
    ]
    labels = [plot.get_attribute("aria-label") for plot in browser.find_elements(By.CSS_SELECTOR, "svg.plot")]
    assert labels[:5] == [
        "Images of each class",
        "Recall of each class",
        "Reliability: accuracy against confidence",
        "Coverage against accuracy",
        "Precision of pseudo-labels against the threshold",
    ]
    assert any(label.startswith("Training history: ") for label in labels)
    # The picture of every figure is explained.
    assert all(caption.text for caption in browser.find_elements(By.CSS_SELECTOR, "figure.card figcaption"))


def test_run__table_of_classes_says_what_the_metrics_say(page, shapes, browser):
    look(browser, page)
    run = load_run(shapes / "run")
    rows = [row.text.split() for row in browser.find_elements(By.CSS_SELECTOR, "table.sortable tbody tr")]
    recalls = {entry["name"]: entry for entry in run.metrics["per_class"]}
    assert [row[0] for row in rows] == sorted(recalls, key=lambda name: -recalls[name]["labelled"])
    headings = [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "table.sortable th")]
    assert headings[6:9] == ["zero-shot", "probe", "ulfine (fused)"]
    for name, _, labelled, *others in rows:
        assert int(labelled) == recalls[name]["labelled"]
        # Pseudo-labels, the prior and its sign, tested, and three recalls with their signs.
        assert float(others[8]) == pytest.approx(100 * recalls[name]["recall"], abs=0.051)


def test_run__parts_of_the_fusion_answer_for_themselves(page, shapes):
    """Recall of the text alone and of the probe alone, computed from the run's own tensors."""
    run, cache = load_run(shapes / "run"), FeatureCache.open(shapes / "cache")
    test = cache.read_split("lt").test
    features, truth = cache.features(test), cache.labels[test]
    said = {
        "zero-shot": (features @ cache.text_features.T).argmax(1),
        "probe": (features @ run.model.probe.numpy().T).argmax(1),
        "ulfine (fused)": run.predict_proba(features).argmax(1),
    }
    rows = re.findall(r"<tr><td>(circle|square|triangle)</td>(.*?)</tr>", page.read_text("utf-8"))
    assert len(rows) == 3
    for name, cells in rows:
        found = [float(value) for value in re.findall(r'<td data-value="([\d.]+)">', cells)][1:4]
        of_class = truth == cache.class_names.index(name)
        expected = [(predicted[of_class] == truth[of_class]).mean() for predicted in said.values()]
        assert found == pytest.approx(expected)


def test_table__is_sorted_by_a_click_and_turned_by_a_second(page, browser):
    look(browser, page)
    table = browser.find_element(By.CSS_SELECTOR, "table.sortable")

    def column(number):
        return [
            row.find_elements(By.TAG_NAME, "td")[number].text
            for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")
        ]

    button = table.find_elements(By.CSS_SELECTOR, "th button")[2]
    counts = sorted(map(int, column(2)))
    button.click()
    assert list(map(int, column(2))) == counts[::-1]
    button.click()
    assert list(map(int, column(2))) == counts
    table.find_elements(By.CSS_SELECTOR, "th button")[0].click()
    assert column(0) == sorted(column(0))


def test_map__tells_of_the_point_under_the_pointer_and_dims_other_classes(page, shapes, browser):
    seen = look(browser, page)
    split = FeatureCache.open(shapes / "cache").read_split("lt")
    circles = browser.find_elements(By.CSS_SELECTOR, "#map circle")
    assert len(circles) == len(split.labelled) + len(split.unlabelled) + len(split.test)
    assert len(browser.find_elements(By.CSS_SELECTOR, "#map .labelled")) == len(split.labelled)
    browser.execute_script("arguments[0].dispatchEvent(new PointerEvent('pointerover', {bubbles: true}))", circles[-1])
    told = browser.find_element(By.CSS_SELECTOR, "#map .told")
    assert re.search(r"\.png$", told.text)
    assert told.find_element(By.TAG_NAME, "img").get_property("naturalWidth") == 64
    Select(browser.find_element(By.CSS_SELECTOR, "#map select")).select_by_visible_text("circle")
    dimmed = browser.find_elements(By.CSS_SELECTOR, "#map circle.dim")
    assert 0 < len(dimmed) < len(circles)
    assert seen.complaints == []
    assert seen.asked == [page.as_uri()]


def test_map__is_readable_without_the_colours_of_the_light_page(page, browser):
    colours = {}
    for scheme in ("light", "dark"):
        seen = look(browser, page, scheme=scheme)
        script = "const style = getComputedStyle(document.querySelector(arguments[0])); return style[arguments[1]]"
        colours[scheme] = [
            seen.run(script, "body", "backgroundColor"),
            seen.run(script, '.plot [fill="#22262b"]', "fill"),
            seen.run(script, '.plot [fill="#0b6e63"]', "fill"),
        ]
    assert colours["light"][0] == "rgb(251, 250, 247)" and colours["dark"][0] == "rgb(22, 24, 27)"
    assert all(light != dark for light, dark in zip(colours["light"], colours["dark"], strict=True))


def test_same_run__same_bytes_wherever_the_report_goes(page, shapes, tmp_path, monkeypatch):
    monkeypatch.chdir(shapes)
    report(target=shapes.joinpath("run").relative_to(shapes), out=tmp_path / "new" / "again.html", map="pca")
    assert (tmp_path / "new" / "again.html").read_bytes() == page.read_bytes()


def test_map__of_neighbourhoods(shapes, tmp_path):
    pytest.importorskip("openTSNE", reason="openTSNE is not installed")
    for name in ("one.html", "two.html"):
        report(target=shapes / "run", out=tmp_path / name, map="tsne")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    assert "t-SNE" in (tmp_path / "one.html").read_text("utf-8")


def test_map__of_neighbourhoods_without_the_package(shapes, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "openTSNE" else name)
    with pytest.raises(UlfineError, match=r"pip install 'ulfine-fast\[tsne\]'"):
        report(target=shapes / "run", out=tmp_path / "r.html", map="tsne")
    report(target=shapes / "run", out=tmp_path / "r.html")
    assert "principal components" in (tmp_path / "r.html").read_text("utf-8")


def test_pictures_that_are_gone__are_named(shapes, tmp_path, browser):
    shutil.copytree(shapes / "photos", tmp_path / "photos")
    cache_features(source=tmp_path / "photos", out=tmp_path / "cache", model="builtin:tiny", device="cpu", index="none")
    make_split(cache=tmp_path / "cache", name="lt", labelled_max=8, imbalance=4, unlabelled_max=10, test_per_class=10)
    run = fit(cache=tmp_path / "cache", out=tmp_path / "run", split="lt", method="lp").path
    shutil.rmtree(tmp_path / "photos")
    (sentence,) = report(target=run, out=tmp_path / "r.html", map="pca")["missing"]
    assert sentence.startswith("Pictures are missing: ")
    assert str(tmp_path / "photos") in sentence
    seen = look(browser, tmp_path / "r.html")
    assert sentence in browser.find_element(By.CLASS_NAME, "note").text
    assert seen.complaints == []
    assert not browser.find_elements(By.TAG_NAME, "img")
    assert len(browser.find_elements(By.CSS_SELECTOR, "figure.shot")) > 10


def test_features_made_elsewhere__have_no_pictures_and_a_report(feature_run, tmp_path, browser):
    figures = report(target=feature_run, out=tmp_path / "r.html", map="pca")
    told = " ".join(figures["missing"])
    assert "was not made from images" in told
    seen = look(browser, tmp_path / "r.html", width=360)
    assert (seen.asked, seen.complaints) == ([(tmp_path / "r.html").as_uri()], [])
    assert seen.width <= 360
    assert "date palm" in browser.find_element(By.TAG_NAME, "main").text


def test_cache_that_is_gone__leaves_what_the_run_itself_says(shapes, tmp_path):
    run = shutil.copytree(shapes / "run", tmp_path / "run")
    provenance = run / "provenance.json"
    provenance.write_text(provenance.read_text().replace(str(shapes / "cache"), str(tmp_path / "gone")))
    figures = report(target=run, out=tmp_path / "r.html")
    (sentence,) = figures["missing"]
    assert "is gone: say where it is now with --cache" in sentence
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "Recall of each class" in text
    assert "Most confused pairs" not in text
    found = report(target=run, out=tmp_path / "r.html", cache=shapes / "cache", map="pca")
    assert found["missing"] == []


def test_cache_that_has_other_rows_by_now__is_not_shown_as_the_runs(shapes, tmp_path):
    shutil.copytree(shapes / "photos", tmp_path / "photos")
    (tmp_path / "photos" / "circle" / "00.png").unlink()
    cache_features(source=tmp_path / "photos", out=tmp_path / "cache", model="builtin:tiny", device="cpu", index="none")
    (sentence,) = report(target=shapes / "run", out=tmp_path / "r.html", cache=tmp_path / "cache")["missing"]
    assert "holds other rows than those the run was fitted on" in sentence
    assert "Most confused pairs" not in (tmp_path / "r.html").read_text("utf-8")


def test_split_that_was_drawn_anew__is_not_shown_as_the_runs(feature_cache, tmp_path):
    """One that no protocol can draw again is compared by its sizes."""
    rows = np.arange(200)
    parts = {"unlabelled": rows[1::4], "test": rows[3::4]}
    cache = shutil.copytree(feature_cache, tmp_path / "cache")

    def write(labelled):
        split = Split(name="own", val=rows[:0], protocol={}, labelled=labelled, **parts)
        write_split(cache, split, FeatureCache.open(cache).fingerprint)

    write(rows[::2])
    run = fit(cache=cache, out=tmp_path / "run", split="own", method="lp").path
    assert len(report(target=run, out=tmp_path / "r.html", map="pca")["missing"]) == 1
    write(rows[2::2])
    assert "holds other rows by now" in report(target=run, out=tmp_path / "r.html")["missing"][0]


def test_without_test_rows__says_so_or_shows_what_folds_said(shapes, tmp_path):
    make_split(cache=shapes / "cache", name="untested", labelled_max=8, imbalance=4, unlabelled_max=10)
    run = fit(cache=shapes / "cache", out=tmp_path / "run", split="untested", method="lp").path
    (tmp_path / "run" / "cross_validated.csv").unlink(missing_ok=True)
    (sentence,) = report(target=run, out=tmp_path / "r.html", map="pca")["missing"]
    assert sentence.startswith("The run has no test rows, so nothing here says how often it is right")
    assert "Coverage" not in (tmp_path / "r.html").read_text("utf-8")

    cache = FeatureCache.open(shapes / "cache")
    labelled = cache.read_split("untested").labelled
    lines = ["path,label,confidence,circle,square,triangle"]
    for row in labelled.tolist():
        probabilities = np.full(3, 0.1)
        # Every circle is taken for a square.
        probabilities[1 if cache.labels[row] == 0 else cache.labels[row]] = 0.8
        lines.append(f"{cache.paths[row]},x,0.8,{','.join(map(str, probabilities))}")
    (run / "cross_validated.csv").write_text("\n".join(lines) + "\n")
    (sentence,) = report(target=run, out=tmp_path / "r.html", map="pca")["missing"]
    assert "cross-validated" in sentence
    text = (tmp_path / "r.html").read_text("utf-8")
    circles = int((cache.labels[labelled] == 0).sum())
    assert "circle taken for square" in text
    assert f"{circles} of {circles} left-out labelled images" in text

    (run / "cross_validated.csv").write_text("path,label,confidence,circle\nelsewhere.png,x,1,1\n")
    assert any(
        "cross_validated.csv does not fit" in line for line in report(target=run, out=tmp_path / "r.html")["missing"]
    )


def test_hostile_names__are_only_text(tmp_path, browser):
    generator = np.random.default_rng(2)
    labels = np.repeat(np.arange(5), 16)
    text = generator.normal(size=(5, 12)).astype(np.float32)
    np.savez(
        tmp_path / "hostile.npz",
        features=text[labels] + generator.normal(size=(80, 12)).astype(np.float32),
        labels=labels,
        text_features=text,
        class_names=np.array(HOSTILE),
        split=np.array(["train", "test"] * 40),
        paths=np.array([f"{HOSTILE[row % 5]}/{row}" for row in range(80)]),
    )
    import_features(file=tmp_path / "hostile.npz", out=tmp_path / "cache", index="none")
    run = fit(cache=tmp_path / "cache", out=tmp_path / "run <i>&amp;").path
    report(target=run, out=tmp_path / "r.html", map="pca")
    seen = look(browser, tmp_path / "r.html", width=360)
    assert (seen.asked, seen.complaints) == ([(tmp_path / "r.html").as_uri()], [])
    assert seen.width <= 360
    assert browser.title == "Run run <i>&amp; · ulfine"
    named = [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "table.sortable td:first-child")]
    # Blanks beside one another are one on a page.
    assert sorted(named) == sorted(" ".join(short(name, 40).split()) for name in HOSTILE)
    assert not browser.find_elements(By.CSS_SELECTOR, "b")
    assert "49" not in named


def test_neither_run_nor_comparison(tmp_path, shapes):
    with pytest.raises(UlfineError, match="gone does not exist"):
        report(target=tmp_path / "gone", out=tmp_path / "r.html")
    with pytest.raises(UlfineError, match="holds no run"):
        report(target=tmp_path, out=tmp_path / "r.html")
    for content, words in (
        ("no json", "it is no JSON file"),
        ("[1]", "is no comparison of `ulfine compare --json`"),
        ('{"split": "lt", "seeds": [0], "methods": []}', "methods: "),
        (
            '{"split": "lt", "seeds": [0], "methods": [{"method": "lp", "macro_accuracy": {"per_seed": [1, 2]}}]}',
            "one value",
        ),
        ('{"split": "lt", "seeds": [0], "methods": [{"method": "lp", "macro_accuracy": "high"}]}', "macro_accuracy"),
        ("[" * 100_000, "it is no JSON file"),
    ):
        (tmp_path / "c.json").write_text(content)
        with pytest.raises(UlfineError, match=words) as caught:
            report(target=tmp_path / "c.json", out=tmp_path / "r.html")
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="--cache has no meaning"):
        report(target=tmp_path / "c.json", out=tmp_path / "r.html", cache=shapes / "cache")
    with pytest.raises(UlfineError, match="is a directory"):
        report(target=shapes / "run", out=tmp_path)
    assert not (tmp_path / "r.html").exists()


def test_without_the_packages__one_line_says_what_to_install(shapes, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        UlfineError, match=r"^a report needs jinja2 and matplotlib: pip install 'ulfine-fast\[report\]'$"
    ):
        report(target=shapes / "run", out=tmp_path / "r.html")


def test_comparison__says_what_the_file_says(comparison, compared, browser):
    figures = json.loads(compared.read_text())
    look(browser, comparison)
    rows = [
        [cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
        for row in browser.find_elements(By.CSS_SELECTOR, "table.sortable tbody tr")
    ]
    for row, method in zip(rows, figures["methods"], strict=True):
        macro, difference = method["macro_accuracy"], method["difference"]
        assert row[:2] == [method["method"], f"{100 * macro['mean']:.1f} ± {100 * macro['std']:.1f}"]
        paired = f"{100 * difference['mean']:+.1f} ± {100 * difference['stderr']:.1f}"
        assert row[2] == (paired if method["method"] != "zero-shot" else "–")
    labels = [plot.get_attribute("aria-label") for plot in browser.find_elements(By.CSS_SELECTOR, "svg.plot")]
    assert labels[:3] == [
        "Paired difference in macro accuracy",
        "Paired difference in tail",
        "macro accuracy of each method",
    ]
    assert len(set(labels)) == len(labels)


def test_comparison__of_one_method_and_one_draw(shapes, tmp_path, browser):
    figures = compare(cache=shapes / "cache", split="lt", methods="lp", seeds=1)
    (tmp_path / "c.json").write_text(json.dumps(figures))
    report(target=tmp_path / "c.json", out=tmp_path / "c.html")
    seen = look(browser, tmp_path / "c.html")
    assert seen.complaints == []
    assert "Differences" not in browser.find_element(By.TAG_NAME, "main").text


def test_comparisons__several_on_one_page(compared, tmp_path, browser):
    figures = json.loads(compared.read_text())
    fewer = {**figures, "methods": figures["methods"][:2]}
    (tmp_path / "tasks.json").write_text(json.dumps({"tasks": {"<one>": figures, "two": fewer}, "bars": []}))
    report(target=tmp_path / "tasks.json", out=tmp_path / "c.html")
    seen = look(browser, tmp_path / "c.html")
    assert seen.complaints == []
    assert [summary.text for summary in browser.find_elements(By.TAG_NAME, "summary")] == ["<one>", "two"]
    rows = browser.find_elements(By.CSS_SELECTOR, "table.sortable")[0].find_elements(By.CSS_SELECTOR, "tbody tr")
    # Only methods of all comparisons can be averaged; each draw counts once.
    assert [row.text.split()[0] for row in rows] == ["zero-shot", "lp"]
    mean = np.mean(figures["methods"][1]["macro_accuracy"]["per_seed"] * 2)
    assert rows[1].text.split()[1] == f"{100 * mean:.1f}"


def test_many_rows__are_sampled_and_the_page_says_so(shapes, tmp_path, monkeypatch):
    monkeypatch.setattr(judged_rows, "MOST_ROWS", 12)
    (sentence,) = report(target=shapes / "run", out=tmp_path / "r.html", map="pca")["missing"]
    assert sentence == "Single answers are those of 12 of 30 rows, evenly chosen."


def test_large_run__stays_small(tmp_path, browser):
    """100 classes, 20,000 rows."""
    generator = np.random.default_rng(0)
    labels = np.arange(20_000) % 100
    means = generator.normal(size=(100, 16)).astype(np.float32)
    np.savez(
        tmp_path / "large.npz",
        features=means[labels] + generator.normal(size=(20_000, 16)).astype(np.float32),
        labels=labels,
        text_features=means,
        class_names=np.array([f"species number {k}" for k in range(100)]),
        paths=np.array([f"a/long/folder/of/pictures/{row:06d}.jpg" for row in range(20_000)]),
    )
    import_features(file=tmp_path / "large.npz", out=tmp_path / "cache", index="none")
    split = {"labelled_max": 40, "imbalance": 20, "unlabelled_max": 100, "test_per_class": 40}
    make_split(cache=tmp_path / "cache", name="lt", **split)
    run = fit(cache=tmp_path / "cache", out=tmp_path / "run", split="lt", method="zero-shot").path
    figures = report(target=run, out=tmp_path / "r.html", map="pca")
    # As much as galleries and the map may have, on top.
    assert figures["bytes"] + 2 * BUDGET < 5_000_000
    seen = look(browser, tmp_path / "r.html", width=360)
    assert seen.complaints == []
    assert seen.width <= 360
    assert len(browser.find_elements(By.CSS_SELECTOR, "table.sortable tbody tr")) == 100
