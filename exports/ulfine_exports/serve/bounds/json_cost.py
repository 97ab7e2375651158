"""How much memory a JSON text takes when it has been read, before it is read.

pydantic_core makes an object of every value, and a text of 64 MB can be 32 million of them: 1.7 GB of empty lists, or
1.9 GB of small objects, where 64 MB of numbers with six digits are 0.3 GB.
"""

from ulfine_exports.serve.refusal import Refusal

MAX_JSON_BYTES = 600 * 2**20
"""Most memory that one JSON text may take: 64 MB of small whole numbers fit, and 160 MB of numbers with ten digits."""

# Upper bounds, measured with pydantic_core 2.50 on CPython 3.11 to 3.13: see tests/exports/serve/test_json_cost.py.
# A place in a list, growth included; a number that CPython does not hold in stock; a list; a dict; a key; a text.
_PLACE, _NUMBER, _LIST, _DICT, _KEY, _TEXT = 16, 32, 96, 200, 160, 40


def json_cost(text: "bytes | bytearray") -> int:
    """Bytes that the objects of a JSON text take at most, counted by its punctuation.

    Args:
        text: UTF-8; it need not be JSON.

    Example:
        >>> json_cost(b"[1, 2, 3]") < 1000
        True
    """
    lists, dicts, keys = text.count(b"["), text.count(b"{"), text.count(b":")
    values = text.count(b",") + lists + dicts + 1
    # What takes three bytes or less with its comma is in stock, which says how many numbers are not.
    numbers = min(values, max(0, len(text) - 2 * values) // 2 + 1)
    # A character beyond Latin-1 makes all of its text take four bytes a character.
    characters = len(text) if text.isascii() and b"\\" not in text else 4 * len(text)
    # Each text has two quotes.
    objects = _LIST * lists + _DICT * dicts + _KEY * keys + _TEXT * text.count(b'"')
    return _PLACE * values + _NUMBER * numbers + objects + characters


def check_json_cost(text: "bytes | bytearray") -> int:
    """`json_cost`, which has to be bearable.

    Raises:
        Refusal: The text would take more than `MAX_JSON_BYTES`; 413.
    """
    cost = json_cost(text)
    if cost > MAX_JSON_BYTES:
        raise Refusal(
            413,
            f"this JSON would take up to {cost / 2**20:.0f} MB of memory and may take {MAX_JSON_BYTES // 2**20}: send "
            "fewer rows at a time, data as one flat list, or binary tensors (binary_data_size)",
        )
    return cost
