"""What every source's listing is cut into, and by what a changed one is noticed."""

from hypothesis import given
from hypothesis import strategies as st

from ulfine_cache.sources.source import SourceItem, blocks_of, listing_digest

ITEM = SourceItem("cat/1.jpg", 0, "train", 10, 5)


@given(st.integers(0, 40), st.integers(1, 45))
def test_blocks_of__consecutive_and_full_but_for_the_last(n_items, size):
    items = [SourceItem(f"{number}.jpg", -1, "", 1, 1) for number in range(n_items)]
    blocks = blocks_of(items, size)
    assert [item for block in blocks for item in block] == items
    assert all(len(block) == size for block in blocks[:-1])
    assert all(1 <= len(block) <= size for block in blocks)


def test_listing_digest__every_field_counts():
    others = [ITEM._replace(**{name: value}) for name, value in zip(ITEM._fields, ("b", 1, "val", 11, 6), strict=True)]
    assert len({listing_digest([item]) for item in (ITEM, *others)}) == 6
    assert listing_digest([ITEM, others[0]]) != listing_digest([others[0], ITEM])
