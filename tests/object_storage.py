"""A server that answers as S3 does, and a network in front of it that throttles, cuts and loses what goes through."""

import http.client
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

THROTTLED = "throttled"
"""503 SlowDown; the server hears nothing of it."""

CUT_REQUEST = "request cut"
"""The connection ends before the server has heard of it."""

CUT_ANSWER = "answer cut"
"""The server has done it; half of its answer arrives."""

LOST_ANSWER = "answer lost"
"""The server has done it; the connection ends without a word."""

SLOW = "slow"
"""All of it arrives, late."""

FAULTS = (THROTTLED, CUT_REQUEST, CUT_ANSWER, LOST_ANSWER, SLOW)

_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{0}</Code><Message>{0}</Message></Error>'

Fault = Callable[[str, str], str]
"""From method and path of a request to one of the faults, "" for none, or an S3 error such as "403 AccessDenied"."""


@contextmanager
def s3_server() -> Generator[int]:
    """Run moto's server in a process of its own; give its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    # The server is no part of what is tested, whose libraries may be others.
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, env=environment, **quiet)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None, "moto's server ended at once"
                assert time.monotonic() < deadline, "moto's server does not answer"
                time.sleep(0.1)
        yield port
    finally:
        server.kill()
        server.wait()


def ask(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """Make one request of the server itself; give status and answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        # The server reads it and checks nothing; without it private objects are refused.
        said = "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
        connection.request(method, path, body, {"Authorization": said})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def at_random(share: float, seed: int, faults: tuple[str, ...] = FAULTS) -> Fault:
    """Faults at random, of a share of all requests."""
    generator, lock = random.Random(seed), threading.Lock()

    def fault(method: str, path: str) -> str:
        with lock:
            return generator.choice(faults) if generator.random() < share else ""

    return fault


def _none(method: str, path: str) -> str:
    return ""


class BadNetwork:
    """A proxy in front of a server.

    Attributes:
        url: Its address, for AWS_ENDPOINT_URL.
        port: The server's.
        fault: Decides what happens to a request; may be changed at any time.
        faults: How often each happened.
        requests: Method and path of all of them.
    """

    def __init__(self, port: int, fault: Fault = _none) -> None:
        self.port, self.fault, self.faults, self.requests = port, fault, Counter[str](), list[tuple[str, str]]()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(port))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def forget(self) -> None:
        """Have no faults, and forget those of before."""
        self.fault = _none
        self.faults.clear()
        self.requests.clear()

    def __enter__(self) -> "BadNetwork":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self, port: int) -> type[BaseHTTPRequestHandler]:
        network = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self) -> None:
                fault = network.fault(self.command, self.path)
                network.requests.append((self.command, self.path))
                network.faults[fault] += 1
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if fault == THROTTLED:
                    fault = "503 SlowDown"
                if fault[:3].isdigit():
                    self._answer(int(fault[:3]), {}, _ERROR.format(fault[4:]).encode())
                    return
                if fault == CUT_REQUEST:
                    self.close_connection = True
                    return
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                try:
                    connection.request(self.command, self.path, body, dict(self.headers.items()))
                    answer = connection.getresponse()
                    data = answer.read()
                finally:
                    connection.close()
                if fault == LOST_ANSWER:
                    self.close_connection = True
                    return
                if fault == SLOW:
                    time.sleep(0.1)
                kept = {"transfer-encoding", "connection", "content-length", "date", "server"}
                headers = {name: value for name, value in answer.getheaders() if name.lower() not in kept}
                if self.command == "HEAD":
                    headers["Content-Length"] = answer.getheader("Content-Length") or "0"
                self._answer(answer.status, headers, data, cut=fault == CUT_ANSWER)

            def _answer(self, status: int, headers: dict[str, str], data: bytes, *, cut: bool = False) -> None:
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(data))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data[: len(data) // 2] if cut else data)
                self.close_connection = self.close_connection or cut

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass_on

            def handle_expect_100(self) -> bool:
                self.send_response_only(100)
                self.end_headers()
                return True

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    self.close_connection = True  # the other side has gone

        return Handler
