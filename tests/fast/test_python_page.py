"""The blocks of docs/python.md run as they stand, one after the other, like a reader would."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"


@pytest.mark.filterwarnings("ignore")
def test_page__runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    blocks = [(found.start(1), found.group(1)) for found in re.finditer(r"^```python\n(.*?)^```", text, re.S | re.M)]
    assert len(blocks) >= 9
    names: dict[str, object] = {"__name__": "page"}
    for start, block in blocks:
        # Errors point to the line of the page.
        exec(compile("\n" * text.count("\n", 0, start) + block, PAGE, "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert float(printed[0]) > 0.8
