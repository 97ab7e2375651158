"""Names with anything in them: as Unicode, on one line, on a terminal."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ulfine_cache.errors import UlfineError
from ulfine_cache.names.written import is_name, one_line, readable, readable_names, shown

ANYTHING = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
AWKWARD = st.text(st.sampled_from(" \\nx0a\n\t\r\x1b\x85\u2028\xa0\udce9"), max_size=6)


@given(ANYTHING)
@example("a\nerror: b\x1b[2J")
@example("\u202egpj.exe")
def test_shown__nothing_that_a_terminal_obeys(text):
    line = shown(text)
    assert len(line.splitlines()) <= 1
    assert {unicodedata.category(character) for character in line}.isdisjoint({"Cc", "Cs", "Zl", "Zp"})
    assert not set(line) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
    line.encode()


@pytest.mark.parametrize("text", ["cat", "C:\\photos\\a.jpg", "été", "猫", "👩‍🔬", "a  b"])
def test_shown__what_is_harmless_stays(text):
    assert shown(text) == readable(text) == text


@given(AWKWARD, AWKWARD)
@example("a", " a")
@example("a", "a\n")
@example("a\nb", "a\\nb")
@example("a\\nb", "a\\\\nb")
def test_one_line__different_names_stay_different_without_outer_blanks(first, second):
    lines = [one_line(first), one_line(second)]
    assert all(line == line.strip() and len(line.splitlines()) <= 1 for line in lines)
    # Two escapes may spell one character: a byte that is no UTF-8 and the same number as a control character.
    if {*first, *second}.isdisjoint("\udce9"):
        assert (lines[0] == lines[1]) == (first == second)


@given(ANYTHING)
def test_readable__is_unicode(text):
    readable(text).encode()
    assert is_name(text) or readable(text) != text


def test_readable_names__stay_different():
    assert readable_names(["caf\udce9", "\ud800", "b"]) == ["caf\\xe9", "\\ud800", "b"]
    with pytest.raises(UlfineError, match=r"two classes are called caf\\xe9"):
        readable_names(["caf\udce9", "caf\\xe9"])
