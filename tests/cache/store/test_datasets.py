import subprocess
import sys

import h5py
import numpy as np
import pytest

from ulfine_cache.store.datasets import read_array, replacing_file, write_array

# RLIMIT_FSIZE fails a write in the middle of a file, as a full disk does (EFBIG for ENOSPC).
FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from ulfine_cache.store.datasets import replacing_file, write_array
from ulfine_cache.errors import UlfineError

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with replacing_file(Path(sys.argv[1])) as file:
        for number in range(6):
            write_array(file, f"values{number}", np.ones((300, 200), np.float32))
except UlfineError as error:
    print(error)
"""


def test_replacing_file__holds_what_was_written(tmp_path):
    values = np.arange(12.0).reshape(4, 3)
    with replacing_file(tmp_path / "a.h5") as file:
        write_array(file, "values", values)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(read_array(file, "values"), values)
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
def test_replacing_file__full_disk_is_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "a.h5")], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"cannot write {tmp_path / 'a.h5'}: file too large; raise the limit on file sizes")
    assert done.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_replacing_file__nothing_of_a_body_that_raised(tmp_path):
    with pytest.raises(ZeroDivisionError), replacing_file(tmp_path / "a.h5"):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
