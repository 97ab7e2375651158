"""The shell of every page: what it escapes, and what its policy lets in."""

import base64
import hashlib
import re

from ulfine_exports.pages.render import content_policy, render, short


def test_policy__names_the_very_style_and_script_of_the_page():
    page = render("plain.html", title="x", paragraphs=[], scripts=["sort.js"])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    for kind in ("style", "script"):
        (text,) = re.findall(f"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src &#39;sha256-{digest}&#39;" in policy[1]


def test_policy__of_a_file_lets_nothing_in_and_of_a_served_page_its_server():
    assert content_policy("a{}", "").startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "script-src" not in content_policy("a{}", "")
    assert "connect-src" not in content_policy("a{}", "1")
    assert "connect-src 'self'" in content_policy("a{}", "1", served=True)


def test_hostile_names__are_text_on_one_line():
    page = render(
        "plain.html", title="</title><script>", paragraphs=["<img src=x onerror=1>", "a\x1b[2J\u202eb", "\udce9"]
    )
    assert "<script>" not in page
    assert "&lt;img src=x onerror=1&gt;" in page
    assert r"a\x1b[2J\u202eb" in page
    assert r"\xe9" in page
    page.encode()


def test_short__keeps_both_ends():
    assert short("a" * 500 + "b") == "a" * 39 + "…" + "a" * 38 + "b"
    assert short("a" * 80) == "a" * 80


def test_same_arguments__same_text():
    assert render("plain.html", title="x", paragraphs=["y"]) == render("plain.html", title="x", paragraphs=["y"])
