"""Killed or interrupted at any moment, then the same command again: the same bytes as without."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.cache.conftest import write_picture
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.stage_one import cache_features
from ulfine_cache.verify import verify

# Imports once and forks for every line on stdin, because importing torch takes longer than all the work.
# A line holds the cache and the change before which SIGKILL comes: "open 2 cache.h5.partial" is the second time that
# this file is opened for writing.
DRIVER = """
import functools, os, signal, sys, time
from pathlib import Path
import faiss, open_clip
from ulfine_cache.stage_one import cache_features

class Slow:
    def update(self, stage, done, total, **figures):
        time.sleep(0.01 if stage == "encoding" else 0)
    def note(self, message):
        pass

def kill_before(change, count, name):
    left = [int(count)]
    def audit(event, arguments):
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event != "open") and event == change and Path(os.fsdecode(arguments[0])).name == name:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(audit)

source, config, model, weights = sys.argv[1:]
open_clip.add_model_config(Path(config))
# Reading the tokenizer's vocabulary takes half a second.
open_clip.get_tokenizer = functools.cache(open_clip.get_tokenizer)
open_clip.get_tokenizer(model)
for line in sys.stdin:
    out, *change = line.split()
    child = os.fork()
    if child == 0:
        if change:
            kill_before(*change)
        cache_features(source=Path(source), out=Path(out), model=model, pretrained=weights, device="cpu",
                       precision="fp32", batch_size=2, workers=2, shard_size=2, progress=Slow())
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


LAST_CHANGES = [
    "os.remove 1 cache.h5",
    "open 1 00030.h5.partial",
    "open 2 00030.h5.partial",
    "os.rename 1 00030.h5.partial",
    "open 1 skipped.csv.partial",
    "open 2 skipped.csv.partial",
    "os.rename 1 skipped.csv.partial",
    # Opened by FAISS once before, which Python does not see.
    "open 1 image.faiss.partial",
    "os.rename 1 image.faiss.partial",
    "os.remove 2 cache.h5",
    "open 1 cache.h5.sha256.partial",
    "open 2 cache.h5.sha256.partial",
    "os.rename 1 cache.h5.sha256.partial",
    "open 1 cache.h5.partial",
    "open 2 cache.h5.partial",
    "os.rename 1 cache.h5.partial",
]
"""What is done from the deletion of cache.h5 to its return, in this order."""


class Runs:
    """Runs of stage one in processes that can be killed."""

    def __init__(self, photos, random_model):
        arguments = [str(photos), str(random_model[2]), random_model[0], random_model[1]]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self.driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, *arguments],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def start(self, out, change=""):
        self.driver.stdin.write(f"{out} {change}\n")
        self.driver.stdin.flush()
        return int(self.driver.stdout.readline())

    def wait(self):
        return int(self.driver.stdout.readline())

    def close(self):
        self.driver.communicate()


def finished(out):
    return len(list((out / "shards").glob("*.h5")))


def shard_bytes(out):
    return {path.name: path.read_bytes() for path in sorted((out / "shards").glob("*.h5"))}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL and fork are POSIX")
def test_cache_features__killed_at_random_moments(tmp_path, random_model):
    photos = tmp_path / "photos"
    for number in range(60):
        write_picture(photos / f"class{number % 3}" / f"{number:02d}.png", number)
    (photos / "class1" / "broken.png").write_bytes(b"broken")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    runs = Runs(photos, random_model)
    runs.start(whole)
    assert runs.wait() == 0
    n_shards = finished(whole)
    assert n_shards == 31

    rng = np.random.default_rng(7)
    # By the clock: while images are decoded, encoded and written. Counting finished shards instead of seconds hits the
    # work itself on fast and slow machines alike.
    moments = []
    for extra in rng.integers(1, 4, 14).tolist():
        target = min(finished(killed) + extra, n_shards)
        child = runs.start(killed)
        deadline = time.monotonic() + 60
        while finished(killed) < target and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        assert runs.wait() in (signal.SIGKILL, 0)
        moments.append(finished(killed))
    assert sum(0 < shards < n_shards for shards in moments) >= 3
    # By the change: before each single one that is left, from the last shard to cache.h5.
    runs.start(killed)
    assert runs.wait() == 0
    (killed / "shards" / f"{n_shards - 1:05d}.h5").unlink()
    states = {}
    for change in LAST_CHANGES:
        runs.start(killed, change)
        assert runs.wait() == signal.SIGKILL, change
        states[change] = {path.name for path in killed.iterdir()}
    assert len(moments) + len(states) == 30
    runs.start(killed)
    assert runs.wait() == 0
    runs.close()

    assert shard_bytes(killed) == shard_bytes(whole)
    assert (killed / "skipped.csv").read_bytes() == (whole / "skipped.csv").read_bytes()
    one, two = FeatureCache.open(killed), FeatureCache.open(whole)
    assert one.fingerprint == two.fingerprint
    np.testing.assert_array_equal(one.features(), two.features())
    assert verify(cache=killed)["damaged"] == []
    assert not list(killed.rglob("*.partial"))
    # A digest may be there before its file, a file never before its digest.
    assert {"cache.h5", "cache.h5.sha256"} <= states["os.remove 1 cache.h5"]
    assert not any("cache.h5" in names for names in list(states.values())[1:])
    assert {"cache.h5.partial", "cache.h5.sha256"} <= states["os.rename 1 cache.h5.partial"]


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_cache_features__interrupted(tmp_path, number):
    photos, out = tmp_path / "photos", tmp_path / "cache"
    for picture in range(300):
        write_picture(photos / f"class{picture % 2}" / f"{picture:03d}.png", picture)
    request = {"model": "builtin:tiny", "device": "cpu", "precision": "fp32", "batch_size": 2, "shard_size": 2}
    options = [text for name, value in request.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    command = [Path(sys.executable).parent / "ulfine", "cache-features", photos, "--out", out, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while finished(out) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(number)
    printed, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert printed == ""
    assert err.splitlines()[-1] == "interrupted: run the same command again to go on"
    assert "Traceback" not in err
    assert not list(out.rglob("*.partial"))
    kept = shard_bytes(out)
    assert 3 <= len(kept) < 150
    assert cache_features(source=photos, out=out, **request)["shards_encoded"] == 150 - len(kept)
    assert kept.items() <= shard_bytes(out).items()
    assert verify(cache=out)["damaged"] == []
