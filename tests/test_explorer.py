"""The explorer: its bytes, its table, its errors, and its behaviour in a browser."""

import base64
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from vaenb.errors import VaenbError
from vaenb.report.explorer import LIMIT, explorer
from vaenb.report.figures import png

HOSTILE = "</script><!-- <img src=x onerror=alert(1)> & \"'\u2028"
X, Y = ("β", "log"), ("nats per image", "linear")
SERIES = {"I(x;z)": "#0072b2", "marginal KL": "#d55e00"}
BETAS = [0.01, 0.1, 1.0, 10.0, 100.0]


def picture(level: int, side: int = 20) -> bytes:
    return png(np.full((side, 2 * side, 3), level, np.uint8))


def chapter() -> list[dict]:
    """A curve of five settings, and one setting beside it that lacks a series and a picture."""
    frames = [{"label": f"β = {beta:g}", "x": beta, "group": "beta-VAE", "image": picture(40 * k),
               "values": {"I(x;z)": 30.25 - 7 * k, "marginal KL": 0.001234567 * 8**k},
               "told": {"σ": f"{(beta / 2) ** 0.5:.3f}"}} for k, beta in enumerate(BETAS)]
    return [*frames, {"label": "learned σ", "x": 0.3, "group": "sigma-VAE",
                      "values": {"I(x;z)": np.float32(12.5)}, "told": {"data": "SVHN"}}]


class Page(HTMLParser):
    """Checks that what opens is closed in order; keeps JSON, scripts, cells and attributes."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open, self.scripts, self.cells, self.tags, self.classes = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.append(tag)
        self.classes += (dict(attrs).get("class") or "").split()
        if tag in ("script", "td", "th"):
            (self.scripts if tag == "script" else self.cells).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def shown(figure) -> dict:
    return json.loads(Page(figure._repr_html_()).scripts[0])


def test_page_is_well_formed_and_holds_what_was_given():
    html = explorer(chapter(), X, Y, SERIES, "Title", "Note")._repr_html_()
    page = Page(html)
    assert {"dataframe"} <= set(page.classes) and "id=" not in html.split("<script>")[0]
    assert page.tags.count("script") == 2 and page.tags.count("details") == 1
    data = json.loads(page.scripts[0])
    assert (data["title"], data["note"], data["x"], data["y"]) == ("Title", "Note", "β", Y[0])
    assert data["colours"] == list(SERIES.values())
    assert data["legend"] == [["I(x;z)", 0, -1], ["marginal KL", 1, -1], ["beta-VAE", -1, 0],
                              ["sigma-VAE", -1, 1]]
    for frame, given in zip(data["frames"], chapter(), strict=True):
        assert frame["label"] == given["label"]
        assert len(frame["y"]) == len(given["values"])
        if given.get("image"):
            head, code = frame["image"]["src"].split(",")
            assert head == "data:image/png;base64" and base64.b64decode(code) == given["image"]
            assert (frame["image"]["width"], frame["image"]["height"]) == (40, 20)
        else:
            assert "image" not in frame
    assert [f["group"] for f in data["frames"]] == [0] * 5 + [1]
    assert data["frames"][0]["told"] == [["I(x;z)", "30.25"], ["marginal KL", "0.001235"],
                                         ["σ", "0.071"]]
    assert data["frames"][5]["said"] == "learned σ: I(x;z) 12.5, data SVHN"


def test_hostile_text_stays_text():
    frame = {"label": HOSTILE, "x": 1.0, "values": {HOSTILE: 2.0}, "told": {HOSTILE: HOSTILE},
             "group": HOSTILE}
    html = explorer([frame], (HOSTILE, "linear"), (HOSTILE, "linear"), {HOSTILE: "#000000"},
                    HOSTILE, HOSTILE)._repr_html_()
    page = Page(html)
    assert page.tags.count("script") == 2 and "img" not in page.tags
    text = html.split("</script>")[0]
    assert not any(part in text.split('json">')[1] for part in ("<", "\u2028"))
    data = json.loads(page.scripts[0])
    assert data["title"] == data["note"] == data["x"] == data["frames"][0]["label"] == HOSTILE
    assert page.cells.count(HOSTILE) == 6  # three headers; frame, group, told


def test_table_and_text_hold_every_value():
    figure = explorer(chapter(), X, Y, SERIES, "Title", "Note")
    cells = Page(figure._repr_html_()).cells
    assert cells[:7] == ["frame", "group", "β", "I(x;z)", "marginal KL", "σ", "data"]
    rows = [cells[at:at + 7] for at in range(7, len(cells), 7)]
    assert len(rows) == 6
    for row, given in zip(rows, chapter(), strict=True):
        assert row[:2] == [given["label"], given["group"]]
        for name, cell in zip(["I(x;z)", "marginal KL"], row[3:5], strict=True):
            if name in given["values"]:
                assert float(cell) == pytest.approx(given["values"][name], rel=1e-5)
            else:
                assert cell == "–"
        assert float(row[2]) == given["x"]
        assert row[5:] == [given["told"].get("σ", "–"), given["told"].get("data", "–")]
        assert all(cell in repr(figure) for cell in row)
    assert repr(figure).endswith("Title: Note") and "base64" not in repr(figure)


def test_same_frames_same_bytes():
    first, second = (explorer(chapter(), X, Y, SERIES)._repr_html_() for _ in range(2))
    assert first.encode() == second.encode()


def test_script_is_small_and_defines_once():
    code = Page(explorer(chapter(), X, Y, SERIES)._repr_html_()).scripts[1]
    assert len(code.encode()) < 6 * 1024 and code.isascii()
    assert code.count("customElements.define") == 1
    assert code.startswith("customElements.get('vae-explorer') ||")
    assert code.count("://") == code.count("'http://www.w3.org/2000/svg'") == 1  # a name only


def test_places_on_the_axes():
    data = shown(explorer(chapter(), X, Y, SERIES))
    places = [f["x"] for f in data["frames"]]
    steps = np.diff(places[:5])
    assert np.allclose(steps, steps[0], atol=2e-4) and 0 < places[0] and places[4] < 1
    assert places[5] == pytest.approx(places[1] + steps[0] * np.log10(3), abs=2e-4)
    assert data["xticks"] == [[p, t] for p, t in zip(places, "10⁻² 10⁻¹ 10⁰ 10¹ 10²".split(),
                                                     strict=False)]
    assert data["yticks"][0] == [0, "0"]  # the smallest value is near zero
    first, last = data["yticks"][1], data["yticks"][-1]
    assert first[0] / last[0] == pytest.approx(float(first[1]) / float(last[1]), abs=1e-3)
    assert data["frames"][0]["y"]["0"] == pytest.approx(30.25 / float(last[1]) * last[0], abs=1e-3)


@pytest.mark.parametrize("kind, values, ticks", [
    ("linear", [-775, -600], ["−750", "−700", "−650", "−600"]),
    ("linear", [0.0, 1.0], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    ("linear", [3.0, 3.0], ["2.9", "3.0", "3.1"]),
    ("log", [0.2, 20], ["0.2", "0.5", "1", "2", "5", "10", "20"]),
    ("log", [6.0, 8.5], ["6.0", "6.5", "7.0", "7.5", "8.0", "8.5"]),
    ("log", [1e-6, 1e6], ["10⁻⁶", "10⁻⁴", "10⁻²", "10⁰", "10²", "10⁴", "10⁶"]),
])
def test_ticks(kind, values, ticks):
    frames = [{"label": "a", "x": v, "values": {"D": v}, "group": "a"} for v in values]
    data = shown(explorer(frames, ("x", kind), ("y", kind), {"D": "#123456"}))
    assert [text for _, text in data["xticks"]] == ticks
    assert all(0 <= place <= 1 for place, _ in data["xticks"])
    assert data["yticks"] == data["xticks"]


@pytest.mark.parametrize("value, text", [
    (-775.123, "−775.1"), (0.0, "0"), (1.5e-7, "1.5×10⁻⁷"), (12345.6, "12346"), (-2e9, "−2×10⁹")])
def test_numbers(value, text):
    frame = {"label": "a", "x": 1.0, "values": {"D": value}, "group": "a"}
    data = shown(explorer([frame], ("x", "linear"), ("y", "linear"), {"D": "#123456"}))
    assert data["frames"][0]["told"] == [["D", text]]


@pytest.mark.parametrize("change, said", [
    ({"values": {}}, "needs values"),
    ({"values": {"other": 1.0}}, "no other series"),
    ({"x": 0.0}, "log axis 'β'"),
    ({"x": float("nan")}, "log axis 'β'"),
    ({"values": {"I(x;z)": float("inf")}}, "linear axis"),
    ({"image": b"GIF89a" + bytes(40)}, "no whole PNG"),
    ({"image": picture(0)[:-4]}, "no whole PNG"),
    ({"image": b""}, "no whole PNG"),
])
def test_errors_name_the_frame(change, said):
    frames = chapter()
    frames[1] |= change
    with pytest.raises(VaenbError, match=said) as caught:
        explorer(frames, X, Y, SERIES)
    assert "β = 0.1" in str(caught.value)


def test_errors_of_the_figure():
    with pytest.raises(VaenbError, match="at least one frame"):
        explorer([], X, Y, SERIES)
    with pytest.raises(VaenbError, match="linear or log"):
        explorer(chapter(), ("β", "cubic"), Y, SERIES)
    with pytest.raises(VaenbError, match="like #0072b2"):
        explorer(chapter(), X, Y, SERIES | {"marginal KL": "red;}"})
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    frames = [frame | {"image": png(noise)} for frame in chapter()]
    with pytest.raises(VaenbError, match="more than 1,000,000"):
        explorer(frames, X, Y, SERIES)
    assert len(explorer(frames[:2], X, Y, SERIES)._repr_html_()) < LIMIT


def test_in_a_browser(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent / "browser")
    if not (shutil.which("chromium") or shutil.which("chromium-browser")):
        pytest.skip("no Chromium here: apt-get install chromium")
    from chromium import Chromium

    hostile = [frame | {"label": HOSTILE, "told": {HOSTILE: "x"}} for frame in chapter()]
    first = explorer(chapter(), X, Y, SERIES, "Title", "Note")._repr_html_()
    second = explorer(hostile, X, Y, SERIES, HOSTILE)._repr_html_()
    page = tmp_path / "page.html"
    page.write_text('<!doctype html><meta charset="utf-8"><html style="color:#c0ffee;'
                    f'background:#111"><body>{first}{second}', encoding="utf-8")
    now = """(() => { const e = document.querySelector('vae-explorer'), r = e.shadowRoot;
      const i = r.querySelector('input'), g = r.querySelector('img');
      return {k: +i.value, said: i.ariaValueText || i.getAttribute('aria-valuetext'),
        label: r.querySelector('.label').textContent, shown: g.getClientRects().length,
        src: g.src, alt: g.alt, wide: g.clientWidth, dd: r.querySelectorAll('dd').length,
        focus: r.activeElement === i, quiet: e.getAttribute('data-lm-suppress-shortcuts'),
        rings: r.querySelectorAll('.ring').length,
        lines: r.querySelectorAll('.chart .line').length,
        ink: getComputedStyle(r.querySelector('text')).fill}; })()"""
    frames = json.loads(Page(first).scripts[0])["frames"]
    with Chromium(320, 900) as browser:
        def press(key):
            for kind in ("keyDown", "keyUp"):
                browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                             windowsVirtualKeyCode={"ArrowRight": 39, "End": 35, "Home": 36}[key])
            return browser.js(now)

        def click(k):
            place = browser.js(f"""(() => {{ const e = document.querySelector('vae-explorer');
              const p = e.points.find(p => p[2] == {k}), c = e.shadowRoot.querySelector('.chart');
              const b = c.getBoundingClientRect(); return [b.left + p[0], b.top + p[1]]; }})()""")
            for kind in ("mousePressed", "mouseReleased"):
                browser.call("Input.dispatchMouseEvent", type=kind, x=place[0] + 3, y=place[1] - 3,
                             button="left", buttons=1, clickCount=1)
            return browser.js(now)

        browser.open(page.as_uri())
        for width in (320, 1000):
            browser.size(width, 900)
            browser.js("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
            assert browser.js("document.documentElement.scrollWidth") == width
        start = browser.js(now)
        assert (start["k"], start["said"], start["quiet"]) == (0, frames[0]["said"], "true")
        assert start["src"] == frames[0]["image"]["src"] and start["alt"] == "Images: β = 0.01"
        assert start["wide"] > 40 and start["wide"] % 40 == 0  # whole pixels
        assert (start["rings"], start["lines"], start["dd"]) == (2, 3, 3)
        assert start["ink"] == "rgb(192, 255, 238)"  # the page's colour of text
        there = click(3)
        assert (there["k"], there["label"], there["focus"]) == (3, "β = 10", True)
        assert press("ArrowRight")["said"] == frames[4]["said"]
        end = press("End")
        assert (end["label"], end["shown"], end["rings"]) == ("learned σ", 0, 1)
        home = press("Home")
        assert (home["label"], home["shown"], home["src"]) == ("β = 0.01", 1, start["src"])

        other = "document.querySelectorAll('vae-explorer')[1].shadowRoot"
        assert browser.js(f"{other}.querySelector('.label').textContent") == HOSTILE
        assert browser.js(f"{other}.querySelectorAll('img').length") == 1
        again = browser.js("""(() => {  // as a notebook puts it in a page
          const div = document.createElement('div');
          div.innerHTML = document.querySelector('vae-explorer').outerHTML;
          document.body.append(div);
          return !!div.firstChild.shadowRoot.querySelector('.label');
        })()""")
        assert again and browser.said("Runtime.exceptionThrown") == []
        asked = [r["request"]["url"] for r in browser.said("Network.requestWillBeSent")]
        assert [u for u in asked if not u.startswith(("data:", page.as_uri()))] == []
        assert [e for e in browser.said("Log.entryAdded") if e["entry"]["level"] == "error"] == []
