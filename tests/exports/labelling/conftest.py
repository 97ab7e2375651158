"""Pictures to label, a run on a few of them, and the page as a process and as a thread."""

import contextlib
import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.exports.conftest import SHAPES, draw_shape

pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from ulfine_cache.stage_one import cache_features
from ulfine_exports.label import labelling
from ulfine_fast.fitting import fit

ULFINE = Path(sys.executable).parent / "ulfine"


@pytest.fixture(scope="session")
def shapes_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shapes: 5 labelled, 12 unlabelled and 4 test pictures each, the unlabelled ones named by their shape."""
    folder = tmp_path_factory.mktemp("to-label")
    generator = np.random.default_rng(5)
    for shape in SHAPES:
        for place, count in ((f"train/{shape}", 5), ("train/unlabelled", 12), (f"test/{shape}", 4)):
            (folder / "photos" / place).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                draw_shape(shape, generator).save(folder / "photos" / place / f"{shape}{number:02}.png")
    cache_features(source=folder / "photos", out=folder / "cache", model="builtin:tiny", device="cpu", precision="fp32")
    return folder / "cache"


@pytest.fixture(scope="session")
def shapes_run(shapes_cache: Path) -> Path:
    return fit(cache=shapes_cache, out=shapes_cache.parent / "run", method="lp", set=["steps=20"]).path


@dataclass
class Page:
    """The page of a running `ulfine label`."""

    url: str

    @property
    def token(self) -> str:
        return self.url.partition("token=")[2]

    def ask(self, path, body=None, *, method=None, token=True, **headers):
        """A request of a program, or with `token=False` of a stranger: status, headers and what came."""
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        given = {"Authorization": f"Bearer {self.token}"} if token else {}
        content = None
        if body is not None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            given["Content-Type"] = "application/json"
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(connection):
            connection.request(method or ("GET" if body is None else "POST"), path, content, given)
            response = connection.getresponse()
            data = response.read()
        kind = response.headers.get("content-type", "")
        return response.status, response.headers, json.loads(data) if "json" in kind else data

    def get(self, path):
        status, _, content = self.ask(path)
        assert status == 200, content
        return content

    def post(self, path, body=None):
        status, _, content = self.ask(path, body or {})
        assert status == 200, content
        return content


@pytest.fixture
def page(shapes_cache, shapes_run, tmp_path):
    with labelling(cache=shapes_cache, run=shapes_run, out=tmp_path / "labels.csv") as (url, _):
        yield Page(url)


class Process:
    """`ulfine label` as a process of its own, when it is ready."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [ULFINE, "label", *map(str, arguments), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self.lines = []
        while not (self.lines and "http://" in self.lines[-1]):
            line = self.process.stderr.readline()
            assert line, self.lines
            self.lines.append(line)
        found = re.search(r"http://\S+", self.lines[-1])
        assert found
        self.page = Page(found[0])
        until = time.monotonic() + 30
        while True:
            try:
                self.page.get("/state")
                return
            except ConnectionRefusedError:
                assert time.monotonic() < until
                time.sleep(0.02)

    def kill(self):
        """End it, however it stands."""
        self.process.kill()
        self.process.wait(60)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def process(shapes_cache, shapes_run, tmp_path):
    """Start one; all are ended."""
    started = []

    def start():
        made = Process(shapes_cache, "--run", shapes_run, "--out", tmp_path / "labels.csv")
        started.append(made)
        return made

    yield start
    for each in started:
        if each.process.poll() is None:
            each.kill()
