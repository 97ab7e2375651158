import subprocess
import sys

import pytest

from ulfine_cache.config import StrictConfig
from ulfine_cache.errors import UsageError
from ulfine_fast.registry import METHODS, get_method


@pytest.mark.parametrize("name", METHODS)
def test_get_method__every_line_leads_to_its_method(name):
    method = get_method(name)
    assert method.name == name
    assert issubclass(method.settings, StrictConfig)
    method.settings()
    assert METHODS[name].summary
    assert "\n" not in METHODS[name].summary


def test_get_method__unknown_lists_the_names():
    with pytest.raises(UsageError, match="unknown method 'magic': choose one of zero-shot"):
        get_method("magic")


def test_import__knows_names_without_torch():
    code = "import sys; from ulfine_fast.registry import METHODS; assert METHODS; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
