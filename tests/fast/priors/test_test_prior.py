"""What `--test-prior` accepts, and the one line for what it does not."""

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Silent
from ulfine_fast.priors.test_prior import read_test_prior

CLASSES = ("ash", "date palm", "été")
COUNTS = (6, 3, 0)


def read(option):
    return read_test_prior(str(option), CLASSES, COUNTS)


def test_words():
    np.testing.assert_allclose(read("uniform").prior, 1 / 3)
    np.testing.assert_allclose(read("labelled").prior, np.array([6, 3, 0.5]) / 9.5)
    assert read("estimate").prior is None
    assert [read(word).name for word in ("uniform", "labelled", "estimate")] == ["uniform", "labelled", "estimate"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_file(tmp_path, encoding, newline):
    lines = ["class,weight", "été,0", "", " ash , 3", '"date palm",1e0', ""]
    (tmp_path / "w.csv").write_bytes(newline.join(lines).encode(encoding))
    found = read(tmp_path / "w.csv")
    assert found.name == "file"
    np.testing.assert_allclose(found.prior, [0.75, 0.25, 0.0])


def test_file__weights_whose_sum_is_no_number(tmp_path):
    (tmp_path / "w.csv").write_text("class,weight\nash,1e308\ndate palm,1e308\nété,1e308\n", "utf-8")
    np.testing.assert_allclose(read(tmp_path / "w.csv").prior, 1 / 3)


REST = "ash,1\ndate palm,1\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("class,weight\n" + REST, "has no weight for class 'été': add a line"),
        ("class,weight\nash,1\n", r"has no weight for class 'date palm' \(and 1 more\)"),
        ("class,weight\n" + REST + "elm,1\n", "line 4: 'elm' is no class of the model"),
        ("class,weight\n" + REST + "ash,2\n", "line 4: class 'ash' comes twice"),
        ("class,weight\n" + REST + "été,-1\n", "line 4: the weight of 'été' is '-1': give a number of at least 0"),
        ("class,weight\n" + REST + "été,nan\n", "the weight of 'été' is 'nan'"),
        ("class,weight\n" + REST + "été,inf\n", "the weight of 'été' is 'inf'"),
        ("class,weight\n" + REST + "été,much\n", "the weight of 'été' is 'much'"),
        ("class,weight\n" + REST + "été\n", "line 4: 1 value, expected a class and a weight"),
        ("class,weight\nash,0\ndate palm,0\nété,0\n", "all weights are zero"),
        (REST + "été,1\n", "has no header class,weight: it begins with 'ash,1'"),
        ("", "is empty: write a header"),
        ('class,weight\n"ash,1\n', "is no CSV file"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "is no CSV file"),
    ],
)
def test_file__refusals_are_one_line(tmp_path, content, message):
    path = tmp_path / "w.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UlfineError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_neither_word_nor_file(tmp_path):
    for option in ("labeled", tmp_path / "none.csv", ""):
        with pytest.raises(UsageError, match="choose uniform, labelled, estimate, or name a CSV file"):
            read(option)


def test_a_directory(tmp_path):
    with pytest.raises(UlfineError, match=r"cannot read the test prior .*: is a directory"):
        read(tmp_path)


def test_settled__says_that_few_rows_tell_little():
    said = []

    class Notes(Silent):
        def note(self, message):
            said.append(message)

    target, uniform = read("estimate"), np.full(3, 1 / 3)
    target.settled(lambda: np.zeros((30, 3)), uniform, "test rows", Notes())
    assert said == []
    target.settled(lambda: np.zeros((29, 3)), uniform, "test rows", Notes())
    assert said[0].startswith("the class prior is estimated from 29 test rows for 3 classes")


def test_file__a_name_with_blanks_is_taken_as_it_is_before_it_is_trimmed(tmp_path):
    (tmp_path / "w.csv").write_text("class,weight\n ash,3\nash,1\n", "utf-8")
    np.testing.assert_allclose(read_test_prior(str(tmp_path / "w.csv"), (" ash", "ash"), (1, 1)).prior, [0.75, 0.25])
