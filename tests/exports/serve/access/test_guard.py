"""Who may ask a running server: names, pages, keys; and a server behind a proxy."""

import json
from urllib.parse import urljoin

import pytest

from tests.exports.serve.conftest import png, read_answer

ROW = {"inputs": [{"name": "features", "shape": [1, 16], "datatype": "FP32", "data": [0.5] * 16}]}
BODY = json.dumps(ROW).encode()
INFER = "/v2/models/trees/infer"


def raw(server, text):
    with server.raw() as client:
        client.sendall(text.encode())
        return read_answer(client)


@pytest.mark.parametrize("path", ["/", "/v2", "/v2/health/ready", "/metrics", "/openapi.json", "/nowhere"])
def test_host__that_is_not_known_gets_nothing(trees, path):
    answer = trees.ask("GET", path, headers={"Host": "evil.example:8000"})
    assert "start it with --allowed-host NAME" in answer.refused(421)


def test_host__missing_and_doubled(trees):
    assert raw(trees, "GET /v2 HTTP/1.0\r\n\r\n")[0] == 200
    assert raw(trees, "GET /v2 HTTP/1.0\r\nHost: evil.example\r\n\r\n")[0] == 421
    assert raw(trees, "GET /v2 HTTP/1.1\r\nHost:\r\n\r\n")[0] == 421
    assert raw(trees, "GET /v2 HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")[0] in (400, 421)
    assert raw(trees, "GET /v2 HTTP/1.1\r\nX: y\r\n\r\n")[0] in (400, 421)
    assert raw(trees, "GET http://evil.example/v2 HTTP/1.1\r\nHost: localhost\r\n\r\n")[0] == 200
    assert trees.metric('ulfine_requests_total{code="421",where="elsewhere"}') >= 3


def test_host__of_a_body_that_was_not_read(trees):
    """The answer comes, and what was under way is not taken for a request."""
    answer = trees.ask("POST", INFER, bytes(10**6), {"Host": "evil.example"})
    assert answer.status == 421
    assert answer.headers["connection"] == "close"


def test_host__that_was_asked_for(start, trees_onnx):
    server = start(trees_onnx, allowed_host=["birds.example.org"])
    assert server.ask("GET", "/v2", headers={"Host": "birds.example.org"}).status == 200
    assert server.ask("GET", "/v2", headers={"Host": "evil.example.org"}).status == 421


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "", "json"]
)
def test_infer__of_a_type_that_pages_send_unasked(trees, kind):
    answer = trees.ask("POST", INFER, BODY, {"Content-Type": kind})
    assert "send application/json or, with binary tensors, application/octet-stream" in answer.refused(415)


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/octet-stream", None]
)
def test_infer__of_a_type_that_programs_send(trees, kind):
    assert trees.ask("POST", INFER, BODY, {} if kind is None else {"Content-Type": kind}).status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1"])
def test_origin__of_another_page(trees, colours, origin):
    for server, path, body in (
        (trees, INFER, BODY),
        (colours, "/classify", png("red")),
        (trees, "/v2/repository/index", b""),
    ):
        answer = server.ask("POST", path, body, {"Origin": origin})
        assert f"{origin} is not a page of this server: start it with --cors-origin" in answer.refused(403)
        assert "access-control-allow-origin" not in answer.headers
    preflight = trees.ask("OPTIONS", INFER, headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
    assert preflight.status == 405
    assert "access-control-allow-origin" not in preflight.headers


def test_origin__of_its_own_page(colours):
    host, port = colours.address
    answer = colours.ask("POST", "/classify", png("red"), {"Origin": f"http://{host}:{port}"})
    assert answer.status == 200


def test_origin__that_was_asked_for(start, trees_onnx):
    server = start(trees_onnx, cors_origin=["https://birds.example.org"])
    origin = {"Origin": "https://birds.example.org"}
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,authorization"}
    preflight = server.ask("OPTIONS", INFER, headers=origin | wanted)
    assert preflight.status == 200
    assert preflight.headers["access-control-allow-origin"] == origin["Origin"]
    answer = server.ask("POST", INFER, BODY, origin | {"Content-Type": "application/json"})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, origin["Origin"])
    assert server.ask("POST", INFER, b"{", origin).headers["access-control-allow-origin"] == origin["Origin"]
    other = {"Origin": "https://evil.example.org"}
    assert server.ask("OPTIONS", INFER, headers=other | wanted).status == 400
    answer = server.ask("POST", INFER, BODY, other)
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.fixture
def locked(start, trees_onnx, tmp_path):
    (tmp_path / "keys").write_text("first-key\nsecond-key\n")
    return start(trees_onnx, api_key_file=tmp_path / "keys")


def test_key__is_wanted_for_all_but_health_and_the_page(locked):
    for path in ("/", "/page.js", "/page.css", "/v2/health/live", "/v2/health/ready"):
        assert locked.get(path).status == 200, path
    for path in (
        "/v2",
        "/model",
        "/metrics",
        "/openapi.json",
        "/v2/models/trees",
        "/v2/models/trees/stats",
        "/nowhere",
        "/V2",
    ):
        answer = locked.get(path)
        assert "Authorization: Bearer KEY" in answer.refused(401), path
        assert answer.headers["www-authenticate"] == "Bearer"
    # Neither a slash nor a coded letter leads around it.
    for path in (
        "//metrics",
        "/v2/health/live/../../../metrics",
        "/%6detrics",
        "/metrics?/v2/health/live",
        "/v2/health/live%2f..%2f",
    ):
        assert locked.get(path).status in (307, 401, 404), path
    for key in ("first-key", "second-key"):
        header = {"Authorization": f"Bearer {key}"}
        assert locked.ask("POST", INFER, BODY, header).status == 200
        assert locked.ask("GET", "/openapi.json", headers=header).json["security"] == [{"key": []}]
    for wrong in ("first-ke", "first-key2", "FIRST-KEY", ""):
        assert locked.ask("POST", INFER, BODY, {"Authorization": f"Bearer {wrong}"}).status == 401


def test_key__comes_before_the_body(locked):
    """Who has none cannot make the server read 60 MB."""
    with locked.raw() as client:
        client.sendall(f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000000\r\n\r\n".encode())
        head = client.recv(2000)
        assert head.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" in head.lower()


@pytest.mark.parametrize(
    ("path", "place"),
    [("/v2/", "../v2"), ("/v2/?a=b", "../v2?a=b"), ("/v2/models/trees/", "../trees"), ("/a%20b/", "../a%20b")],
)
def test_slash__leads_to_a_relative_place(trees, path, place):
    answer = trees.get(path)
    assert (answer.status, answer.headers["location"]) == (307, place)
    assert urljoin(f"https://proxy.example/birds{path}", place).startswith("https://proxy.example/birds/")


@pytest.mark.parametrize("path", ["//evil.example/", "/v2//", "/\\evil.example/", "//evil.example/.."])
def test_slash__leads_nowhere_else(trees, path):
    answer = trees.get(path)
    if answer.status == 307:
        assert urljoin("https://proxy.example/", answer.headers["location"]).startswith("https://proxy.example/")
        assert answer.headers["location"].startswith("../")


@pytest.mark.parametrize("given", ["/birds/v1", "birds/v1/"])
def test_root_path(start, trees_onnx, given):
    """A proxy may take the root off the path, or leave it there."""
    server = start(trees_onnx, root_path=given)
    for prefix in ("/birds/v1", ""):
        assert server.get(f"{prefix}/v2").json["name"] == "ulfine"
        assert server.get(f"{prefix}/openapi.json").json["servers"] == [{"url": "/birds/v1"}]
        assert server.get(f"{prefix}/").headers["content-type"].startswith("text/html")
        assert server.get(f"{prefix}/page.js").status == 200
        assert server.ask("POST", f"{prefix}{INFER}", BODY).status == 200
        assert server.get(f"{prefix}/v2/").headers["location"] == "../v2"
    assert server.get("/birds/v1").headers["location"] == "v1/"
    assert server.get("/birds/v12").status == 404
    assert server.get("/birds/v1/birds/v1/v2").status == 404


def test_methods(trees):
    for path in ("/v2", "/metrics", "/", "/v2/models/trees/config"):
        answer = trees.ask("HEAD", path)
        assert (answer.status, answer.body) == (200, b""), path
        assert trees.ask("PUT", path, b"x").status == 405
