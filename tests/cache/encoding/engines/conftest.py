"""Ray on this machine, one at a time."""

import pytest
from filelock import FileLock


@pytest.fixture
def one_at_a_time(tmp_path_factory):
    """Two clusters at once would need twice the memory and, on a small machine, more than twice the time."""
    # The folder above is that of all workers of one test run.
    with FileLock(tmp_path_factory.getbasetemp().parent / "ray.lock"):
        yield
