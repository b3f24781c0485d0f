"""Pages of pictures: what they hold, their table, their errors, and how a browser shows them."""

import numpy as np
import pytest
from test_explorer import HOSTILE, Page, chromium, quiet  # noqa: F401

import vaenb
from vaenb import VaenbError
from vaenb.report import picture_pages
from vaenb.report.figures import png


def picture(value=0):
    return png(np.full((8, 8), value, np.uint8))


def pages(count=3):
    return {str(k): {"the image": [("", picture(k))],
                     "CNN": [(f"R {k}\nread as {j}", picture(9 * k + j)) for j in (1, 2)]}
            for k in range(count)}


def test_each_page_holds_its_rows_and_one_is_picked():
    made = picture_pages(pages(), "digit", "Title", "Note")
    html = made._repr_html_()
    assert html.count("<section") == 3 and html.count("<img") == 9 and html.count("checked") == 1
    assert html.count('type="radio"') == 3 and "<script" not in html
    assert 'alt="CNN: R 2, read as 1"' in html and "R 2<br>read as 1" in html
    text = repr(made)
    assert "R 1, read as 2" in text and text.endswith("Title: Note")
    assert html == picture_pages(pages(), "digit", "Title", "Note")._repr_html_()


def test_hostile_text_stays_text():
    html = picture_pages({HOSTILE: {HOSTILE: [(HOSTILE, picture())]}}, HOSTILE, HOSTILE,
                         HOSTILE)._repr_html_()
    assert Page(html).tags.count("img") == 1 and "script" not in Page(html).tags


def test_errors():
    for none in ({}, {"4": {}}, {"4": {"CNN": []}}):
        with pytest.raises(VaenbError, match="pictures need at least one digit, and each of them"):
            picture_pages(none, "digit")
    with pytest.raises(VaenbError, match="room for ten pages and not for 11"):
        picture_pages(pages(11), "digit")
    with pytest.raises(VaenbError, match="the image of 'CNN' for '4' is no whole PNG file"):
        picture_pages({"4": {"CNN": [("", b"no")]}}, "digit")
    noise = np.random.default_rng(0).integers(0, 256, (600, 600), np.uint8)
    with pytest.raises(VaenbError, match="the pictures 'Big' take .* bytes, more than 1,000,000"):
        picture_pages({"4": {"CNN": [("", png(noise))] * 3}}, "digit", "Big")


SHOWN = """[...document.querySelectorAll('section')].filter(
    s => getComputedStyle(s).display != 'none').map(s => s.getAttribute('aria-label'))"""


def test_in_a_browser(tmp_path, chromium):  # noqa: F811
    page, css = tmp_path / "page.html", vaenb.ROOT / "book" / "_static" / "vae.css"
    body = picture_pages(pages(10), "digit")._repr_html_()
    page.write_text(f'<!doctype html><meta charset="utf-8"><link rel="stylesheet" '
                    f'href="{css.as_uri()}"><body>{body}', encoding="utf-8")
    with chromium(320, 700) as browser:
        browser.open(page.as_uri())
        assert browser.js("document.documentElement.scrollWidth") == 320
        assert browser.js(SHOWN) == ["digit 0"]
        browser.js("document.querySelector('input').focus()")
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="ArrowRight", code="ArrowRight",
                         windowsVirtualKeyCode=39)
        assert browser.js(SHOWN) == ["digit 1"]
        browser.js("document.querySelectorAll('label')[9].click()")
        assert browser.js(SHOWN) == ["digit 9"]
