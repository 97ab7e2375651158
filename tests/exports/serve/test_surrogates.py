"""Text that is no Unicode in a request: refused or given back as JSON can say it, never a failure of the server."""

import json

import pytest

PIXELS = {"name": "pixels", "datatype": "FP32", "shape": [1, 3, 8, 8], "data": [0.5] * 192}


@pytest.mark.parametrize(
    "request_",
    [
        {"inputs": [PIXELS], "id": "\ud800"},
        {"inputs": [{**PIXELS, "name": "\udce9"}]},
        {"inputs": [{**PIXELS, "datatype": "\ud800"}]},
        {"inputs": [PIXELS], "outputs": [{"name": "\ud800"}]},
        {"inputs": [PIXELS], "parameters": {"\ud800": "\udcff"}},
        {"inputs": [{**PIXELS, "parameters": {"\ud800": 1}}]},
    ],
    ids=["id", "input", "datatype", "output", "parameter", "input parameter"],
)
def test_infer__a_lone_surrogate(colours, request_):
    answer = colours.infer("colours", json.dumps(request_).encode())
    assert answer.status in (200, 400), answer.body
    answer.body.decode()
    if answer.status == 200:
        assert answer.json.get("id") == request_.get("id")


@pytest.mark.parametrize("name", [b"\xed\xa0\x80.png", b"caf\xe9.png", b"%ED%A0%80.png"])
def test_classify__file_names_that_are_no_text(colours, name):
    form = b'--b\r\nContent-Disposition: form-data; name="f"; filename="' + name + b'"\r\n\r\nno picture\r\n--b--\r\n'
    answer = colours.ask("POST", "/classify", form, {"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.status == 400, answer.body
    json.loads(answer.body)
