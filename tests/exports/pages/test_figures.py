"""Figures: the same bytes, nothing that the page's policy forbids, and names that are only text."""

import re
from xml.etree import ElementTree

import pytest

pytest.importorskip("matplotlib")

from ulfine_exports.pages.figures import drawing, percent_axis

HOSTILE = ["<script>alert(1)</script>", "$x_1$", 'a style="fill: red" -->', "日本語 名前", "]]>"]


def figure():
    with drawing("bars of <hostile> names", height=3) as (_, axes, drawn):
        axes.barh(HOSTILE, [0.1, 0.5, 1, 0.2, 0.3], color="#0b6e63", label="recall")
        percent_axis(axes, "x")
        axes.legend()
    return drawn.svg


def test_same_data__same_bytes():
    assert figure() == figure()


def test_svg__is_well_formed_and_holds_no_style():
    svg = figure()
    texts = [node.text for node in ElementTree.fromstring(svg.replace("xlink:href", "href")).iter() if node.text]
    assert [name for name in HOSTILE if name not in texts] == []
    assert "100 %" in texts
    assert not re.search(r"<[a-z][^<>]* style=", svg)
    assert "<style" not in svg
    assert 'fill="#0b6e63"' in svg


def test_svg__has_no_date_and_no_names_that_could_meet_those_of_another_figure():
    svg = figure()
    assert "metadata" not in svg
    assert "<!--" not in svg
    assert not re.findall(r'<g id="', svg)


def test_svg__is_the_same_whatever_the_users_own_figures_look_like():
    import matplotlib

    first = figure()
    with matplotlib.rc_context({"font.size": 30, "xtick.major.size": 30, "axes.linewidth": 9, "svg.fonttype": "path"}):
        assert figure() == first
        assert matplotlib.rcParams["font.size"] == 30
