"""`ulfine serve` as a process of its own."""

import re
import subprocess
import sys
import time
from pathlib import Path

from tests.exports.serve.conftest import Server

ULFINE = Path(sys.executable).parent / "ulfine"


class Process:
    """`ulfine serve` with these arguments, when it is ready."""

    def __init__(self, *arguments, command=(ULFINE,)):
        self.process = subprocess.Popen(
            [*command, "serve", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        self.line = self.process.stderr.readline()
        found = re.search(r"http://\S+", self.line)
        assert found, self.line
        self.server = Server(found[0])
        until = time.monotonic() + 120
        while True:
            try:
                assert self.server.get("/v2/health/ready").status == 200
                break
            except ConnectionRefusedError:
                assert time.monotonic() < until
                time.sleep(0.02)

    def kill(self):
        """End it, however it stands, and leave nothing of it."""
        self.process.kill()
        self.process.wait(60)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def end(self):
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err
