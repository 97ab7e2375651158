"""The page of `ulfine label`: what asks it, and the command as a process of its own."""

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

ULFINE = Path(sys.executable).parent / "ulfine"


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


class Process:
    """`ulfine label` with these arguments, when it is ready."""

    def __init__(self, *arguments, command=(ULFINE,), cwd=None, env=None):
        self.process = subprocess.Popen(
            [*command, "label", *map(str, arguments), "--port", "0"],
            cwd=cwd,
            env=env,
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
        until = time.monotonic() + 120
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
