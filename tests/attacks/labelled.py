"""The worst requests to the labelling page: refused in one line, no decision is lost and none is made by a stranger."""

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.attacks.attempts import Attempt, Kind
from tests.attacks.pictures import MANY_PIECES
from tests.attacks.requests import LARGEST_PICTURES
from tests.exports.labelling.processes import Process

BINARY = {"Content_Type": "application/octet-stream"}
DECISIONS = {
    "no JSON": b"{",
    "nested deeply": b"[" * 500_000,
    "a list": b"[]",
    "rows nested": b'{"rows":[[[0]]],"label":"ash"}',
    "rows of text": b'{"rows":["0"],"label":"ash"}',
    "rows of many digits": b'{"rows":[' + b"9" * 5000 + b'],"label":"ash"}',
    "rows below 0": b'{"rows":[-1],"label":"ash"}',
    "rows that are numbers of another kind": b'{"rows":[NaN,1e3,true],"label":"ash"}',
    "a million rows": b'{"rows":[' + b"0," * 400_000 + b'0],"label":"ash"}',
    "a body above the bound": b'{"rows":[0],"label":"' + b"a" * 2**21 + b'"}',
    "a label with a line break": b'{"rows":[0],"label":"a\\nb,c,d"}',
    "a label that is a path": b'{"rows":[0],"label":"../../etc/passwd"}',
    "half a surrogate": b'{"rows":[0],"label":"\\ud800"}',
    "a null byte": b'{"rows":[0],"label":"a\\u0000b"}',
    "a long label": json.dumps({"rows": [0], "label": "é" * 5000}).encode(),
}
STRANGERS = {
    "no token": {},
    "a wrong token": {"Authorization": "Bearer " + "a" * 43},
    "a token of other letters": {"Authorization": "Bearer \xe9"},
    "another page": {"Origin": "http://evil.example"},
    "another name of this machine": {"Host": "evil.example"},
    "a cookie": {"Cookie": "ulfine-label-8010=a; ulfine-label-0=b"},
}
ROWS = (
    "queue=class&about=%00",
    "queue=like&about=-1",
    "queue=" + "a" * 60_000,
    "queue=words&about=" + "%F0%9F%90%A6" * 4000,
)
LIMITS = ("limit=0", "limit=1e9", "limit=999999999999", "after=-1", "after=%D9%A3")
PATHS = ("/pictures/99999999999999999999/small", "/pictures/0/..%2f..%2fetc%2fpasswd", "/pictures/-1/small", "/..%2f")


class Watched:
    """The page on a cache of 16 pictures, two of which were decided."""

    def __init__(self, victims: Path, place: Path):
        command = (sys.executable, "-c", "import sys; from ulfine_cli.main import main; sys.exit(main())")
        self.journal = place / "labels.csv"
        self.process = Process(victims / "shapes", "--out", self.journal, command=command)
        self.page = self.process.page
        for row in (3, 9):
            self.page.post("/decide", {"rows": [row], "label": "ash"})
        self.written = self.journal.read_bytes()

    def lost(self, path: str, body: bytes | None = None, *, stranger: bool = False, **headers: str) -> str:
        """Ask; how it is lost, or a decision with it."""
        try:
            status, _, content = self.page.ask(path, body, token=not stranger, **headers)
        except ConnectionError:
            # Some bodies are not read to their end.
            status, content = None, ""
        except OSError as error:
            return f"no answer: {error!r}"
        if status is not None and status >= 500:
            return f"status {status}: {content!r}"
        if stranger and status is not None and status < 400:
            return f"a stranger was answered with {status}"
        if status is not None and status >= 400 and ("Traceback" in str(content) or "\n" in str(content).strip()):
            return f"not one line: {content!r}"
        written = self.journal.read_bytes()
        if stranger and written != self.written:
            return "a stranger decided"
        if not written.startswith(self.written):
            return "the file of decisions lost a line"
        if status != 200 and written != self.written:
            return f"status {status}, and yet it was decided"
        self.written = written
        return "" if self.page.ask("/state")[0] == 200 else "then the page failed"

    def ended(self) -> str:
        self.process.process.send_signal(signal.SIGTERM)
        _, err = self.process.process.communicate(timeout=60)
        code = self.process.process.returncode
        return "" if code in (0, 143) and "Traceback" not in err else f"exit code {code}: {err[-500:]}"


def labelling(victims: Path, place: Path, effort: float) -> Iterator[Attempt]:
    watched = Watched(victims, place)
    for name, headers in STRANGERS.items():
        body = b'{"rows":[0],"label":"elm"}'
        yield f"decided by {name}", watched.lost("/decide", body, stranger=True, **headers)
    for name in list(DECISIONS)[: max(1, round(len(DECISIONS) * effort))]:
        yield name, watched.lost("/decide", DECISIONS[name])
    yield "a form", watched.lost("/decide", b"rows=0&label=ash", Content_Type="application/x-www-form-urlencoded")
    for asked in (*ROWS, *LIMITS):
        yield (
            f"rows {asked[:40]!r}",
            watched.lost(f"/rows?{asked}" if "queue" in asked else f"/rows?queue=class&about=ash&{asked}"),
        )
    for path in PATHS:
        yield f"path {path}", watched.lost(path)
    for method in ("PUT", "DELETE", "TRACE"):
        yield f"method {method}", watched.lost("/state", method=method)
    pictures = MANY_PIECES | LARGEST_PICTURES
    for name in list(pictures)[: max(1, round(len(pictures) * effort))]:
        yield f"the likes of {name}", watched.lost("/like", pictures[name](), **BINARY)
    yield "SIGTERM", watched.ended()


KINDS: dict[str, Kind] = {"requests to the labelling page": labelling}
