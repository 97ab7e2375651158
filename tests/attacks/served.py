"""The worst requests to a server: answered in one line, in bounded memory, and good ones are answered as before."""

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.attacks import requests
from tests.attacks.attempts import Attempt, Kind
from tests.exports.serve.processes import Process

BOUND = 10**9
"""Bytes above the server's start."""
SIZE = 64 * 2**20 - 200
"""Just below the default of --max-body-mb."""
WORST = ("small numbers", "empty objects", "short texts", "wide texts", "distinct keys", "many inputs", "nested deeply")


class Watched:
    """A server, its good answer, and how much memory it takes."""

    def __init__(self, model: Path, path: str, body: bytes, headers: dict[str, str]):
        command = (sys.executable, "-c", "import sys; from ulfine_cli.main import main; sys.exit(main())")
        self.process = Process(model, "--port", 0, "--device", "cpu", "--threads", 1, command=command)
        self.good = path, body, headers
        self.server = self.process.server
        self.folder = Path("/proc") / str(self.process.process.pid)
        self.answer = self.server.ask("POST", *self.good)
        assert self.answer.status == 200, self.answer.body
        self.start = self._memory("VmRSS")

    def _memory(self, what: str) -> int:
        if sys.platform != "linux":
            return 0
        lines = (self.folder / "status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(what))

    def lost(self, path: str, body: bytes, headers: dict[str, str], method: str = "POST") -> str:
        """Send it; how it is lost, or the server with it."""
        if sys.platform == "linux":
            (self.folder / "clear_refs").write_text("5")  # the peak begins anew, see proc(5)
        try:
            answer = self.server.ask(method, path, body, headers)
        except OSError as error:
            # Some bodies are not read to their end.
            if not isinstance(error, ConnectionError):
                return f"no answer: {error!r}"
            status = None
        else:
            status = answer.status
            if status >= 500 and status != 503:
                return f"status {status}: {answer.body[:200]!r}"
            if status >= 400 and (b"Traceback" in answer.body or b"\n" in answer.body.strip()):
                return f"not one line: {answer.body[:200]!r}"
        above = self._memory("VmHWM") - self.start
        if above >= BOUND:
            return f"it took {above / 2**20:.0f} MB"
        again = self.server.ask("POST", *self.good)
        return "" if (again.status, again.body) == (200, self.answer.body) else f"then {again.status}: {again.body!r}"

    def ended(self) -> str:
        self.process.process.send_signal(signal.SIGTERM)
        code, _, err = self.process.end()
        return "" if code in (0, 143) and "Traceback" not in err else f"exit code {code}: {err[-500:]}"


def features(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    ones = json.dumps([1.0] * 16).encode()
    path = "/v2/models/m/infer"
    watched = Watched(victims / "m.onnx", path, requests.tensor(ones, shape=(1, 16)), requests.JSON)
    for name in list(WORST)[: max(1, round(len(WORST) * effort))]:
        yield name, watched.lost(path, requests.JSON_OF_A_SIZE[name](SIZE), requests.JSON)
    compressed = requests.JSON | {"Content-Encoding": "gzip"}
    yield "gzip of 64 MB", watched.lost(path, requests.gzipped(requests.JSON_OF_A_SIZE["floats"](SIZE)), compressed)
    yield "gzip cut", watched.lost(path, requests.gzipped(b"{}" * 9999)[:-9], compressed)
    yield "text among numbers", watched.lost(path, requests.text_among_numbers(), requests.JSON)
    yield "one output 4,000 times", watched.lost(path, requests.outputs(), requests.JSON)
    for name, data in {
        "NaN": b"[NaN]",
        "beyond float32": json.dumps([3e38] * 16).encode(),
        "beyond float64": b"[1e999" + b",0" * 15 + b"]",
        "zeros": json.dumps([0] * 16).encode(),
        "booleans": json.dumps([True] * 16).encode(),
        "null": b"null",
        "one number": b"1",
    }.items():
        yield name, watched.lost(path, requests.tensor(data, shape=(1, 16)), requests.JSON)
    for shape in ((10**18, 10**18), (-1, 16), (0, 16), (1, 10**9), ()):
        yield f"shape {shape}", watched.lost(path, requests.tensor(ones, shape=shape), requests.JSON)
    for headers in (
        {"Content-Type": "text/plain"},
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Inference-Header-Content-Length": "9" * 30},
        {"Content-Encoding": "br"},
        {"X": "y" * 70_000},
    ):
        yield f"header {str(headers)[:60]}", watched.lost(path, b"{}", requests.JSON | headers)
    for target in (
        "/../../etc/passwd",
        "/v2/models/%00/infer",
        "/v2/models/" + "a" * 60_000,
        "/%ff%fe",
        "//evil.example",
    ):
        yield f"path {target[:40]}", watched.lost(target, b"{}", requests.JSON)
    for method in ("PUT", "DELETE", "TRACE", "PROPFIND"):
        yield f"method {method}", watched.lost(path, b"{}", requests.JSON, method)
    yield "SIGTERM", watched.ended()


def pictures(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    good = next((victims / "photos").rglob("*.png")).read_bytes()
    watched = Watched(victims / "pixels.onnx", "/classify", requests.form(good), requests.FORM)
    sizes = requests.FORMS_OF_A_SIZE
    for name in list(sizes)[: max(1, round(len(sizes) * effort))]:
        yield name, watched.lost("/classify", sizes[name](SIZE), requests.FORM)
    largest = ("png of 400 million pixels", "png", "jpeg 2000 over the bound")
    for name in largest[: max(1, round(3 * effort))]:
        picture = requests.LARGEST_PICTURES[name]()
        yield f"two pictures: {name}", watched.lost("/classify", requests.form(picture, picture), requests.FORM)
    from tests.attacks.pictures import MANY_PIECES

    for name in ("jpeg of scans", "jpeg of comments", "tiff of numbers", "gif of nothing")[: max(1, round(4 * effort))]:
        yield name, watched.lost("/classify", requests.form(MANY_PIECES[name]()), requests.FORM)
    yield "SIGTERM", watched.ended()


KINDS: dict[str, Kind] = {
    "HTTP requests, of features": features,
    "HTTP requests, of pictures": pictures,
}
