"""A gallery in a real browser, with pictures and without, and never the same page twice different."""

from pathlib import Path

import numpy as np
import pytest

from tests.exports.pages.headless import look
from ulfine_cache.feature_cache import FeatureCache
from ulfine_exports.inspect_cache import inspect_cache
from ulfine_exports.reporting.gallery import gallery_page
from ulfine_fast.inspecting.inspected import Finding, Inspected

EVERY = ("duplicates", "label-errors", "outliers", "next-to-label")


@pytest.fixture(scope="module")
def pages(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page and a table of each question about photographs."""
    folder = tmp_path_factory.mktemp("galleries")
    for what in EVERY:
        inspect_cache(
            cache=shapes / "cache",
            split="lt",
            what=what,
            count=12,
            out=folder / f"{what}.csv",
            gallery=folder / f"{what}.html",
        )
    return folder


@pytest.mark.parametrize("what", EVERY)
def test_gallery__asks_for_nothing_and_shows_every_picture(what, pages, browser):
    page = pages / f"{what}.html"
    seen = look(browser, page)
    assert seen.asked == [page.absolute().as_uri()]
    assert seen.complaints == []
    assert seen.broken_pictures == 0
    lines = (pages / f"{what}.csv").read_text().splitlines()[1:]
    assert bool(seen.run("return document.images.length")) == bool(lines)


def test_gallery__fits_a_phone(pages, browser):
    assert look(browser, pages / "next-to-label.html", width=360).width <= 360


def test_gallery__shows_the_order_of_the_table(pages, browser):
    seen = look(browser, pages / "next-to-label.html")
    alts = seen.run("return [...document.images].map((image) => image.alt)")
    lines = (pages / "next-to-label.csv").read_text().splitlines()[1:]
    assert alts == [line.split(",")[0] for line in lines]


def test_gallery__is_the_same_again(pages, shapes, tmp_path):
    inspect_cache(cache=shapes / "cache", split="lt", what="next-to-label", count=12, gallery=tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == (pages / "next-to-label.html").read_bytes()


def test_gallery__without_pictures_says_so_and_names_the_images(feature_cache, tmp_path, browser):
    inspect_cache(cache=feature_cache, split="lt", what="next-to-label", gallery=tmp_path / "page.html")
    seen = look(browser, tmp_path / "page.html")
    assert seen.complaints == []
    words = seen.run("return document.body.innerText")
    assert "No pictures are shown" in words
    assert ".jpg" in words


def test_gallery__names_are_no_markup(feature_cache):
    cache = FeatureCache.open(feature_cache)
    item = Finding(0, np.nan, "<script>alert(1)</script>", {"label": "<img src=x>", "suspected": True})
    page = gallery_page("label-errors", Inspected([item], ("label",), {}, ["<b>"]), cache)
    assert "<script>alert" not in page and "<img src=x>" not in page and "<b>" not in page


def test_gallery__nothing_found_is_said(feature_cache):
    page = gallery_page("duplicates", Inspected([], (), {}, []), FeatureCache.open(feature_cache))
    assert "Nothing was found." in page
