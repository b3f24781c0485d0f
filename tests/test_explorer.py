"""The explorers: their bytes, tables, errors, and behaviour in a browser."""

import asyncio
import base64
import json
import math
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from vaenb.errors import VaenbError
from vaenb.report.explorer import LIMIT, curve_explorer, explorer
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


LABELS = ("rate (nats)", "distortion (nats)")
ISO = "D + R (nats)"


def curves() -> list[dict]:
    """Two curves of five and four settings, one of them not a number; images that repeat."""
    def points(shift: float, betas: list[float]) -> list[dict]:
        return [{"label": f"β = {beta:g}", "x": 30.25 - 7 * k, "y": 100 + shift + 12.5 * k,
                 "also": (30.0 - 7 * k, 95.0 + 12.5 * k), "mark": beta == 1.0,
                 "images": [("input", picture(200)), ("nearest", picture(100 + 50 * (k > 2))),
                            ("reconstruction", picture(10 * k, 10))],
                 "told": {"gap": f"{5 + shift:g}"}} for k, beta in enumerate(betas)]

    sparse = [{**p, "told": {"I(x;z)": "9.7"}} for p in points(20.0, BETAS)]
    sparse[1]["x"] = math.nan
    sparse[4]["also"] = (2.0, math.nan)
    del sparse[3]["also"], sparse[3]["images"]
    return [{"name": "dense", "colour": "#0072b2", "points": points(0.0, BETAS[:4])},
            {"name": "sparse", "colour": "#d55e00", "points": sparse}]


class Page(HTMLParser):
    """Checks that what opens is closed in order; keeps JSON, scripts, cells and attributes."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open, self.scripts, self.cells, self.tags, self.classes = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open += [tag] * (tag not in ("br", "img", "input"))  # which nothing closes
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
    assert len(code.encode()) < 32 * 1024 and code.isascii()
    assert code.count("customElements.define") == 1
    assert "customElements.get(name) || customElements.define(name, made)" in code
    assert code.startswith("(() => {") and code.endswith("})();\n")  # leaves no name in the page
    assert Page(curve_explorer(curves(), *LABELS)._repr_html_()).scripts[1] == code
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


def test_curves_are_held_and_each_image_once():
    html = curve_explorer(curves(), *LABELS, "Title", ISO)._repr_html_()
    page = Page(html)
    assert html.startswith("<vae-curves>") and "id=" not in html.split("<script>")[0]
    data = json.loads(page.scripts[0])
    assert (data["title"], data["x"], data["y"], data["sum"]) == ("Title", *LABELS, ISO)
    assert data["colours"] == ["#0072b2", "#d55e00"]
    assert [c["name"] for c in data["curves"]] == ["dense", "sparse"]
    assert len(data["images"]) == 3 + 5 == html.count("base64,")  # input, two nearest, five others
    for curve, given in zip(data["curves"], curves(), strict=True):
        kept = [p for p in given["points"] if not math.isnan(p["x"])]
        for point, p in zip(curve["points"], kept, strict=True):
            assert (point["label"], point["mark"]) == (p["label"], p["label"] == "β = 1")
            assert point["told"][2:] == [list(t) for t in p["told"].items()]
            assert [c for c, _ in point["images"]] == [c for c, _ in p.get("images", ())]
            for (_, n), (_, image) in zip(point["images"], p.get("images", ()), strict=True):
                held = data["images"][n]
                assert base64.b64decode(held["src"].split(",")[1]) == image
                assert held["width"] == 2 * held["height"] in (20, 40)
    first = data["curves"][0]["points"][0]
    assert first["told"] == [["rate (nats)", "30.25 (training 30)"],
                             ["distortion (nats)", "100 (training 95)"], ["gap", "5"]]
    assert first["said"] == ("dense, β = 0.01: rate (nats) 30.25 (training 30), "
                             "distortion (nats) 100 (training 95), gap 5")
    third, last = data["curves"][1]["points"][2:]
    assert third["also"] is last["also"] is None and third["images"] == []
    assert third["told"][0] == ["rate (nats)", "9.25"]


def test_curves_and_their_diagonals_stand_where_the_axes_say():
    data = shown(curve_explorer(curves(), *LABELS, lines=ISO))

    def value(ticks, place):
        (a, s), (b, t) = ticks[0], ticks[-1]
        return float(s) + (place - a) / (b - a) * (float(t) - float(s))

    points, given = data["curves"][0]["points"], curves()[0]["points"]
    for point, p in zip(points, given, strict=True):
        assert value(data["xticks"], point["x"]) == pytest.approx(p["x"], abs=0.01)
        assert value(data["yticks"], point["y"]) == pytest.approx(p["y"], abs=0.03)
        assert value(data["yticks"], point["also"][1]) == pytest.approx(p["also"][1], abs=0.03)
    assert len(data["lines"]) > 3
    for left, top, right, foot, text in data["lines"]:
        assert 0 <= left < right <= 1 and 1 >= top > foot >= 0
        assert (left == 0 or top == 1) and (right == 1 or foot == 0)  # from edge to edge
        for place in ((left, top), (right, foot)):
            assert sum(map(value, (data["xticks"], data["yticks"]), place)) == pytest.approx(
                float(text), abs=0.05)
    assert shown(curve_explorer(curves(), *LABELS))["lines"] == []


def test_table_of_curves_holds_every_value_and_says_what_is_left_out():
    figure = curve_explorer(curves(), *LABELS, "Title")
    cells = Page(figure._repr_html_()).cells
    assert cells[:8] == ["curve", "point", *LABELS, "rate (nats), training",
                         "distortion (nats), training", "gap", "I(x;z)"]
    rows = [cells[at:at + 8] for at in range(8, len(cells), 8)]
    every = [(c["name"], p) for c in curves() for p in c["points"]]
    for row, (name, p) in zip(rows, every, strict=True):
        assert row[:2] == [name, p["label"]]
        wanted = [p["x"], p["y"], *p.get("also", ("–", "–"))]
        for cell, number in zip(row[2:6], wanted, strict=True):
            assert cell == ("left out" if number != number else number if number == "–" else
                            f"{number:g}")
        assert row[6:] == [p["told"].get("gap", "–"), p["told"].get("I(x;z)", "–")]
        assert all(cell in repr(figure) for cell in row)
    assert [row[2] for row in rows].count("left out") == 1
    bare = [{"name": "a", "colour": "#000000", "points": [{"label": "b", "x": 1.0, "y": 2.0}]}]
    assert Page(curve_explorer(bare, *LABELS)._repr_html_()).cells == [
        "curve", "point", *LABELS, "a", "b", "1", "2"]


def test_hostile_text_in_curves_stays_text():
    point = {"label": HOSTILE, "x": 1.0, "y": 2.0, "also": (1.5, 1.0), "mark": True,
             "told": {HOSTILE: HOSTILE}, "images": [(HOSTILE, picture(1))]}
    html = curve_explorer([{"name": HOSTILE, "colour": "#000000", "points": [point]}], HOSTILE,
                          HOSTILE, HOSTILE, HOSTILE)._repr_html_()
    page = Page(html)
    assert page.tags.count("script") == 2 and "img" not in page.tags
    assert not any(part in html.split("</script>")[0].split('json">')[1] for part in "<\u2028")
    data = json.loads(page.scripts[0])
    assert data["title"] == data["sum"] == data["x"] == data["curves"][0]["name"] == HOSTILE
    assert page.cells.count(HOSTILE) == 6  # three headers; curve, point, told


@pytest.mark.parametrize("change, said", [
    ({"x": math.inf}, "has inf on the linear axis 'rate"),
    ({"y": -math.inf}, "has -inf on the linear axis 'distortion"),
    ({"also": (1.0, math.inf)}, "has inf on the linear axis 'distortion"),
    ({"images": [("sample", b"GIF89a" + bytes(40))]}, "'sample' .* no whole PNG"),
    ({"images": [("sample", picture(0)[:-4])]}, "'sample' .* no whole PNG"),
])
def test_errors_name_the_curve_and_the_point(change, said):
    given = curves()
    given[1]["points"][2] |= change
    with pytest.raises(VaenbError, match=said) as caught:
        curve_explorer(given, *LABELS)
    assert "sparse, β = 1" in str(caught.value)


def test_errors_of_curves():
    with pytest.raises(VaenbError, match="at least one curve"):
        curve_explorer([], *LABELS)
    for points in ([], [{"label": "a", "x": math.nan, "y": 1.0}]):
        with pytest.raises(VaenbError, match="the curve 'b' has no point to show: leave it out"):
            curve_explorer([{"name": "b", "colour": "#000000", "points": points}], *LABELS)
    with pytest.raises(VaenbError, match="colour of 'dense' must be like #0072b2, got 'blue'"):
        curve_explorer([curves()[0] | {"colour": "blue"}], *LABELS)
    noise = png(np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8))
    given = curves()
    given[0]["points"][0]["images"] = [("noise", noise)]
    with pytest.raises(VaenbError, match="more than 1,000,000: show fewer points"):
        curve_explorer(given, *LABELS)


@pytest.fixture
def chromium(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent / "browser")
    if not (shutil.which("chromium") or shutil.which("chromium-browser")):
        pytest.skip("no Chromium here: apt-get install chromium")
    from chromium import Chromium

    return Chromium


def quiet(browser, page) -> bool:
    """Nothing failed, and nothing was asked of any server."""
    asked = [r["request"]["url"] for r in browser.said("Network.requestWillBeSent")]
    assert browser.said("Runtime.exceptionThrown") == []
    assert [u for u in asked if not u.startswith(("data:", page.as_uri()))] == []
    assert [e for e in browser.said("Log.entryAdded") if e["entry"]["level"] == "error"] == []
    return True


def test_in_a_browser(tmp_path, chromium):
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
    with chromium(320, 900) as browser:
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
        assert again and quiet(browser, page)


def test_curves_in_a_browser(tmp_path, chromium):
    hostile = [c | {"name": HOSTILE} for c in curves()]
    first, second = (curve_explorer(c, *LABELS, c[0]["name"], ISO) for c in (curves(), hostile))
    page = tmp_path / "page.html"
    page.write_text('<!doctype html><meta charset="utf-8"><html style="color:#c0ffee;'
                    f'background:#111"><body>{first._repr_html_()}{second._repr_html_()}',
                    encoding="utf-8")
    now = """(() => { const e = document.querySelector('vae-curves'), r = e.shadowRoot;
      const all = s => [...r.querySelectorAll(s)], i = r.querySelector('[type=range]');
      const ring = new DOMMatrix(getComputedStyle(r.querySelector('.ring')).transform);
      const box = r.querySelector('.chart').getBoundingClientRect();
      return {curve: e.curve, k: +i.value, said: i.getAttribute('aria-valuetext'),
        label: r.querySelector('.label').textContent, src: all('img').map(g => g.src),
        wide: all('img').map(g => g.clientWidth), crisp: all('img').every(
          g => getComputedStyle(g).imageRendering == 'pixelated'),
        captions: all('figcaption').map(c => c.textContent), alt: all('img').map(g => g.alt),
        radios: all('[type=radio]').map(b => b.checked), faint: all('.faint').length,
        thin: all('.chart .thin').length, ring: [ring.e, ring.f], at: e.places[e.curve][+i.value],
        sums: all('.sum').length, focus: r.activeElement && r.activeElement.type,
        edge: [box.left, box.top], places: e.places, dir: i.dir,
        ink: getComputedStyle(r.querySelector('text')).fill}; })()"""
    data = json.loads(Page(first._repr_html_()).scripts[0])
    said = [[p["said"] for p in c["points"]] for c in data["curves"]]
    with chromium(320, 900) as browser:
        def press(key, code):
            for kind in ("keyDown", "keyUp"):
                browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                             windowsVirtualKeyCode=code)
            return browser.js(now)

        def mouse(kind, place, edge, buttons=1):
            browser.call("Input.dispatchMouseEvent", type="mouse" + kind, x=edge[0] + place[0],
                         y=edge[1] + place[1], buttons=buttons, clickCount=1,
                         button="none" if kind == "Moved" and not buttons else "left")
            return browser.js(now)

        browser.open(page.as_uri())
        for width in (320, 700, 1000):
            browser.size(width, 900)
            browser.js("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
            assert browser.js("document.documentElement.scrollWidth") == width
            seen = browser.js(now)
            assert seen["crisp"] and all(w >= 80 and w % 20 == 0 for w in seen["wide"])
        # it begins at the star, with all that belongs to that point
        assert (seen["curve"], seen["k"], seen["said"]) == (0, 2, said[0][2])
        assert seen["label"] == "dense, β = 1" and seen["radios"] == [True, False]
        assert seen["captions"] == ["input", "nearest", "reconstruction"]
        assert seen["alt"][0] == "input: dense, β = 1"
        assert seen["src"] == [data["images"][n]["src"]
                               for _, n in data["curves"][0]["points"][2]["images"]]
        assert (seen["faint"], seen["sums"]) == (1, len(data["lines"]))
        assert seen["thin"] == 2 and seen["ring"] == pytest.approx(seen["at"], abs=0.01)
        assert seen["ink"] == "rgb(192, 255, 238)"  # the page's colour of text

        # dragged, the handle goes along the curve, and lets go at a point
        edge, dense, sparse = seen["edge"], *seen["places"]
        seen = mouse("Pressed", dense[2], edge)
        between = [0.7 * a + 0.3 * b for a, b in zip(dense[1], dense[0], strict=True)]
        seen = mouse("Moved", between, edge)
        assert (seen["k"], seen["label"]) == (1, "dense, β = 0.1")
        assert seen["ring"] == pytest.approx(between, abs=1.0)
        assert math.dist(seen["ring"], dense[1]) > 10
        seen = mouse("Moved", (dense[0][0] + 900, dense[0][1] + 90), edge)  # beyond its end
        assert seen["k"] == 0 and seen["ring"] == pytest.approx(dense[0], abs=0.01)
        mouse("Moved", between, edge)
        seen = mouse("Released", between, edge, 0)
        assert (seen["k"], seen["said"], seen["focus"]) == (1, said[0][1], "range")
        assert seen["ring"] == pytest.approx(dense[1], abs=0.01)
        assert mouse("Moved", dense[3], edge, 0)["k"] == 1  # no longer held

        # keys: along the curve as the chart lies, and to other curves at the same beta
        assert seen["dir"] == "rtl"
        assert press("ArrowLeft", 37)["said"] == said[0][2]
        down = press("ArrowDown", 40)
        assert (down["curve"], down["said"], down["radios"]) == (1, said[1][1], [False, True])
        assert down["label"] == "sparse, β = 1" and down["k"] == 1  # the second that is a number
        bare = press("ArrowLeft", 37)
        assert (bare["k"], bare["src"], bare["thin"]) == (2, [], 1)
        assert len(press("End", 35)["src"]) == 3
        up = press("ArrowUp", 38)  # the first curve has no beta = 100
        assert (up["curve"], up["k"]) == (0, 3)
        mouse("Pressed", sparse[0], edge)
        there = mouse("Released", sparse[0], edge, 0)
        assert (there["curve"], there["k"], there["label"]) == (1, 0, "sparse, β = 0.01")
        browser.js("document.querySelector('vae-curves').shadowRoot.querySelector('label').click()")
        again = browser.js(now)
        assert (again["curve"], again["radios"], again["k"]) == (0, [True, False], 0)

        # a finger on the handle drags it, and the page stays
        browser.size(1000, 500)
        browser.call("Emulation.setTouchEmulationEnabled", enabled=True)
        for kind, point in (("Start", dense[0]), ("Move", (dense[0][0], dense[0][1] - 60)),
                            ("Move", dense[2]), ("Move", dense[3]), ("End", None)):
            at = [{"x": edge[0] + point[0], "y": edge[1] + point[1]}] if point else []
            browser.call("Input.dispatchTouchEvent", type="touch" + kind, touchPoints=at)
        assert browser.js(now)["said"] == said[0][3] and browser.js("scrollY") == 0

        other = "document.querySelectorAll('vae-curves')[1].shadowRoot"
        assert browser.js(f"{other}.querySelector('label').textContent") == HOSTILE
        assert browser.js(f"{other}.querySelectorAll('img').length") == 3
        assert quiet(browser, page)
        rows = browser.js("""new Promise(done => {  // where no script runs
          const frame = document.createElement('iframe');
          frame.setAttribute('sandbox', 'allow-same-origin');
          frame.srcdoc = document.querySelector('vae-curves').outerHTML;
          frame.onload = () => {
            const e = frame.contentDocument.querySelector('vae-curves');
            e.querySelector('summary').click();
            done([!!e.shadowRoot, [...e.querySelectorAll('tr')].map(r => r.clientHeight > 0)]);
          };
          document.body.append(frame);
        })""")
        assert rows == [False, [True] * 10]


def test_the_browser_leaves_no_event_loop_behind(chromium, monkeypatch):
    monkeypatch.setattr(asyncio.events, "_event_loop_policy", None)  # as in a new process
    made, init = [], asyncio.BaseEventLoop.__init__
    monkeypatch.setattr(asyncio.BaseEventLoop, "__init__",
                        lambda loop: (made.append(loop), init(loop))[1])
    with chromium(320, 900):
        pass
    assert made and all(loop.is_closed() for loop in made)
