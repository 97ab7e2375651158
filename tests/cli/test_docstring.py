from ulfine_cli.docstring import Docstring, reworded


def paint(*, walls, colour):
    """Paint walls.

    With `coats` of ``auto``: until it covers.

    Twice.

    Args:
        walls: What to paint: see
            note: no wall.
        colour: Red
            or blue.

    Returns:
        Nothing.

        At all.
    """


def one(*, walls):
    """Paint.

    Args:
        walls: What to
            paint: walls.
    """


def test_docstring__is_taken_apart():
    found = Docstring.of(paint)
    assert found.summary == "Paint walls."
    assert found.description == "With `coats` of ``auto``: until it covers.\n\nTwice."
    assert found.entries("Args") == {"walls": "What to paint: see note: no wall.", "colour": "Red or blue."}
    assert found.entries("Raises") == {}
    assert list(found.sections) == ["Args", "Returns"]
    assert found.sections["Returns"] == "Nothing.\n\nAt all."


def test_docstring__of_one_argument():
    assert Docstring.of(one).entries("Args") == {"walls": "What to paint: walls."}


def test_docstring__may_be_missing():
    assert Docstring.of(lambda: None) == Docstring("", "", {})


def test_reworded__tells_literals_from_names():
    found = reworded("`a` or ``b`` or ``c d``, not `e", lambda text: f"<{text}>", lambda name: f"--{name}")
    assert found == "--a or <b> or <c d>, not `e"
