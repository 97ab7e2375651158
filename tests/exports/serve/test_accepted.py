"""Answers of a model with a threshold, which says itself what is sure enough."""

import json
from pathlib import Path

import onnx
import pytest

from tests.exports.serve.conftest import png
from ulfine_exports.graphs.accepted_output import add_accepted
from ulfine_exports.onnx_classifier import OnnxClassifier
from ulfine_exports.predict import predict
from ulfine_exports.sort import sort


@pytest.fixture(scope="module")
def doubtful_onnx(colours_onnx, tmp_path_factory) -> Path:
    """Colours, of which it is sure where they are bright."""
    model = add_accepted(onnx.load(colours_onnx), 0.8)
    metadata = model.metadata_props.add()
    metadata.key, metadata.value = "acceptance_threshold", "0.8"
    path = tmp_path_factory.mktemp("doubtful") / "doubtful.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_classify__says_what_is_accepted(start, doubtful_onnx):
    server = start(doubtful_onnx)
    answers = [server.ask("POST", "/classify", png(colour)).json["images"][0] for colour in ("blue", "grey", "red")]
    assert [answer["accepted"] for answer in answers] == [answer["confidence"] >= 0.8 for answer in answers]
    assert {answer["accepted"] for answer in answers} == {True, False}
    assert server.metric("ulfine_accepted_total") == 3
    assert server.metric('ulfine_accepted_total{accepted="yes"}') == sum(answer["accepted"] for answer in answers)
    assert server.metric("ulfine_confidence_count") == 3
    labels = [answer["label"] for answer in answers]
    for label in set(labels):
        assert server.metric(f'ulfine_answers_total{{class="{label}"}}') == labels.count(label)
    described = server.get("/v2/models/doubtful").json
    assert "accepted" not in [tensor["name"] for tensor in described["outputs"]]


@pytest.fixture(scope="module")
def by_class_onnx(colours_onnx, doubtful_onnx, tmp_path_factory) -> Path:
    """The same, where what it takes grey for is never accepted, and everything else always."""
    names = OnnxClassifier(colours_onnx).class_names
    grey = OnnxClassifier(colours_onnx).predict([png("grey")])[0]
    thresholds = [2.0 if name == grey else 0.0 for name in names]
    model = add_accepted(onnx.load(colours_onnx), thresholds)
    for key, value in (("acceptance_threshold", "0.8"), ("acceptance_class_thresholds", json.dumps(thresholds))):
        metadata = model.metadata_props.add()
        metadata.key, metadata.value = key, value
    path = tmp_path_factory.mktemp("by-class") / "by_class.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_classify__by_the_threshold_of_the_class(start, by_class_onnx):
    server = start(by_class_onnx)
    answers = [server.ask("POST", "/classify", png(colour)).json["images"][0] for colour in ("blue", "grey", "red")]
    refused = answers[1]["label"]
    assert [answer["threshold"] for answer in answers] == [2.0 if a["label"] == refused else 0.0 for a in answers]
    assert [answer["accepted"] for answer in answers] == [answer["label"] != refused for answer in answers]
    assert {answer["accepted"] for answer in answers} == {True, False}
    assert server.metric('ulfine_accepted_total{accepted="yes"}') == sum(answer["accepted"] for answer in answers)


def test_predict__to_a_folder_by_the_threshold_of_the_class(by_class_onnx, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    photos = tmp_path / "photos"
    photos.mkdir()
    for colour in ("blue", "grey", "red"):
        (photos / f"{colour}.png").write_bytes(png(colour, (60, 60)))
    found = predict(model=by_class_onnx, inputs=[photos], out=tmp_path / "parts")
    table = parquet.read_table(tmp_path / "parts" / "part-00000.parquet").to_pydict()
    thresholds = found.figures()["class_thresholds"]
    assert table["accepted"] == [thresholds[label] < 1 for label in table["label"]]
    assert set(table["accepted"]) == {True, False}


def test_sort__by_the_threshold_of_the_class(by_class_onnx, doubtful_onnx, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for colour in ("blue", "grey", "red"):
        (photos / f"{colour}.png").write_bytes(png(colour, (60, 60)))
    found = sort(model=by_class_onnx, photos=[photos], out=tmp_path / "sorted")
    refused = [name for name, least in found["class_thresholds"].items() if least > 1]
    answers = predict(model=by_class_onnx, inputs=[photos])
    assert found["doubtful_images"] == answers.labels.count(refused[0]) > 0
    assert refused[0] not in found["classes"]
    assert found["images"] == 3
    # What is asked for is for all classes.
    asked = sort(model=by_class_onnx, photos=[photos], out=tmp_path / "asked", doubtful=0.0)
    assert (asked["doubtful_images"], "class_thresholds" in asked) == (0, False)
    assert "class_thresholds" not in sort(model=doubtful_onnx, photos=[photos], out=tmp_path / "one")


def test_classify__without_a_threshold_is_as_before(colours):
    assert "accepted" not in colours.ask("POST", "/classify", png("blue")).json["images"][0]


def test_page__marks_what_is_doubtful(start, doubtful_onnx, tmp_path):
    from tests.exports.pages.headless import CHROMIUM, DRIVER, headless

    if not (CHROMIUM and DRIVER):
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    from tests.exports.serve.test_page import choose, wait

    server = start(doubtful_onnx)
    for colour in ("blue", "grey"):
        (tmp_path / f"{colour}.png").write_bytes(png(colour, (60, 60)))
    with headless() as browser:
        browser.get(server.url)
        wait(browser, lambda: browser.title.startswith("doubtful"))
        cards = choose(browser, tmp_path / "blue.png", tmp_path / "grey.png")
        marked = {
            card.find_element("css selector", ".file").text: card.find_element("css selector", ".doubt").is_displayed()
            for card in cards
        }
    assert marked == {"blue.png": False, "grey.png": True}


def test_page__says_which_threshold(start, by_class_onnx, tmp_path):
    from tests.exports.pages.headless import CHROMIUM, DRIVER, headless

    if not (CHROMIUM and DRIVER):
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    from tests.exports.serve.test_page import choose, wait

    server = start(by_class_onnx)
    (tmp_path / "grey.png").write_bytes(png("grey", (60, 60)))
    with headless() as browser:
        browser.get(server.url)
        wait(browser, lambda: browser.title.startswith("by_class"))
        (card,) = choose(browser, tmp_path / "grey.png")
        label = card.find_element("css selector", "h2").text.split(",")[0]
        doubt = card.find_element("css selector", ".doubt").text
        summary = browser.find_element("id", "summary").text
    assert doubt == f"Not sure enough: no answer {label} of this model is."
    assert "1 below the threshold of their class" in summary
