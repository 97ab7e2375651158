"""Object storage that throttles, is slow, cuts connections and loses answers: what is lost, and what is seen half?

    python benchmarks/object_storage.py [--quick] [--json FILE]

Source (tar shards) and cache lie on moto's server, which answers as S3 does, over loopback; a proxy in front of it does
to a share of all requests what the name of a run says. Each run is `ulfine cache-features s3://... --out s3://...` in a
process of its own; beside it somebody looks at the server all the time, past the proxy, and compares every shard that
can be seen with that of a cache on a disk. Then the command is killed at random moments and given again, two processes
with local copies of their own write one cache, and at last the storage refuses everything.

It is a topic of `benchmarks/scale_out.py`, too.
"""

import argparse
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.object_storage import (  # noqa: E402 (a script's own folder comes first)
    CUT_ANSWER,
    CUT_REQUEST,
    LOST_ANSWER,
    SLOW,
    THROTTLED,
    BadNetwork,
    ask,
    at_random,
    s3_server,
)

BUCKET = "benchmark"
ASKED = ("--model", "builtin:tiny", "--precision", "fp32", "--device", "cpu", "--shard-size", "8", "--batch-size", "8")
PICTURES, KILLS = 400, 10
RUNS = {
    "throttled": (0.4, (THROTTLED,)),
    "slow": (0.8, (SLOW,)),
    "cut": (0.3, (CUT_REQUEST, CUT_ANSWER, LOST_ANSWER)),
    "all of it": (0.3, (THROTTLED, SLOW, CUT_REQUEST, CUT_ANSWER, LOST_ANSWER)),
}
"""Share of the requests that something happens to, and what."""

Figures = dict[str, Any]


class Place:
    """The server, the network in front of it, and what a cache there has to hold."""

    def __init__(self, folder: Path, network: BadNetwork) -> None:
        self.folder, self.network = folder, network
        self.wanted: dict[str, str] = {}

    def shards(self, cache: str) -> dict[str, str]:
        """SHA-256 of each shard that can be seen, past the proxy."""
        _, listing = ask(self.network.port, "GET", f"/{BUCKET}?list-type=2&prefix={cache}/shards/")
        names = re.findall(rb"<Key>([^<]*\.h5)</Key>", listing)
        found = ((name.decode(), *ask(self.network.port, "GET", f"/{BUCKET}/{name.decode()}")) for name in names)
        return {Path(name).name: hashlib.sha256(data).hexdigest() for name, status, data in found if status == 200}

    def is_finished(self, cache: str) -> bool:
        return ask(self.network.port, "GET", f"/{BUCKET}/{cache}/index.json")[0] == 200

    def start(self, cache: str, copies: str, patience: float = 60) -> "subprocess.Popen[str]":
        path = os.pathsep.join(str(ROOT / part) for part in ("", "cli", "cache", "exports"))
        environment = {
            "PYTHONPATH": path,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self.network.url,
            "ULFINE_LOCAL_CACHE_DIR": str(self.folder / copies),
            "ULFINE_STORAGE_PATIENCE": str(patience),
        }
        out = cache if cache.startswith("/") else f"s3://{BUCKET}/{cache}"
        command = [sys.executable, "-m", "ulfine_cli.main", "cache-features", f"s3://{BUCKET}/photos", "--out", out]
        command += [*ASKED, "--json", str(self.folder / f"{copies}.json"), "--quiet"]
        return subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE, text=True)

    def figures(self, copies: str) -> Figures:
        return json.loads((self.folder / f"{copies}.json").read_text(encoding="utf-8"))


class Witness:
    """Looks at a cache as long as it is written: what is there is whole, and finished is only what is complete."""

    def __init__(self, place: Place, cache: str) -> None:
        self._place, self._cache, self._over = place, cache, threading.Event()
        self.looks = self.not_whole = self.finished_too_early = 0
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Witness":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            finished = self._place.is_finished(self._cache)
            seen = self._place.shards(self._cache)
            self.looks += 1
            self.not_whole += sum(self._place.wanted.get(name) != digest for name, digest in seen.items())
            self.finished_too_early += finished and len(seen) < len(self._place.wanted)


@contextmanager
def prepared(folder: Path, pictures: int) -> Generator[Place]:
    """Start the server, send pictures in tar shards, and make the cache on a disk that others have to equal."""
    generator = np.random.default_rng(0)
    with s3_server() as port, BadNetwork(port) as network:
        place = Place(folder, network)
        ask(port, "PUT", f"/{BUCKET}")
        for part in range(4):
            data = io.BytesIO()
            with tarfile.open(fileobj=data, mode="w") as tar:
                for number in range(part, pictures, 4):
                    coarse = Image.fromarray(generator.integers(0, 256, (18, 24, 3), np.uint8))
                    picture = io.BytesIO()
                    coarse.resize((96, 72), Image.Resampling.BICUBIC).save(picture, "JPEG", quality=90)
                    label = b"dog" if number % 2 else b"cat"
                    for ending, content in (("jpg", picture.getvalue()), ("cls", label)):
                        info = tarfile.TarInfo(f"{number:06d}.{ending}")
                        info.size = len(content)
                        tar.addfile(info, io.BytesIO(content))
            ask(port, "PUT", f"/{BUCKET}/photos/train-{part:03d}.tar", data.getvalue())
        local = folder / "local"
        if place.start(str(local), "reference").wait():
            raise SystemExit("the cache on a disk cannot be made")
        place.wanted = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (local / "shards").glob("*.h5")
        }
        yield place


def bad_networks(place: Place, *, quick: bool) -> Figures:
    found: Figures = {}
    for number, (name, (share, faults)) in enumerate(list(RUNS.items())[-1 if quick else 0 :]):
        cache = name.replace(" ", "-")
        place.network.forget()
        place.network.fault = at_random(share, number, faults)
        started = time.perf_counter()
        with Witness(place, cache) as witness:
            exit_code = place.start(cache, cache).wait()
        happened = sum(count for fault, count in place.network.faults.items() if fault)
        figures = place.figures(cache) if exit_code == 0 else {}
        found[name] = {
            "exit_code": exit_code,
            "requests": len(place.network.requests),
            "faults": happened,
            "seconds": round(time.perf_counter() - started, 1),
            "images_without_a_row": figures.get("skipped"),
            "shards_that_differ": _differing(place, cache),
            "looks": witness.looks,
            "not_whole": witness.not_whole,
            "finished_too_early": witness.finished_too_early,
        }
    place.network.forget()
    return found


def kills(place: Place, count: int) -> Figures:
    """SIGKILL at random moments, the local copies thrown away every other time, until it is done."""
    generator, encoded, killed = random.Random(1), 0, 0
    with Witness(place, "killed") as witness:
        for number in range(count):
            if number % 2:
                shutil.rmtree(place.folder / "killed", ignore_errors=True)
            before = len(place.shards("killed"))
            process = place.start("killed", "killed")
            goal = before + generator.randrange(1, 3)
            until = time.monotonic() + 120
            # From when it has put a shard there, so that it is killed at work and not while it imports.
            while process.poll() is None and len(place.shards("killed")) < goal and time.monotonic() < until:
                time.sleep(0.02)
            time.sleep(generator.random() * 0.2)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.wait()
        exit_code = place.start("killed", "killed").wait()
        encoded = place.figures("killed")["shards_encoded"] if exit_code == 0 else -1
    return {
        "kills": killed,
        "exit_code": exit_code,
        "shards": len(place.wanted),
        "shards_encoded_last": encoded,
        "shards_that_differ": _differing(place, "killed"),
        "not_whole": witness.not_whole,
        "finished_too_early": witness.finished_too_early,
    }


def two_writers(place: Place) -> Figures:
    """Two machines give the same command at once: each shard is there once, and both end well."""
    place.network.fault = at_random(0.1, 7)
    with Witness(place, "two") as witness:
        processes = [place.start("two", name) for name in ("one", "other")]
        exit_codes = [process.wait() for process in processes]
    place.network.forget()
    return {
        "exit_codes": exit_codes,
        "shards_that_differ": _differing(place, "two"),
        "not_whole": witness.not_whole,
        "finished_too_early": witness.finished_too_early,
    }


def giving_up(place: Place) -> Figures:
    """Nothing gets through any more after two shards; then all does."""
    fault = at_random(1, 0, (THROTTLED,))
    place.network.fault = lambda method, path: fault(method, path) if len(place.shards("gone")) >= 2 else ""
    process = place.start("gone", "gone", patience=2)
    line = process.communicate()[1].strip()
    place.network.forget()
    again = place.start("gone", "gone").wait()
    return {
        "exit_code": process.returncode,
        "line": line,
        "names_the_url": f"s3://{BUCKET}/" in line and line.count("\n") == 0,
        "again": again,
        "shards_encoded_again": place.figures("gone")["shards_encoded"] if again == 0 else -1,
        "shards_that_differ": _differing(place, "gone"),
    }


def _differing(place: Place, cache: str) -> int:
    seen = place.shards(cache)
    return sum(seen.get(name) != digest for name, digest in place.wanted.items()) + len(seen.keys() - place.wanted)


def bar(name: str, value: float, limit: float, holds: bool) -> Figures:
    return {"name": name, "value": value, "bar": limit, "holds": holds}


def object_storage(folder: Path, arguments: argparse.Namespace) -> tuple[Figures, list[Figures]]:
    """The topic: figures, and bars."""
    pictures, count = (64, 1) if arguments.quick else (PICTURES, KILLS)
    with prepared(folder, pictures) as place:
        found = {
            "networks": bad_networks(place, quick=arguments.quick),
            "kills": kills(place, count),
            "two_writers": two_writers(place),
            "giving_up": giving_up(place),
        }
    parts = [*found["networks"].values(), found["kills"], found["two_writers"]]
    differing = sum(part["shards_that_differ"] for part in (*parts, found["giving_up"]))
    lost = sum(part["images_without_a_row"] or 0 for part in found["networks"].values())
    half = sum(part["not_whole"] + part["finished_too_early"] for part in parts)
    codes = [part["exit_code"] for part in (*found["networks"].values(), found["kills"])]
    codes += found["two_writers"]["exit_codes"]
    failed = sum(code != 0 for code in codes)
    gave_up = found["giving_up"]
    well = gave_up["exit_code"] == 1 and gave_up["names_the_url"] and gave_up["again"] == 0
    again = max(0, gave_up["shards_encoded_again"] - len(place.wanted) + 2)
    return found, [
        bar("shards that are missing or differ from those on a disk", differing, 0, differing == 0),
        bar("images without a row", lost, 0, lost == 0),
        bar("half objects or finished caches seen too early", half, 0, half == 0),
        bar("commands that did not get through", failed, 0, failed == 0),
        bar("one line with the URL and exit code 1 where nothing answers", int(well), 1, well),
        bar("shards made again that were there before it gave up", again, 0, again == 0),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Object storage that throttles, is slow, cuts and loses.")
    parser.add_argument("--quick", action="store_true", help="few pictures, all faults in one run, and one kill")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures, bars = object_storage(Path(folder), arguments)
    for name, part in figures.items():
        sys.stdout.write(f"{name}: {json.dumps(part)}\n")
    for one in bars:
        sys.stdout.write(f"{one['name']}: {one['value']} (bar {one['bar']}): {'holds' if one['holds'] else 'MISSED'}\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures | {"bars": bars}, indent=1), encoding="utf-8")
    return 0 if all(one["holds"] for one in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
