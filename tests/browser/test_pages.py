"""Every built page in a browser: nothing fails or is asked of other hosts, all is legible."""

import pytest
from chromium import HTML, Chromium, program, served

PAGES = [p.relative_to(HTML).as_posix() for p in sorted(HTML.rglob("*.html"))
         if "_static" not in p.parts and p != HTML / "index.html"]  # that one leads to the first
CHAPTERS = [page for page in PAGES if page.startswith("notebooks/")]

pytestmark = [
    pytest.mark.skipif(not program(), reason="no Chromium here: apt-get install chromium"),
    pytest.mark.skipif(not HTML.is_dir(), reason="the book is not built: make book"),
]

# Text of running prose and of cells whose contrast with what lies behind it is below 4.5.
FAINT = """(() => {
  document.querySelectorAll('details').forEach(d => d.open = true);
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const once = f => {
    const known = new Map();
    return key => known.has(key) ? known.get(key) : (known.set(key, f(key)), known.get(key));
  };
  const rgba = once(colour => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  });
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3]));
  const luminance = c => {
    const [r, g, b] = c.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = once(e => {
    if (!e) return [255, 255, 255];
    const own = rgba(getComputedStyle(e).backgroundColor);
    return own[3] === 1 ? own : over(own, behind(e.parentElement));
  });
  const opacity = once(e => e ? getComputedStyle(e).opacity * opacity(e.parentElement) : 1);
  const faint = [];
  let count = 0;
  for (const e of document.querySelectorAll('article :is(p, li, dd, th, td, summary, .where)')) {
    const said = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!said || !e.getClientRects().length || e.closest('.visually-hidden')) continue;
    const ground = behind(e), [r, g, b, alpha] = rgba(getComputedStyle(e).color);
    const text = over([r, g, b, alpha * opacity(e)], ground);
    const [x, y] = [luminance(text), luminance(ground.slice(0, 3))];
    const ratio = (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
    count += 1;
    if (ratio < 4.5)
      faint.push(`${e.tagName} ${ratio.toFixed(2)}: ${e.textContent.trim().slice(0, 50)}`);
  }
  return {count, faint, theme: document.documentElement.dataset.theme};
})()"""


@pytest.fixture(scope="module")
def book():
    with served() as address, Chromium() as browser:
        yield browser, address


@pytest.mark.parametrize("page", PAGES)
def test_page(book, page):
    browser, address = book
    browser.mode("light")
    browser.open(address + page)

    requests = [r["request"]["url"] for r in browser.said("Network.requestWillBeSent")]
    assert any(url.startswith(address) for url in requests)
    assert [u for u in requests if not u.startswith((address, "data:", "blob:"))] == []
    assert [r["response"]["url"] for r in browser.said("Network.responseReceived")
            if r["response"]["status"] >= 400] == []
    assert [f for f in browser.said("Network.loadingFailed") if not f.get("canceled")] == []

    assert browser.said("Runtime.exceptionThrown") == []
    assert [c["args"] for c in browser.said("Runtime.consoleAPICalled")
            if c["type"] in ("error", "assert")] == []
    assert [e["entry"] for e in browser.said("Log.entryAdded")
            if e["entry"]["level"] == "error"] == []

    assert browser.js("document.title.trim()")
    assert browser.js("[...document.images].filter(i => !i.naturalWidth).map(i => i.src)") == []
    assert browser.js("document.querySelectorAll('mjx-merror').length") == 0
    assert browser.js("[...document.querySelectorAll('.math')]"
                      ".filter(m => !m.querySelector('mjx-container')).length") == 0

    for mode in ("light", "dark"):
        browser.mode(mode)
        seen = browser.js(FAINT)
        assert seen["theme"] == mode
        assert seen["faint"] == []
        if page.startswith(("book/", "notebooks/")):
            assert seen["count"] > 3


@pytest.mark.parametrize("page", CHAPTERS)
def test_chapter_shows_figures_and_tables(book, page):
    browser, address = book
    browser.open(address + page)
    assert browser.js("document.querySelectorAll('article img, article svg').length") > 0
    assert browser.js("document.querySelectorAll('article table.vae-table tbody tr').length") > 0
    assert browser.js("document.querySelectorAll('article mjx-container').length") > 0


def test_narrow_window_needs_no_sideways_scrolling(book):
    browser, address = book
    browser.size(390, 800)
    wide = []
    for page in PAGES:
        browser.open(address + page)
        if browser.js("document.documentElement.scrollWidth") > 390:
            wide.append(page)
    browser.size(1280, 900)
    assert wide == []


def test_the_page_check_sees_faint_text_and_lost_images(book):
    browser, address = book
    browser.mode("light")
    browser.open(address + "book/index.html")
    browser.js("""(() => {
      document.querySelector('article p').style.color = '#ccc';
      const lost = document.createElement('img');
      lost.src = 'nowhere.png';
      document.querySelector('article').append(lost);
      return new Promise(done => lost.onerror = done).then(() => 0);
    })()""")
    assert len(browser.js(FAINT)["faint"]) == 1
    assert browser.js("[...document.images].filter(i => !i.naturalWidth).length") == 1
    assert [r["response"]["status"] for r in browser.said("Network.responseReceived")
            if r["response"]["url"].endswith("nowhere.png")] == [404]
