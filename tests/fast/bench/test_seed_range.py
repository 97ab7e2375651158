import pytest

from ulfine_cache.errors import UsageError
from ulfine_fast.bench.seed_range import seeds_of


@pytest.mark.parametrize("text", ["5:", ":5", "5:5", "7:3", "a:b", "1:2:3", "-1:3", "1:9999999999"])
def test_seeds_of__no_range(text):
    with pytest.raises(UsageError, match="such as 10:20") as caught:
        seeds_of(text)
    assert repr(text) in str(caught.value)


def test_seeds_of__number_and_range():
    assert seeds_of(2) == [0, 1]
    assert seeds_of(" 3:6 ") == [3, 4, 5]
