"""Answers of a model that says how unlike every class a picture is."""

import json

import onnx
import pytest

from tests.exports.serve.conftest import png
from ulfine_exports.graphs.outlier_output import add_outlier_score
from ulfine_exports.predict import predict
from ulfine_exports.sort import sort
from ulfine_fast.judging.outlier_score import OutlierScale


@pytest.fixture(scope="module")
def scoring_onnx(colours_onnx, tmp_path_factory):
    """Colours: dark pictures, whose logits are low, are strange."""
    model = add_outlier_score(onnx.load(colours_onnx), OutlierScale(-6.0, -2.5))
    metadata = model.metadata_props.add()
    metadata.key, metadata.value = "outlier_known_share", "0.95"
    path = tmp_path_factory.mktemp("scoring") / "scoring.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored-photos")
    for colour in ("blue", "black", "white"):
        (folder / f"{colour}.png").write_bytes(png(colour, (60, 60)))
    return folder


@pytest.fixture(scope="module")
def expected(scoring_onnx, photos):
    """Score by file name."""
    found = predict(model=scoring_onnx, inputs=[photos])
    scores = dict(zip([path.rpartition("/")[2] for path in found.paths], found.outlier_scores.tolist(), strict=True))
    assert [name for name, score in scores.items() if score > 1] == ["black.png"]
    return scores


def test_classify__gives_the_score(start, scoring_onnx, photos, expected):
    server = start(scoring_onnx)
    for name, score in expected.items():
        answer = server.ask("POST", "/classify", (photos / name).read_bytes()).json["images"][0]
        assert answer["outlier_score"] == pytest.approx(score, abs=1e-5)


def test_infer__the_score_is_an_output(start, scoring_onnx):
    server = start(scoring_onnx)
    described = server.get("/v2/models/scoring").json["outputs"]
    assert described[-1] == {"name": "outlier_score", "datatype": "FP32", "shape": [-1]}
    assert server.get("/v2/models/scoring/config").json["output"][-1]["dims"] == []

    def infer(rows, **more):
        data = [0.0] * (192 * rows)
        one = {"name": "pixels", "shape": [rows, 3, 8, 8], "datatype": "FP32", "data": data}
        return server.ask("POST", "/v2/models/scoring/infer", json.dumps({"inputs": [one], **more}).encode())

    for rows in (0, 1, 3):
        answer = infer(rows).json["outputs"]
        assert [tensor["shape"] for tensor in answer][-1] == [rows]
        assert answer[0]["shape"] == [rows, 3]
    (only,) = infer(2, outputs=[{"name": "outlier_score"}]).json["outputs"]
    assert only["data"][0] == only["data"][1] > 1
    refused = infer(2, outputs=[{"name": "outlier_score", "parameters": {"classification": 1}}])
    assert refused.status == 400
    assert refused.json["error"] == "the output 'outlier_score' is one number a row: it has no classification"


def test_classify__without_a_score_is_as_before(colours):
    assert "outlier_score" not in colours.ask("POST", "/classify", png("blue")).json["images"][0]


def test_predict__to_a_folder(scoring_onnx, photos, expected, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    predict(model=scoring_onnx, inputs=[photos], out=tmp_path / "parts", part_size=2)
    tables = [parquet.read_table(path).to_pydict() for path in sorted((tmp_path / "parts").glob("*.parquet"))]
    found = {name: score for table in tables for name, score in zip(table["path"], table["outlier_score"], strict=True)}
    assert found == pytest.approx(expected, abs=1e-5)


def test_sort__strangers_are_doubtful_however_sure_the_answer_is(scoring_onnx, photos, tmp_path):
    found = sort(model=scoring_onnx, photos=[photos], out=tmp_path / "sorted")
    assert (tmp_path / "sorted" / "doubtful" / "black.png").is_file()
    # What is asked for is about confidence alone.
    asked = sort(model=scoring_onnx, photos=[photos], out=tmp_path / "asked", doubtful=0.0)
    assert (asked["doubtful_images"], found["images"]) == (0, 3)


def test_page__marks_what_is_unlike_every_class(start, scoring_onnx, photos):
    from tests.exports.pages.headless import CHROMIUM, DRIVER, headless

    if not (CHROMIUM and DRIVER):
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    from tests.exports.serve.test_page import choose, wait

    server = start(scoring_onnx)
    with headless() as browser:
        browser.get(server.url)
        wait(browser, lambda: browser.title.startswith("scoring"))
        first, *others = choose(browser, photos / "blue.png", photos / "black.png")
        assert first.find_element("css selector", ".file").text == "black.png"
        doubt = first.find_element("css selector", ".doubt")
        assert doubt.is_displayed()
        assert doubt.text.startswith("Unlike every class: outlier score ")
        assert not others[0].find_element("css selector", ".doubt").is_displayed()
        assert "1 unlike every class" in browser.find_element("id", "summary").text
