"""Answers of a model with a threshold, which says itself what is sure enough."""

from pathlib import Path

import onnx
import pytest

from tests.exports.serve.conftest import png
from ulfine_exports.graphs.accepted_output import add_accepted


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
