import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_fast.rows import memory_bound as of_memory
from ulfine_fast.rows.memory_bound import MemoryBound, free_bytes, memory_bound, readable, resident_bytes
from ulfine_fast.streaming_choice import must_stream


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4GB", 4 * 10**9),
        ("4g", 4 * 10**9),
        ("1.5 GB", 1_500_000_000),
        ("2GiB", 2 * 2**30),
        ("500MB", 5 * 10**8),
        ("1000000", 10**6),
        ("7 kB", 7000),
        ("0.5t", 5 * 10**11),
        ("3KiB", 3 * 2**10),
        ("3mib", 3 * 2**20),
        ("1.5 TiB", 3 * 2**39),
        ("12 B", 12),
    ],
)
def test_memory_bound__sizes(text, expected):
    bound = memory_bound(text)
    assert bound == MemoryBound(expected, asked=True)


@pytest.mark.parametrize("text", ["", "much", "-4GB", "4XB", "0GB", "4GB8", "nan"])
def test_memory_bound__refuses(text):
    with pytest.raises(UsageError, match="is no size: write auto or something like 4GB"):
        memory_bound(text)


def test_memory_bound__auto_is_half_of_what_is_free():
    bound, free = memory_bound("auto"), free_bytes()
    assert not bound.asked
    assert bound.bytes - resident_bytes() == pytest.approx(free / 2, rel=0.1)


def test_resident_bytes__grows_with_what_is_held():
    code = (
        "import numpy; from ulfine_fast.rows.memory_bound import resident_bytes\n"
        "before = resident_bytes(); held = numpy.ones(5_000_000)\n"
        "import sys; sys.stderr.write(str(resident_bytes() - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stderr) == pytest.approx(4e7, rel=0.2)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_resident_bytes__is_what_the_system_calls_it():
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    assert resident_bytes() == pytest.approx(1024 * int(lines["VmRSS"].split()[0]), rel=0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_free_bytes__without_a_container_is_what_the_system_can_give(tmp_path, monkeypatch):
    monkeypatch.setattr(of_memory, "_CGROUP", tmp_path)
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    assert free_bytes() == pytest.approx(1024 * int(lines["MemAvailable"].split()[0]), rel=0.2)


@pytest.mark.parametrize(("limit", "free"), [("10000", 4700), ("5000", 0)])
def test_free_bytes__within_the_limit_of_a_container(tmp_path, monkeypatch, limit, free):
    """Files of both versions of cgroups as the kernel writes them; read files can be dropped (memory.stat)."""
    monkeypatch.setattr(of_memory, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("6000\n")
    (tmp_path / "memory.stat").write_text("anon 4000\ninactive_file 700\nactive_file 1300\n")
    assert free_bytes() == free
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes() > 10**6


@pytest.mark.parametrize(("limit", "free"), [("10000", 4000), ("5000", 0)])
def test_free_bytes__within_the_limit_of_an_older_container(tmp_path, monkeypatch, limit, free):
    monkeypatch.setattr(of_memory, "_CGROUP", tmp_path)
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text("6000\n")
    assert free_bytes() == free


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_free_bytes__a_container_without_a_limit_is_not_asked_in_the_older_way(tmp_path, monkeypatch):
    """Systems that mount both versions may leave old figures in the folders of version 1."""
    monkeypatch.setattr(of_memory, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("10000\n")
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text("6000\n")
    assert free_bytes() > 10**6


def test_readable():
    assert [readable(n) for n in (4e9, 10_240_000_000, 81_920_000)] == ["4.0 GB", "10.2 GB", "82 MB"]
    assert [readable(n) for n in (10**9, 999_000_000)] == ["1.0 GB", "999 MB"]


def test_must_stream__where_rows_would_break_the_bound(make_cache):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(100_000, 24)).astype(np.float32)
    labels = np.full(len(features), -1)
    labels[:40] = np.arange(40) % 4
    cache = FeatureCache.open(make_cache("many", features=features, labels=labels))
    split = cache.read_split(None)
    assert not must_stream(cache, split, "cpu", MemoryBound(resident_bytes() + 10**9))
    # Loading all rows takes 22 MB, streaming them 7 MB.
    low = next(
        bound
        for bound in range(resident_bytes(), resident_bytes() + 10**9, 2 * 10**6)
        if must_stream(cache, split, "cpu", MemoryBound(bound, asked=False)) is False
    )
    assert must_stream(cache, split, "cpu", MemoryBound(low - 10 * 10**6))
    with pytest.raises(UlfineError, match=r"takes up to .* [MG]B, more than 1 MB: raise --memory"):
        must_stream(cache, split, "cpu", MemoryBound(10**6))
    assert must_stream(cache, split, "cpu", MemoryBound(10**6, asked=False))
