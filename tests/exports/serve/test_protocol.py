"""The Open Inference Protocol v2, through NVIDIA's client and byte by byte."""

import json

import numpy as np
import pytest

from tests.exports.serve.conftest import tree_weights

client_module = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")

ROWS = np.random.default_rng(1).standard_normal((5, 16)).astype(np.float32)


def expected(rows=ROWS):
    logits = rows.astype(np.float64) @ tree_weights()
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True), logits


@pytest.fixture
def client(trees):
    client = client_module.InferenceServerClient(trees.url.removeprefix("http://"))
    yield client
    client.close()


def tensor(rows, binary):
    tensor = client_module.InferInput("features", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return tensor


def request(**changes):
    item = {"name": "features", "shape": [1, 16], "datatype": "FP32", "data": [0.5] * 16} | changes
    return {"inputs": [{key: value for key, value in item.items() if value is not ...}]}


def test_client__health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("trees")
    assert client.is_model_ready("trees", "1")
    assert not client.is_model_ready("other")
    assert not client.is_model_ready("trees", "2")
    assert client.get_server_metadata()["extensions"] == [
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "statistics",
    ]
    assert client.get_model_metadata("trees") == client.get_model_metadata("trees", "1")
    assert client.get_model_metadata("trees") == {
        "name": "trees",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 16]}],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 4]},
            {"name": "logits", "datatype": "FP32", "shape": [-1, 4]},
        ],
    }


@pytest.mark.parametrize("binary", [True, False])
def test_client__all_outputs(client, binary):
    answer = client.infer("trees", [tensor(ROWS, binary)], request_id="seven")
    probabilities, logits = expected()
    assert np.allclose(answer.as_numpy("probabilities"), probabilities, atol=1e-6)
    assert np.allclose(answer.as_numpy("logits"), logits, atol=1e-5)
    assert answer.get_response()["id"] == "seven"
    assert answer.get_response()["model_version"] == "1"


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_client__one_output(client, binary_in, binary_out):
    wanted = [client_module.InferRequestedOutput("logits", binary_data=binary_out)]
    answer = client.infer("trees", [tensor(ROWS, binary_in)], outputs=wanted, model_version="1")
    assert np.allclose(answer.as_numpy("logits"), expected()[1], atol=1e-5)
    assert answer.as_numpy("probabilities") is None


@pytest.mark.parametrize("binary", [True, False])
def test_client__classification_beside_a_tensor(client, binary):
    wanted = [
        client_module.InferRequestedOutput("probabilities", binary_data=binary, class_count=2),
        client_module.InferRequestedOutput("logits", binary_data=not binary),
    ]
    answer = client.infer("trees", [tensor(ROWS, binary)], outputs=wanted)
    names = ("ash", "birch", "cedar", "date palm")
    texts = answer.as_numpy("probabilities")
    assert texts.shape == (5, 2)
    for row, probabilities in zip(texts, expected()[0], strict=True):
        for text, index in zip(row, np.argsort(-probabilities), strict=False):
            score, place, name = (text.decode() if isinstance(text, bytes) else text).split(":")
            assert (int(place), name) == (index, names[index])
            assert float(score) == pytest.approx(probabilities[index], abs=1e-5)
    assert np.allclose(answer.as_numpy("logits"), expected()[1], atol=1e-5)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_client__compressed(client, algorithm):
    answer = client.infer("trees", [tensor(ROWS, True)], request_compression_algorithm=algorithm)
    assert np.allclose(answer.as_numpy("logits"), expected()[1], atol=1e-5)


def test_client__more_rows_than_a_batch(client):
    rows = np.random.default_rng(2).standard_normal((100, 16)).astype(np.float32)
    answer = client.infer("trees", [tensor(rows, True)])
    assert np.allclose(answer.as_numpy("probabilities"), expected(rows)[0], atol=1e-6)


def test_client__many_at_once(trees):
    """Each gets its own rows back, however they were put together."""
    client = client_module.InferenceServerClient(trees.url.removeprefix("http://"), concurrency=8)
    parts = [np.random.default_rng(seed).standard_normal((1 + seed % 7, 16)).astype(np.float32) for seed in range(40)]
    waiting = [client.async_infer("trees", [tensor(part, True)]) for part in parts]
    for part, answer in zip(parts, waiting, strict=True):
        assert np.allclose(answer.get_result().as_numpy("logits"), expected(part)[1], atol=1e-5)
    client.close()


def test_client__refusals_are_its_exceptions(client):
    for rows, line in ((ROWS[:, :3], r"\[400\] features has shape \[5, 3\]: it takes \[-1, 16\]"),):
        with pytest.raises(client_module.InferenceServerException, match=line):
            client.infer("trees", [tensor(np.ascontiguousarray(rows), True)])
    with pytest.raises(client_module.InferenceServerException, match=r"\[404\] there is no model 'other'"):
        client.infer("other", [tensor(ROWS, True)])


def test_client__pictures_as_pixels(colours):
    client = client_module.InferenceServerClient(colours.url.removeprefix("http://"))
    pixels = np.zeros((2, 3, 8, 8), np.float32)
    pixels[0, 0] = pixels[1, 1] = 1
    item = client_module.InferInput("pixels", [2, 3, 8, 8], "FP32")
    item.set_data_from_numpy(pixels)
    answer = client.infer("colours", [item])
    assert answer.as_numpy("probabilities").argmax(axis=1).tolist() == [0, 1]
    assert np.allclose(answer.as_numpy("logits_text") + answer.as_numpy("logits_probe"), answer.as_numpy("logits"))
    client.close()


def test_json__nested_data_and_flat_data_alike(trees):
    nested = trees.infer("trees", request(shape=[2, 16], data=ROWS[:2].tolist()))
    flat = trees.infer("trees", request(shape=[2, 16], data=ROWS[:2].ravel().tolist()))
    assert nested.status == 200
    assert nested.json == flat.json
    assert [output["shape"] for output in nested.json["outputs"]] == [[2, 4], [2, 4]]
    assert nested.headers["content-type"] == "application/json"


def test_json__no_rows(trees):
    answer = trees.infer("trees", request(shape=[0, 16], data=[]))
    assert [(output["shape"], output["data"]) for output in answer.json["outputs"]] == [([0, 4], [])] * 2


def test_json__unknown_keys_are_left_alone(trees):
    answer = trees.infer("trees", request() | {"parameters": {"sequence_id": 3}, "other": [1]})
    assert answer.status == 200


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"name": "pixels"}, "takes exactly one, 'features'"),
        ({"shape": [1, 15]}, "has shape [1, 15]: it takes [-1, 16]"),
        ({"shape": [16]}, "has shape [16]"),
        ({"shape": [-1, 16]}, "has -1 rows: send at most"),
        ({"shape": [1, 16.0]}, "has shape [1, 16.0]"),
        ({"shape": [True, 16]}, "has shape [True, 16]"),
        ({"shape": "16"}, "shape of features is '16': it takes a list"),
        ({"shape": [10**30, 16]}, "rows: send at most"),
        ({"shape": [2, 16]}, "has data of shape [16]: shape [2, 16] is asked for"),
        ({"datatype": "FP64"}, "has datatype 'FP64': it takes FP32"),
        ({"datatype": ...}, "datatype of features is missing: it takes text"),
        ({"data": ["0.5"] * 16}, "data that are no FP32 numbers"),
        ({"data": [True] * 16}, "data that are no FP32 numbers"),
        ({"data": [None] * 16}, "data that are no FP32 numbers"),
        ({"data": [10**400] + [0] * 15}, "data that are no FP32 numbers"),
        ({"data": [1e300] * 16}, "NaN or infinite"),
        ({"data": [[0.5] * 8, [0.5] * 9]}, "uneven lengths"),
        ({"data": [[0.5] * 8] * 2}, "has data of shape [2, 8]"),
        ({"data": "AAAA"}, "neither data nor binary_data_size"),
        ({"data": ...}, "neither data nor binary_data_size"),
        ({"parameters": {"binary_data_size": 64}}, "both as data and as binary_data_size"),
        ({"data": ..., "parameters": {"binary_data_size": 64}}, "0 bytes follow the JSON"),
        ({"data": ..., "parameters": {"binary_data_size": "64"}}, "binary_data_size '64'"),
    ],
)
def test_json__wrong_tensor(trees, changes, line):
    answer = trees.infer("trees", request(**changes))
    assert line in answer.refused(413 if "send at most" in line else 400)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "inputs of the request is missing"),
        (b'{"inputs": [7]}', "an input is 7: it takes a JSON object"),
        (json.dumps(request() | {"id": 7}).encode(), "id is 7"),
        (json.dumps(request() | {"outputs": {}}).encode(), "outputs of the request is {}: it takes a list"),
        (json.dumps(request() | {"parameters": None}).encode(), "parameters of the request is None"),
        (b"\xff\xfe", "no JSON"),
        (b'{"inputs": []}', "the inputs are []"),
        (b'{"inputs": [{}]}', "name of an input is missing"),
        (b"[" * 100_000, "no JSON"),
        (b'{"inputs": [{"name": "features", "shape": [1, 16], "datatype": "FP32", "data": [NaN]}]}', "no JSON"),
        (json.dumps(request() | {"outputs": [{"name": "other"}]}).encode(), "there is no output 'other'"),
        (json.dumps(request() | {"parameters": {"binary_data_output": 1}}).encode(), "it takes true or false"),
        (
            json.dumps(request() | {"outputs": [{"name": "logits", "parameters": {"classification": -1}}]}).encode(),
            "classification is -1",
        ),
    ],
)
def test_json__wrong_request(trees, body, line):
    assert line in trees.infer("trees", body).refused(400)


@pytest.mark.parametrize(
    ("length", "line"),
    [("9999", "the body has"), ("-1", "takes the number of bytes"), ("ten", "takes the number"), ("3", "no JSON")],
)
def test_binary__wrong_header_length(trees, length, line):
    headers = {"Inference-Header-Content-Length": length}
    answer = trees.ask("POST", "/v2/models/trees/infer", json.dumps(request()).encode(), headers)
    assert line in answer.refused(400)


def test_binary__nan_and_short_tensors(trees):
    text = json.dumps(request(data=..., parameters={"binary_data_size": 64})).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    nan = np.full(16, np.nan, np.float32).tobytes()
    assert "NaN" in trees.ask("POST", "/v2/models/trees/infer", text + nan, headers).refused(400)
    for wrong in (nan[:60], nan * 2, b""):
        answer = trees.ask("POST", "/v2/models/trees/infer", text + wrong, headers)
        assert f"{len(wrong)} bytes follow" in answer.refused(400)


def test_routes__elsewhere_and_other_methods(trees):
    assert "lists what there is" in trees.get("/v2/models").refused(404)
    assert "GET" in trees.ask("POST", "/v2").headers["allow"]
    assert trees.ask("DELETE", "/v2/models/trees/infer").status == 405
    assert trees.get("/v2/models/other").status == 404
    assert trees.ask("POST", "/v2/models/trees/versions/2/infer", b"{}").status == 404


def test_more_rows_than_the_queue(start, trees_onnx):
    server = start(trees_onnx, max_queue=4)
    answer = server.infer("trees", request(shape=[5, 16], data=ROWS.tolist()))
    assert "has 5 rows: send at most 4" in answer.refused(413)
    assert server.infer("trees", request(shape=[4, 16], data=ROWS[:4].tolist())).status == 200


def test_client__images_of_any_size(start, painting_onnx):
    server = start(painting_onnx)
    client = client_module.InferenceServerClient(server.url.removeprefix("http://"))
    assert client.get_model_metadata("painting")["inputs"] == [
        {"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}
    ]
    for shape in ((2, 5, 9, 3), (1, 300, 200, 3)):
        images = np.zeros(shape, np.uint8)
        images[..., 0] = 255
        for binary in (True, False):
            item = client_module.InferInput("image", list(shape), "UINT8")
            item.set_data_from_numpy(images, binary_data=binary)
            answer = client.infer("painting", [item])
            assert answer.as_numpy("probabilities").argmax(axis=1).tolist() == [0] * shape[0]
    client.close()
    item = {"name": "image", "shape": [1, 1, 1, 3], "datatype": "UINT8"}
    for shape in ([1, 0, 1, 3], [1, 1, 1, 4], [1, 1, 3], [1, -1, -1, 3]):
        assert "it takes [-1, -1, -1, 3]" in server.infer(
            "painting", {"inputs": [item | {"shape": shape, "data": []}]}
        ).refused(400)
    for data in ([0, 0, 256], [0, 0, -1], [0, 0, 0.5]):
        assert "has data" in server.infer("painting", {"inputs": [item | {"data": data}]}).refused(400)


def test_client__configuration_statistics_and_index(start, trees_onnx):
    """As perf_analyzer asks for them."""
    server = start(trees_onnx, max_batch=32, max_delay_ms=2)
    client = client_module.InferenceServerClient(server.url.removeprefix("http://"))
    config = client.get_model_config("trees")
    assert config == client.get_model_config("trees", "1")
    assert (config["name"], config["max_batch_size"], config["backend"]) == ("trees", 1024, "onnxruntime")
    assert [(item["name"], item["data_type"], item["dims"]) for item in config["input"] + config["output"]] == [
        ("features", "TYPE_FP32", [16]),
        ("probabilities", "TYPE_FP32", [4]),
        ("logits", "TYPE_FP32", [4]),
    ]
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 2000
    index = {"name": "trees", "version": "1", "state": "READY", "reason": ""}
    assert client.get_model_repository_index() == [index]
    (before,) = client.get_inference_statistics("trees", "1")["model_stats"]
    assert (before["inference_count"], before["last_inference"]) == (0, 0)
    for rows in (5, 2):
        client.infer("trees", [tensor(ROWS[:rows], True)])
    with pytest.raises(client_module.InferenceServerException, match="have a length outside"):
        client.infer("trees", [tensor(ROWS * 0, True)])
    for found in (client.get_inference_statistics(), client.get_inference_statistics("trees")):
        (stats,) = found["model_stats"]
        assert (stats["name"], stats["version"]) == ("trees", "1")
        assert (stats["inference_count"], stats["execution_count"]) == (7, 2)
        counts = {name: item["count"] for name, item in stats["inference_stats"].items()}
        assert counts == {
            "success": 2,
            "fail": 1,
            "queue": 2,
            "compute_input": 2,
            "compute_infer": 2,
            "compute_output": 2,
            "cache_hit": 0,
            "cache_miss": 0,
        }
        assert stats["inference_stats"]["success"]["ns"] >= stats["inference_stats"]["compute_infer"]["ns"] > 0
        assert [(item["batch_size"], item["compute_infer"]["count"]) for item in stats["batch_stats"]] == [
            (2, 1),
            (5, 1),
        ]
    for ask in (client.get_model_config, client.get_inference_statistics):
        with pytest.raises(client_module.InferenceServerException, match="there is no model 'other'"):
            ask("other")
    client.close()


def test_json__the_same_output_twice(trees):
    outputs = [{"name": "logits"}, {"name": "probabilities"}, {"name": "logits", "parameters": {"classification": 1}}]
    assert "'logits' is asked for twice" in trees.infer("trees", request() | {"outputs": outputs}).refused(400)
    assert trees.infer("trees", request() | {"outputs": outputs[:2]}).status == 200


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"data": [0.5] * 15 + ["a" * 1000]}, "data that are no FP32 numbers"),
        ({"data": [0.5] * 15 + [[]]}, "data that are no FP32 numbers"),
        ({"data": [0.5] * 15 + [{}]}, "data that are no FP32 numbers"),
        ({"data": [[0.5] * 15 + [True]]}, "data that are no FP32 numbers"),
        ({"data": [[[0.5]] * 16]}, "data that are no FP32 numbers"),
        ({"data": [[0.5] * 16, 0.5]}, "uneven lengths"),
        ({"data": [0.0] * 16}, "the features have a length outside"),
        ({"data": [3e38] * 16}, "the features have a length outside"),
        ({"data": [1e-13] * 16}, "the features have a length outside"),
        ({"data": [10**39] * 16}, "NaN or infinite"),
        ({"shape": [1, 10**400]}, "has shape"),
        ({"shape": [10**400, 16]}, "rows: send at most"),
        ({"shape": [1, 16, 1]}, "has shape"),
        ({"shape": []}, "has shape"),
        ({"data": ..., "parameters": {"binary_data_size": 10**400}}, "has binary_data_size"),
        ({"data": ..., "parameters": {"binary_data_size": -1}}, "has binary_data_size"),
        ({"data": ..., "parameters": {"binary_data_size": 0.0}}, "has binary_data_size"),
        ({"data": ..., "parameters": {"binary_data_size": False}}, "has binary_data_size"),
    ],
)
def test_json__hostile_tensor(trees, change, line):
    answer = trees.infer("trees", request(**change))
    error = answer.refused(413 if "send at most" in line else 400)
    assert line in error
    assert len(error) < 450


@pytest.mark.parametrize(
    "number",
    [
        "1e999",
        "-1e999",
        "1e-999",
        "1" * 5000,
        "1." + "1" * 5000,
        "-0",
        "1E+2",
        "NaN",
        "-Infinity",
        "0x1",
        "01",
        "+1",
        ".",
    ],
)
def test_json__hostile_numbers(trees, number):
    """Those that a float32 can hold are taken, and nothing makes the server fail or hang."""
    text = json.dumps(request()).replace("0.5", number, 1).encode()
    answer = trees.infer("trees", text)
    if number in ("1e-999", "-0", "1E+2") or number.startswith("1."):
        assert answer.status == 200
    else:
        assert answer.refused(400)


@pytest.mark.parametrize("key", ["inputs", "outputs", "id", "parameters"])
def test_json__a_key_twice(trees, key):
    """The last one counts, as everywhere in Python; it is checked as any."""
    good, bad = json.dumps(request())[:-1], {"inputs": "[]", "outputs": "{}", "id": "7", "parameters": "1"}[key]
    assert trees.infer("trees", f'{good},"{key}":{bad}}}'.encode()).status == 400


def test_binary__bytes_that_no_tensor_asks_for(trees):
    text = json.dumps(request()).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    answer = trees.ask("POST", "/v2/models/trees/infer", text + b"more", headers)
    assert "4 bytes follow the JSON" in answer.refused(400)


def test_pixels__that_no_picture_has(colours):
    """They gave NaN, which is not JSON."""
    item = {"name": "pixels", "shape": [1, 3, 8, 8], "datatype": "FP32"}
    for value, line in ((3e38, "beyond 1000"), (-2000, "beyond 1000"), (1e39, "NaN or infinite")):
        answer = colours.infer("colours", {"inputs": [item | {"data": [value] * 192}]})
        assert line in answer.refused(400)


def test_answer__that_is_not_finite(start, models):
    """A file whose own numbers overflow."""
    from onnx import helper

    from tests.exports.serve.conftest import CLASSES, value, write_model

    nodes = [
        helper.make_node("Mul", ["features", "huge"], ["large"]),
        helper.make_node("Mul", ["large", "huge"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    outputs = [value(name, ["batch", 3]) for name in ("probabilities", "logits")]
    constants = {"huge": np.float32(3e38)}
    path = write_model(
        models / "huge.onnx",
        nodes,
        [value("features", ["batch", 3])],
        outputs,
        constants,
        input="features",
        class_names=CLASSES,
    )
    server = start(path)
    item = {"name": "features", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}
    assert "the model gives no finite" in server.infer("huge", {"inputs": [item]}).refused(400)
