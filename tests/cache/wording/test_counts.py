"""Numbers of things in lines for people."""

import ast
import re
from pathlib import Path

import pytest

from ulfine_cache.wording.counts import amount, counted, listed, plural, subject

ROOT = Path(__file__).resolve().parents[3]
ROOMS = ("cache/ulfine_cache", "ulfine_fast", "exports/ulfine_exports", "cli/ulfine_cli")
PLURAL = re.compile(
    r"[ ,]*(?:\w+ )?(?:shards|images|rows|classes|files|views|seeds|splits|prompts|labels|parts|draws|threads|paths)\b"
)
A_COUNT = re.compile(r"^(?:len|int|sum)\(|\bn_\w+$|count\b|\bdamaged\b|\.sum\(\)")


@pytest.mark.parametrize(
    ("thing", "several"),
    [
        *(("image", "images"), ("class", "classes"), ("labelled class", "labelled classes"), ("query", "queries")),
        *(("day", "days"), ("index", "indexes"), ("batch", "batches"), ("shard", "shards")),
    ],
)
def test_plural__of_regular_words(thing, several):
    assert plural(thing) == several
    assert [amount(count, thing) for count in (0, 1, 2)] == [f"0 {several}", f"1 {thing}", f"2 {several}"]


def test_subject__has_a_verb_that_fits():
    assert [subject(count, "row", "holds/hold") for count in (0, 1, 2)] == ["0 rows hold", "1 row holds", "2 rows hold"]


def test_counted_and_listed__name_a_few():
    assert counted({".txt": 2, "hidden": 10, ".csv": 2}, most=2) == "10 hidden, 2 .csv, 2 others"
    assert counted({".txt": 2, "hidden": 10, ".csv": 1}, most=2) == "10 hidden, 2 .txt, 1 other"
    assert listed(["a", "b"]) == "'a', 'b'"
    assert listed(["a", "b", "c"], most=1) == "'a' and 2 more"


def bare_counts(path: Path) -> list[str]:
    """Find f-strings such as f"{len(rows)} rows", which would say "1 rows"."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, after in zip(node.values, node.values[1:], strict=False):
            if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant):
                shown = ast.unparse(value.value)
                if A_COUNT.search(shown) and PLURAL.match(str(after.value)):
                    found.append(f"{path.name}:{node.lineno}: {shown}{after.value}")
    return found


def test_rooms__write_no_count_in_front_of_a_plural():
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    assert [line for path in paths for line in bare_counts(path)] == []


def test_bare_counts__are_found(tmp_path):
    (tmp_path / "a.py").write_text('f"{len(x)} test rows of {y} images, {self.n_rows} images"\n')
    assert len(bare_counts(tmp_path / "a.py")) == 2
