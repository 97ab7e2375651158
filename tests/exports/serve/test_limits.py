"""Clients that send too much, too slowly or nothing, and clients that go away: clear answers, and no stuck worker."""

import concurrent.futures
import contextlib
import gzip
import json
import time
import zlib

import numpy as np
import pytest

from tests.exports.serve.conftest import png, read_answer
from ulfine_exports.serve import connection
from ulfine_exports.serve.bounds.byte_budget import ByteBudget
from ulfine_exports.serve.refusal import Refusal

MEGABYTE = 2**20
ROW = {"inputs": [{"name": "features", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}


def eventually(condition, seconds=20.0):
    """Wait for something that the server does in its own time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False


def head(length, path="/classify", *lines):
    return "\r\n".join(
        [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *lines, "", ""]
    ).encode()


def read_all(client):
    received = bytearray()
    with contextlib.suppress(ConnectionError):
        while part := client.recv(2**16):
            received += part
    return bytes(received)


def status_of(received):
    return int(received.split(b" ", 2)[1]) if received else None


def test_huge_body_that_is_announced(start, colours_onnx):
    server = start(colours_onnx, max_body_mb=1)
    answer = server.ask("POST", "/classify", bytes(3 * MEGABYTE))
    assert "over 1 MB" in answer.refused(413)
    assert answer.headers["connection"] == "close"
    assert server.ask("POST", "/classify", png("red")).status == 200


def test_huge_body_that_is_not_announced(start, colours_onnx):
    server = start(colours_onnx, max_body_mb=1)
    with server.raw() as client:
        client.sendall(b"POST /classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"40000\r\n" + bytes(0x40000) + b"\r\n"
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                client.sendall(chunk)
            client.sendall(b"0\r\n\r\n")
        assert status_of(read_all(client)) == 413


def test_huge_body_with_expect_is_refused_before_it_is_sent(start, colours_onnx):
    server = start(colours_onnx, max_body_mb=1)
    with server.raw() as client:
        client.sendall(head(10**12, "/classify", "Expect: 100-continue"))
        received = read_all(client)
        assert status_of(received) == 413
        assert b"100 Continue" not in received


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_compressed_bomb(start, trees_onnx, compress):
    server = start(trees_onnx, max_body_mb=1)
    headers = {"Content-Encoding": "gzip" if compress is gzip.compress else "deflate"}
    bomb = compress(bytes(200 * MEGABYTE))
    assert len(bomb) < MEGABYTE
    assert "over 1 MB" in server.ask("POST", "/v2/models/trees/infer", bomb, headers).refused(413)
    assert "cut off" in server.ask("POST", "/v2/models/trees/infer", compress(bytes(100))[:-9], headers).refused(400)
    assert "decompressed" in server.ask("POST", "/v2/models/trees/infer", b"no gzip", headers).refused(400)
    answer = server.ask("POST", "/v2/models/trees/infer", b"x", {"Content-Encoding": "br"})
    assert "Content-Encoding br" in answer.refused(415)


def test_slow_body(start, colours_onnx):
    server = start(colours_onnx, timeout=0.3)
    with server.raw() as client:
        client.sendall(head(1000) + b"begin")
        status, body = read_answer(client)
        assert status == 408
        assert b"did not arrive within 0.3 s" in body
    assert server.ask("POST", "/classify", png("red")).status == 200


def test_slow_headers(start, colours_onnx, monkeypatch):
    monkeypatch.setattr(connection, "HEADER_SECONDS", 0.3)
    server = start(colours_onnx)
    with server.raw() as silent, server.raw() as dripping, server.raw() as between:
        between.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_answer(between)[0] == 200
        between.sendall(b"\r\n")  # an empty line begins no request
        until = time.monotonic() + 20
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < until:
                dripping.sendall(b"G" if until - time.monotonic() > 19.95 else b"E")
                time.sleep(0.02)
        assert time.monotonic() < until
        assert read_all(silent) == b""
        assert read_all(between) == b""


def test_endless_headers(start, colours_onnx):
    server = start(colours_onnx)
    with server.raw() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 2**16)
        assert read_answer(client) == (431, b"")
        assert read_all(client) == b""
    assert server.get("/v2/health/live").status == 200


def test_no_http(start, colours_onnx):
    server = start(colours_onnx)
    with server.raw() as client:
        client.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert status_of(read_all(client)) == 400


def test_client_that_does_not_read(start, many_onnx, monkeypatch):
    monkeypatch.setattr(connection, "STUCK_SECONDS", 0.3)
    server = start(many_onnx)
    rows = np.ones((1000, 3))
    body = json.dumps({"inputs": [ROW["inputs"][0] | {"shape": [1000, 3], "data": rows.tolist()}]}).encode()
    whole = len(server.ask("POST", "/v2/models/many/infer", body).body)
    assert whole > 20 * MEGABYTE
    with server.raw() as client:
        client.sendall(head(len(body), "/v2/models/many/infer") + body)
        assert eventually(lambda: server.metric('ulfine_requests_total{code="200",where="infer"}') == 2)
        time.sleep(1)
        assert len(read_all(client)) < whole


@pytest.mark.parametrize("sent", [0, 500])
def test_disconnect_while_sending(start, colours_onnx, sent):
    server = start(colours_onnx)
    with server.raw() as client:
        client.sendall(head(1000) + bytes(sent))
    assert eventually(lambda: server.metric('ulfine_requests_total{code="499",where="classify"}') == 1)
    assert server.ask("POST", "/classify", png("red")).status == 200


def test_disconnect_while_waiting_drops_the_work(start, slow_onnx):
    """Twenty clients give up; what one more asks for does not wait for twenty batches."""
    server = start(slow_onnx, max_batch=1)
    body = json.dumps(ROW).encode()
    for _ in range(20):
        with server.raw() as client:
            client.sendall(head(len(body), "/v2/models/slow/infer") + body)
            time.sleep(0.01)
    assert server.infer("slow", ROW).status == 200
    assert server.metric('ulfine_requests_total{code="499",where="infer"}') == 20
    assert server.metric("ulfine_batch_rows_sum") < 10


def test_full_queue(start, slow_onnx):
    server = start(slow_onnx, max_batch=1, max_queue=2)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: server.infer("slow", ROW), range(8)))
    refused = [answer for answer in answers if answer.status != 200]
    assert 0 < len(refused) < 8
    for answer in refused:
        assert "rows are waiting and at most 2 may" in answer.refused(503)
        assert answer.headers["retry-after"] == "1"
    assert server.infer("slow", ROW).status == 200


def test_answer_that_takes_too_long(start, slow_onnx):
    server = start(slow_onnx, timeout=0.05)
    assert "no answer within 0.05 s" in server.infer("slow", ROW).refused(503)
    assert server.get("/v2/health/ready").status == 200


def test_idle_connections_are_no_obstacle(start, colours_onnx):
    server = start(colours_onnx)
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(server.raw())
        assert server.ask("POST", "/classify", png("red")).status == 200


def test_one_connection_for_good_and_bad_requests(colours):
    """A refusal does not spoil the connection, unless the body was left unread."""
    with colours.raw() as client:
        for body, status in ((b"junk", 400), (png("red"), 200), (b"", 400), (png("blue"), 200)):
            client.sendall(head(len(body)) + body)
            assert read_answer(client)[0] == status


def test_pipelined_requests(trees):
    one = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with trees.raw() as client:
        client.sendall(one * 50 + last)
        assert read_all(client).count(b"HTTP/1.1 200 OK") == 51


def test_byte_budget__refuses_and_gives_room_back():
    budget = ByteBudget(100)
    budget.take(60)
    with pytest.raises(Refusal) as refusal:
        budget.take(50)
    assert refusal.value.status == 503
    budget.give_back(60)
    budget.take(100)
    assert budget.held == 100


async def waits_in_order():
    import asyncio

    budget = ByteBudget(100)
    await budget.wait_for(80)
    order = []

    async def one(name, count):
        await budget.wait_for(count)
        order.append(name)

    tasks = [asyncio.create_task(one("large", 500)), asyncio.create_task(one("small", 10))]
    given_up = asyncio.create_task(one("given up", 10))
    await asyncio.sleep(0)
    assert order == []
    given_up.cancel()
    budget.give_back(80)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (order, budget.held) == (["large"], 500)
    budget.give_back(500)
    await asyncio.gather(*tasks)
    assert (order, budget.held) == (["large", "small"], 10)
    budget.give_back(10)
    assert budget.held == 0


def test_byte_budget__waits_in_order_and_lets_the_largest_through_alone():
    import asyncio

    asyncio.run(waits_in_order())
