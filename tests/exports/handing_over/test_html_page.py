"""A page with a model inside, opened from the disk in a real browser: it answers as Python does and asks nobody."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.exports.conftest import draw_shape
from tests.exports.pages.headless import look, requests
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_exports.export import export_onnx
from ulfine_exports.graphs.accepted_output import add_accepted
from ulfine_exports.graphs.outlier_output import add_outlier_score
from ulfine_exports.handing_over import html_page, page_precision
from ulfine_exports.handing_over.browser_runtime import VERSION, runtime_binary, runtime_script
from ulfine_exports.metadata import ExportMetadata
from ulfine_exports.predict import predict
from ulfine_fast.judging.outlier_score import OutlierScale

SEVERAL = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("handed-over")


@pytest.fixture(scope="module")
def run(photographs, pixel_run, folder) -> Path:
    from ulfine_fast.fitting import fit

    return fit(cache=pixel_run.parent / "cache", out=folder / "run", method="ulfine", target_accuracy=0.6).path


@pytest.fixture(scope="module")
def exported(run, folder) -> dict:
    return export_onnx(run=run, onnx=folder / "shapes.onnx", html=folder / "shapes.html", max_drop=100.0)


@pytest.fixture(scope="module")
def pictures(folder) -> list[Path]:
    """What people drop: upright and turned, large, see-through, of a camera and of a screen."""
    place, generator = folder / "pictures", np.random.default_rng(0)
    place.mkdir()
    for number, shape in enumerate(("circle", "square", "triangle")):
        draw_shape(shape, generator, (90, 70)).save(place / f"{number}.png")
    turned = draw_shape("triangle", generator, (90, 70)).resize((900, 700))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(place / "turned.jpg", exif=exif, quality=95)
    seen_through = draw_shape("circle", generator).convert("RGBA")
    seen_through.putalpha(Image.fromarray(generator.integers(0, 256, (70, 90), dtype=np.uint8)))
    seen_through.save(place / "seen-through.png")
    draw_shape("square", generator).resize((6000, 4000)).save(place / "large.jpg")
    draw_shape("circle", generator).convert("L").save(place / "=grey.png")
    Image.new("RGB", (1, 300), "white").save(place / "thin, and so on.png")
    return sorted(place.iterdir())


def choose(page, files):
    page.browser.find_element(By.ID, "file").send_keys("\n".join(str(file.absolute()) for file in files))
    WebDriverWait(page.browser, 120, poll_frequency=0.05).until(lambda _: text(page, "status").startswith("Done"))
    return page.browser.find_elements(By.CSS_SELECTOR, "article")


def text(page, name: str) -> str:
    return page.browser.find_element(By.ID, name).text


def table(page) -> list[dict[str, str]]:
    """What the button writes to the disk."""
    found = page.browser.execute_async_script(
        """
        const done = arguments[0], make = URL.createObjectURL;
        URL.createObjectURL = (blob) => { blob.text().then(done); URL.createObjectURL = make; return make(blob); };
        document.getElementById("csv").click();
        """
    )
    return list(csv.DictReader(io.StringIO(found)))


def _rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text("utf-8"))))


def test_page__answers_as_python_does(browser, exported, pictures, folder):
    assert exported["precision"] == "int8"
    assert exported["html_bytes"] == (folder / "shapes.html").stat().st_size < html_page.MOST_BYTES
    assert exported["html_weights"] is None
    page = look(browser, folder / "shapes.html")
    assert browser.title == "shapes · ulfine"
    assert text(page, "about") == f"3 classes · ulfine · builtin:tiny · int8 · onnxruntime-web {VERSION}"
    cards = choose(page, pictures)
    assert len(cards) == len(pictures)
    predict(model=folder / "shapes.onnx", inputs=pictures, out=folder / "python.csv")
    expected = {Path(row["path"].lstrip("'")).name: row for row in _rows(folder / "python.csv")}
    rows = table(page)
    assert [row["path"].lstrip("'") for row in rows] == [picture.name for picture in pictures]
    assert "'=grey.png" in [row["path"] for row in rows]
    assert list(rows[0]) == list(next(iter(expected.values())))
    for row in rows:
        other = expected[row["path"].lstrip("'")]
        # A browser's decoder of JPEG is Pillow's; transparency is laid on white with other roundings.
        for name in ("circle", "square", "triangle", "confidence"):
            assert float(row[name]) == pytest.approx(float(other[name]), abs=2e-3), row["path"]
        assert (row["label"], row["accepted"]) == (other["label"], other["accepted"])
    # The log of requests, for all that happened since the page was opened.
    assert [*page.asked, *requests(browser)] == [(folder / "shapes.html").as_uri()]
    assert page.complaints == []
    assert page.broken_pictures == 0


def test_page__most_doubtful_first_and_marked(browser, exported, pictures, folder):
    page = look(browser, folder / "shapes.html")
    (folder / "notes.txt").write_text("no picture")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    cards = choose(page, [folder / "notes.txt", *pictures, folder / "broken.png"])
    for card in cards[:2]:
        assert card.find_element(By.TAG_NAME, "h2").text == "Not classified"
        assert "not a picture that this browser can read" in card.find_element(By.CSS_SELECTOR, ".error").text
    said = [card.find_element(By.TAG_NAME, "h2").text for card in cards[2:]]
    marked = ["doubtful" in card.get_attribute("class") for card in cards[2:]]
    sure = [float(re.findall(r"([\d.]+) %", line)[0]) for line in said]
    assert sure == sorted(sure)
    assert marked == sorted(marked, reverse=True)
    rows = table(page)
    assert sum(marked) == sum(row["accepted"] == "no" for row in rows)
    assert text(page, "summary") == (
        f"{len(cards)} pictures, the most doubtful first; {sum(marked)} below the threshold of this model; "
        "2 could not be read."
    )


def test_page__threshold_of_each_class(browser, exported, pictures, folder):
    """The graph decides, and the page says by what."""
    model = onnx.load(folder / "shapes.onnx")
    graph = model.graph
    for part in (graph.node, graph.initializer, graph.output):
        for item in [item for item in part if f"{item.name} {getattr(item, 'output', '')}".count("accepted")]:
            part.remove(item)
    thresholds = (2.0, 0.999, 0.0)
    add_accepted(model, thresholds)
    names = ("circle", "square", "triangle")
    metadata = ExportMetadata(
        input="image",
        class_names=names,
        n_features=4,
        acceptance_threshold=0.5,
        acceptance_class_thresholds=thresholds,
    )
    html_page.write_html(folder / "by-class.html", model.SerializeToString(), metadata)
    page = look(browser, folder / "by-class.html")
    cards = choose(page, pictures)
    for card in cards:
        label, shown = card.find_element(By.TAG_NAME, "h2").text.split(", ")
        doubt = card.find_element(By.CSS_SELECTOR, ".doubt").text
        confidence = float(shown.removesuffix(" %")) / 100
        if label == "square" and confidence < 0.99:
            assert doubt == "Not sure enough: below 99.9 %, the threshold of square."
        elif label != "square":
            assert doubt == ("Not sure enough: no answer circle of this model is." if label == "circle" else "")
    rows = table(page)
    assert {row["label"] for row in rows} == set(names)
    least = dict(zip(names, thresholds, strict=True))
    assert [row["accepted"] == "yes" for row in rows] == [float(r["confidence"]) >= least[r["label"]] for r in rows]
    assert "below the threshold of their class" in text(page, "summary")
    assert page.complaints == []


def test_page__says_what_is_unlike_every_class(browser, exported, pictures, folder):
    model = onnx.load(folder / "shapes.onnx")
    add_outlier_score(model, OutlierScale(-2.0, -1.5))
    keys = {item.key: item.value for item in model.metadata_props if item.key != "content_sha256"}
    onnx.helper.set_model_props(model, {**keys, "outlier_known_share": "0.95"})
    onnx.save(model, folder / "strange.onnx")
    metadata = ExportMetadata.from_props({**keys, "outlier_known_share": "0.95"}, "strange")
    html_page.write_html(folder / "strange.html", model.SerializeToString(), metadata)
    page = look(browser, folder / "strange.html")
    cards = choose(page, pictures)
    predict(model=folder / "strange.onnx", inputs=pictures, out=folder / "strange.csv")
    expected = {Path(row["path"].lstrip("'")).name: row for row in _rows(folder / "strange.csv")}
    rows = table(page)
    assert list(rows[0]) == list(next(iter(expected.values())))
    scores = {row["path"].lstrip("'"): float(row["outlier_score"]) for row in rows}
    for name, score in scores.items():
        assert score == pytest.approx(float(expected[name]["outlier_score"]), abs=0.05), name
    strange = {name for name, score in scores.items() if score > 1}
    assert 0 < len(strange) < len(scores)
    for card in cards:
        doubt = card.find_element(By.CSS_SELECTOR, ".doubt").text
        assert doubt.startswith("Unlike every class") == (card.find_element(By.CSS_SELECTOR, ".file").text in strange)
    assert f"{len(strange)} unlike every class" in text(page, "summary")
    assert page.complaints == []


def test_page__several_hundred_at_once(browser, exported, folder):
    """In two drops, the second while the first is at work; nothing is lost, and pictures are kept small."""
    place, generator = folder / "many", np.random.default_rng(1)
    place.mkdir()
    files = [place / f"{number:03d}.png" for number in range(SEVERAL)]
    for number, file in enumerate(files):
        draw_shape(("circle", "square")[number % 2], generator).save(file)
    page = look(browser, folder / "shapes.html")
    chooser = browser.find_element(By.ID, "file")
    for part in (files[: SEVERAL // 2], files[SEVERAL // 2 :]):
        chooser.send_keys("\n".join(map(str, part)))
    WebDriverWait(browser, 120, poll_frequency=0.1).until(
        lambda _: text(page, "summary").startswith(f"{SEVERAL} pictures")
    )
    assert [row["path"] for row in table(page)] == [file.name for file in files]
    assert len(browser.find_elements(By.CSS_SELECTOR, "article img[src^='data:image/']")) == SEVERAL
    assert page.complaints == []


def test_page__with_a_large_model_beside_it(browser, exported, folder, pictures, monkeypatch):
    monkeypatch.setattr(html_page, "MOST_BYTES", 6_000_000)
    monkeypatch.setattr(html_page, "_PIECE", 300_000)
    place = folder / "two files"
    place.mkdir()
    metadata = ExportMetadata(input="image", class_names=("circle", "square", "triangle"), n_features=4)
    figures = html_page.write_html(place / "large.html", (folder / "shapes.onnx").read_bytes(), metadata)
    assert figures["html_weights"] == str(place / "large.weights.js")
    page = look(browser, place / "large.html")
    (card,) = choose(page, pictures[:1])
    assert "%" in card.find_element(By.TAG_NAME, "h2").text
    assert {*page.asked, *requests(browser)} == {path.as_uri() for path in place.iterdir()}
    assert page.complaints == []
    (place / "large.weights.js").write_text('ulfineWeights({"digest": "of another", "parts": []});')
    page = look(browser, place / "large.html")
    WebDriverWait(browser, 30).until(lambda _: "is of another page" in text(page, "status"))
    (place / "large.weights.js").unlink()
    page = look(browser, place / "large.html")
    WebDriverWait(browser, 30).until(lambda _: "must lie in the same folder" in text(page, "status"))
    assert not browser.find_element(By.ID, "file").is_enabled()


def test_page__names_that_would_break_it(browser, exported, folder):
    names = ("</script><b>", "=1+1", "label")
    metadata = ExportMetadata(input="image", class_names=names, n_features=4, acceptance_threshold=0.5)
    html_page.write_html(folder / "odd #%.html", (folder / "shapes.onnx").read_bytes(), metadata)
    page = look(browser, folder / "odd #%.html")
    choose(page, [folder / "pictures" / "0.png"])
    (row,) = table(page)
    assert set(row) == {"path", "label", "confidence", "accepted", "</script><b>", "'=1+1", "class label"}
    assert page.complaints == []


def test_page__same_file_same_bytes(exported, folder):
    content = (folder / "shapes.onnx").read_bytes()
    metadata = ExportMetadata.from_props(
        {item.key: item.value for item in onnx.load_from_string(content).metadata_props}, "shapes"
    )
    (folder / "again").mkdir()
    html_page.write_html(folder / "again" / "shapes.html", content, metadata)
    assert (folder / "again" / "shapes.html").read_bytes() == (folder / "shapes.html").read_bytes()


def test_precision__that_costs_too_much(monkeypatch):
    """int8 is not worth an error where nobody asked for it."""

    def lower(model, precision, rows, *, max_drop, floats):
        if precision == "int8":
            raise UlfineError("int8 was not written: macro accuracy falls by 9 points on 3 test rows, and so on")
        return precision, floats

    told: list[str] = []
    progress = type("Told", (), {"note": lambda _, line: told.append(line)})()
    monkeypatch.setattr(page_precision, "lower_precision", lower)
    assert page_precision.page_precision(None, None, None, 0.5, progress) == ("fp16", True)
    assert told == ["int8 was not written: macro accuracy falls by 9 points: fp16 instead"]
    with pytest.raises(UlfineError, match="int8 was not written"):
        page_precision.page_precision(None, "int8", None, 0.5, progress)


def test_page__that_cannot_be(run, folder):
    with pytest.raises(UsageError, match="--html needs --input image"):
        export_onnx(run=run, html=folder / "no.html", input="features")
    with pytest.raises(UsageError, match=r"must end in \.html"):
        export_onnx(run=run, html=folder / "no.txt")
    (folder / "directory.html").mkdir()
    with pytest.raises(UlfineError, match="is a directory"):
        export_onnx(run=run, html=folder / "directory.html")


def test_runtime__is_whole():
    assert runtime_binary()[:4] == b"\0asm"
    script = runtime_script()
    assert f"ONNX Runtime Web v{VERSION}" in script[:200]
    assert "export{" not in script
    assert "InferenceSession:" in script.rsplit("globalThis.ort=", 1)[1]
