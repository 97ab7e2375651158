"""The site builds without a warning, every link in it leads somewhere, and it loads nothing from elsewhere."""

import ast
import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from documentation import decision_picture

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
LINKED = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "cache/README.md", "exports/README.md")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built in a folder of its own: what is built and kept in the repository is left alone."""
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "docs", project / "docs")
    shutil.copy(ROOT / "mkdocs.yml", project)
    for name in ("cache", "cli", "documentation", "examples", "exports", "ulfine_fast", *LINKED[:4]):
        (project / name).symlink_to(ROOT / name)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=project,
        capture_output=True,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return project / "build" / "site"


def links(text):
    """What a built page names: (tag, attribute's value)."""
    for tag, attributes in re.findall(r"<(a|img|link|script|iframe|source|object)\b([^>]*)>", text):
        for value in re.findall(r'\b(?:href|src|data)="([^"]*)"', attributes):
            yield tag, html.unescape(value)


def test_links__lead_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    texts = {page: page.read_text("utf-8") for page in site.rglob("*.html")}
    anchors = {page: set(re.findall(r'\bid="([^"]+)"', text)) for page, text in texts.items()}
    assert len(texts) >= len(PAGES)
    wrong = []
    for page, text in texts.items():
        if page.name == "404.html":
            continue
        for tag, value in links(text):
            url = urlsplit(value)
            if url.scheme or url.netloc:
                if tag != "a":
                    wrong.append(f"{page.name} loads {value}")
                continue
            target = (page.parent / unquote(url.path)).resolve() if url.path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                wrong.append(f"{page.name}: {value}")
            elif url.fragment and target in anchors and unquote(url.fragment) not in anchors[target] | {"__toc"}:
                wrong.append(f"{page.name}: {value} (no such heading)")
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_navigation__holds_every_page_once():
    def pages(entries):
        for entry in entries:
            for value in entry.values():
                yield from pages(value) if isinstance(value, list) else [value]

    named = list(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]))
    assert sorted(named) == [page.relative_to(ROOT / "docs").as_posix() for page in PAGES]


@pytest.mark.parametrize("name", LINKED)
def test_links_between_files_of_the_repository(name):
    page = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"", page.read_text("utf-8")):
        path = "".join(target).partition("#")[0]
        assert "://" in path or not path or (page.parent / path).exists(), f"{name}: {path}"


def test_pages__are_prose_that_wraps():
    """Lines of text that an editor and a diff can show; tables and code may be as long as they are.

    Older pages and the log of the evidence are left out.
    """
    long = []
    for page in (
        ROOT / "README.md",
        ROOT / "docs" / "index.md",
        *(page for page in PAGES if page.parent != ROOT / "docs" and page.name != "evidence.md"),
    ):
        code = False
        for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
            code ^= line.startswith("```")
            if len(line) > 120 and not code and not re.match(r"\||    |<|!\[", line):
                long.append(f"{page.name}:{number}")
    assert not long


def test_error_page__quotes_what_the_code_says():
    said = [
        node.value
        for room in ("cache", "cli", "exports", "ulfine_fast")
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    page = (ROOT / "docs" / "reference" / "errors.md").read_text("utf-8")
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    messages = [message for cell in cells for message in re.findall(r"`([^`]+)`", cell) if not message.isdigit()]
    assert len(messages) > 30
    wrong = [
        (message, part.strip())
        for message in messages
        for part in message.split("...")
        if part.strip() and not any(part.strip() in text for text in said)
    ]
    assert not wrong


def test_decision_picture__shows_the_measured_figures():
    """After a change of docs/benchmarks.md: python documentation/decision_picture.py."""
    regimes = decision_picture.read_regimes(decision_picture.BENCHMARKS.read_text("utf-8"))
    assert regimes[-1].name == "all" and regimes[-1].cells == sum(regime.cells for regime in regimes[:-1])
    assert decision_picture.table(regimes) in decision_picture.PAGE.read_text("utf-8")
    assert decision_picture.digest(regimes) in decision_picture.PICTURE.read_text("utf-8")
    best = regimes[-1].figures[regimes[-1].best(0)]
    assert best[0] == max(figures[0] for figures in regimes[-1].figures.values())
