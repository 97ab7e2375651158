"""The rule for black and white of more than eight bits: each line of the table in docs/sources.md."""

import numpy as np
import pytest

from ulfine_cache.errors import UsageError
from ulfine_cache.pictures.pixel_range import Range, covers, parse_pixel_range, to_eight_bits


def scaled(values, kind, **options):
    found = to_eight_bits(np.array(values, kind), **options)
    assert found.values.dtype == np.uint8
    return found.values.tolist(), found.note


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        ([0, 1, 255], [0, 1, 255], "of 16-bit values 0..255 read as 8-bit"),
        ([0, 256, 2048, 4095], [0, 16, 128, 255], "of 16-bit values 0..4095 read as 12-bit"),
        ([0, 4096, 65535], [0, 16, 255], "of 16-bit values read as 0..65535"),
        ([0, 128, 129, 4096], [0, 0, 1, 16], "of 16-bit values read as 0..65535"),
    ],
)
def test_integers__smallest_of_three_ranges(values, expected, note):
    assert scaled(values, np.uint16) == (expected, note)
    assert scaled(values, np.int32) == (expected, note.replace("16-bit values", "integer values"))


def test_integers__below_0_or_above_65535_are_stretched():
    note = "of integer values stretched from the smallest to the largest"
    assert scaled([-1024, 1023, 3071], np.int32) == ([0, 127, 255], note)
    assert scaled([0, 50_000, 100_000], np.int32) == ([0, 128, 255], note)
    assert scaled([0, 2**31, 2**32 - 1], np.int64) == ([0, 128, 255], note)


@pytest.mark.parametrize(
    ("values", "expected", "words"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255], "read as 0..1"),
        ([0.0, 0.5, 1.02], [0, 128, 255], "read as 0..1"),
        ([-0.05, 0.5, 0.4], [0, 128, 102], "read as 0..1"),
        ([-1.0, 0.0, 1.0], [0, 128, 255], "read as -1..1"),
        ([-1.02, 0.0, 0.9], [0, 128, 242], "read as -1..1"),
        ([0.0, 128.0, 250.0], [0, 128, 250], "read as 0..255"),
        ([0.0, 128.0, 256.0], [0, 128, 255], "read as 0..255"),
        ([0.0, 32768.0, 65535.0], [0, 128, 255], "read as 0..65535"),
        ([0.0, 500.0, 1000.0], [0, 128, 255], "stretched from the smallest to the largest"),
        ([280.0, 290.0, 300.0], [0, 128, 255], "stretched from the smallest to the largest"),
        ([-5.0, 0.0, 5.0], [0, 128, 255], "stretched from the smallest to the largest"),
        ([0.0, 0.0005, 0.001], [0, 128, 255], "stretched from the smallest to the largest"),
        ([0.0, 0.0], [0, 0], "read as 0..1"),
        ([0.2, 0.2], [51, 51], "read as 0..1"),
        ([np.nan, 0.0, 1.0, np.inf, -np.inf], [0, 0, 255, 255, 0], "read as 0..1"),
        ([np.nan, np.nan], [0, 0], "read as 0..1"),
        ([np.nan, 0.0, 1000.0], [0, 0, 255], "stretched from the smallest to the largest"),
    ],
)
def test_floats__four_ranges_or_their_own(values, expected, words):
    for kind in (np.float32, np.float64):
        found, note = scaled(values, kind)
        assert note == f"of float values {words}"
        # Half of an odd number of steps is rounded to either side, as the values are not exact.
        assert np.abs(np.subtract(found, expected)).max() <= ("stretched" in words)


def test_floats__few_values_far_off_do_not_count():
    values = np.linspace(0, 1, 4096, dtype=np.float32)
    values[:4] = [1e6, -9999, 3e38, 700]
    found = to_eight_bits(values)
    assert found.note == "of float values read as 0..1"
    assert found.values[:4].tolist() == [255, 0, 255, 255]
    assert found.values[2048] == 128
    # More than one in a thousand are part of the picture.
    values[:8] = 1e6
    assert to_eight_bits(values).note == "of float values stretched from the smallest to the largest"
    # And so is what is only a little brighter than the rest.
    values = np.linspace(0, 10, 4096)
    values[-1] = 18
    assert to_eight_bits(values).values[-2:].tolist() == [142, 255]
    values = np.linspace(0, 10, 4096)
    values[0] = -8
    assert to_eight_bits(values).values[:2].tolist() == [0, 113]


def test_integers_of_16_bits__no_value_is_left_out():
    values = np.zeros(10_000, np.uint16)
    values[0] = 65535
    assert to_eight_bits(values).note == "of 16-bit values read as 0..65535"


def test_stated_and_chosen__chosen_comes_first():
    stated, chosen = Range(0, 1023), Range(100, 200)
    by_file = ([25, 255], "of 16-bit values scaled by what the file says of them")
    assert scaled([100, 1023], np.uint16, stated=stated) == by_file
    by_user = ([0, 128, 255], "of 16-bit values read as 100..200 (--pixel-range)")
    assert scaled([50, 150, 1023], np.uint16, stated=stated, chosen=chosen) == by_user
    assert scaled([50.0, 150.0], np.float32, chosen=chosen)[0] == [0, 128]
    # Black above all values of the table.
    assert scaled([-5, 0, 5], np.int32, chosen=Range(-5, 5))[0] == [0, 128, 255]


def test_sixteen_bits__every_value_is_rounded_as_before():
    values = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(to_eight_bits(values).values, np.rint(values / 257).astype(np.uint8))


def test_covers():
    assert covers(Range(0, 5), np.array([0, 5]))
    assert not covers(Range(0, 5), np.array([0, 6]))
    assert not covers(Range(1, 5), np.array([0, 5]))
    assert not covers(Range(0, 5), np.array([]))
    assert not covers(Range(0, 5), np.array([0, np.nan]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", None),
        (" AUTO ", None),
        ("0..4095", (0, 4095)),
        ("0 .. 1", (0, 1)),
        ("-1024..3071", (-1024, 3071)),
        ("-1.5..+.5", (-1.5, 0.5)),
        ("1e-3..1E3", (0.001, 1000)),
        ("0...5", (0, 0.5)),
    ],
)
def test_parse__numbers_with_two_dots_between(text, expected):
    found = parse_pixel_range(text)
    assert found == expected
    if found is not None:
        assert parse_pixel_range(str(found)) == found


@pytest.mark.parametrize(
    "text", ["", "0", "0..", "..1", "1..0", "1..1", "0..nan", "0..inf", "0..1e999", "12", "0-1", "a..b"]
)
def test_parse__anything_else_is_refused(text):
    with pytest.raises(UsageError, match=r"no pixel range .*: there are auto and BLACK\.\.WHITE with two ris"):
        parse_pixel_range(text)
