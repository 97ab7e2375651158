import subprocess
import sys

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
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


def test_readable():
    assert [readable(n) for n in (4e9, 10_240_000_000, 81_920_000)] == ["4.0 GB", "10.2 GB", "82 MB"]


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
