"""The digits on disk are those of scikit-learn, and writing them again changes nothing."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from ulfine_cache.errors import UlfineError
from ulfine_exports.digits_folder import write_digits

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits") / "photographs"
    return folder, write_digits(folder)


def test_write_digits__every_digit_in_its_folder(digits):
    folder, files = digits
    labels = load_digits().target
    assert [file.parent.name for file in files] == [CLASSES[label] for label in labels]
    assert sorted(folder.rglob("*.png")) == sorted(files)
    assert len(files) == 1797


def test_write_digits__ink_is_dark_and_where_it_was(digits):
    """Averaged back to 8 x 8, a picture is the scan turned over, up to what the bicubic filter rings."""
    images = load_digits().images
    for number in (0, 7, 1796):
        with Image.open(digits[1][number]) as picture:
            assert (picture.mode, picture.size) == ("L", (80, 80))
            values = np.asarray(picture, dtype=float)
        cells = values.reshape(10, 8, 10, 8).mean(axis=(1, 3))
        assert np.corrcoef(cells[1:-1, 1:-1].ravel(), -images[number].ravel())[0, 1] > 0.98
        assert values.max() == 255
        assert cells[0].min() > 200


def test_write_digits__again_keeps_whole_files_and_mends_the_others(digits):
    folder, files = digits
    before, content = files[0].stat().st_mtime_ns, files[1].read_bytes()
    files[1].write_bytes(content[:20])
    files[2].unlink()
    assert write_digits(folder) == files
    assert files[0].stat().st_mtime_ns == before
    assert files[1].read_bytes() == content
    assert files[2].is_file()


def test_write_digits__folder_of_something_else(tmp_path):
    (tmp_path / "holiday").mkdir()
    with pytest.raises(UlfineError, match="holds something else, such as holiday"):
        write_digits(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UlfineError, match="cannot create"):
        write_digits(tmp_path / "file")
