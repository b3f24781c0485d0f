"""The points explorer: what it holds, its table, its errors, and its behaviour in a browser."""

import base64
import json
import math

import numpy as np
import pytest
from test_explorer import HOSTILE, Page, chromium, quiet  # noqa: F401

from vaenb import VaenbError
from vaenb.report import points_explorer
from vaenb.report.figures import colour

COUNT = 40
GROUPS = np.arange(COUNT) % 3
ACROSS = np.linspace(-2.0, 2.0, COUNT)


def frame(at, x, y, **values):
    return {"at": at, "label": f"step {at:g}", "points": np.stack([x, y], 1), "values": values}


def panels():
    """Basic spreads along x at 200 and collapses; aggressive begins later and turns to y = x."""
    none, one = np.zeros(COUNT), ACROSS
    return {"basic": [frame(0, none, none, KL=0.0), frame(200, one, none, KL=0.25),
                      frame(600, 0.1 * one, none, KL=math.nan)],
            "aggressive": [frame(100, one, 0 * one, KL=0.5, MI=0.4),
                           frame(200, one, 0.5 * one, KL=1.5), frame(400, one, one, MI=1.25)]}


def held(made):
    return json.loads(Page(made._repr_html_()).scripts[0])


def points(shown, half):
    """What stands in a frame, read bit by bit: [N, 2] in the axes' units."""
    bits = np.unpackbits(np.frombuffer(base64.b64decode(shown["points"]), np.uint8))
    places = bits.reshape(-1, 2, 12) @ (1 << np.arange(11, -1, -1))
    return (places - 2047) / 2046 * half


def test_what_it_holds():
    given = panels()
    made = points_explorer(given, "Title", "Note.", GROUPS + 7, ["low", "middle", "high"],
                           ("under p(z|x)", "under q(z|x)"))
    html, data = made._repr_html_(), held(made)
    assert html.startswith("<vae-points>") and data["title"] == "Title"
    assert data["note"].startswith("Note. Space plays")
    assert (data["x"], data["y"]) == ("under p(z|x)", "under q(z|x)")
    assert data["at"] == [[0, "0"], [100, "100"], [200, "200"], [400, "400"], [600, "600"]]
    assert [p["name"] for p in data["panels"]] == ["basic", "aggressive"]
    assert data["colours"][:2] == [colour("basic"), colour("aggressive")]
    assert data["groups"] == ["low", "middle", "high"] and len(set(data["colours"][2:])) == 3
    assert data["member"] == "".join(str(k % 3) for k in range(COUNT))
    assert data["panels"][0]["frames"][2]["told"] == [["KL", "–"]]
    assert data["panels"][1]["frames"][0]["told"] == [["KL", "0.5"], ["MI", "0.4"]]
    assert data["half"] == pytest.approx(2.06) and not data["beyond"]
    for panel, frames in zip(data["panels"], given.values(), strict=True):
        for shown, own in zip(panel["frames"], frames, strict=True):
            off = np.abs(points(shown, data["half"]) - own["points"])
            assert off.max() <= data["half"] / 2046 / 2 * 1.001  # half a step
    assert (points(data["panels"][0]["frames"][0], 1.0) == 0).all()  # the middle is exact
    assert data["first"] in (3, 36)  # the path of a fifth is as long or longer
    assert np.allclose(np.diff([p for p, _ in data["xticks"]], 2), 0, atol=2e-4)
    assert [0.5, "0"] in data["xticks"] and data["xticks"] == data["yticks"]
    again = points_explorer(panels(), "Title", "Note.", GROUPS + 7, ["low", "middle", "high"],
                            ("under p(z|x)", "under q(z|x)"))
    assert again._repr_html_() == html
    plain = held(points_explorer(given))
    assert (plain["groups"], plain["member"], len(plain["colours"])) == ([], "", 2)


def test_axes_hold_nearly_all_and_mark_the_rest():
    small = held(points_explorer({"a": [frame(0, ACROSS / 100, ACROSS / 100)]}))
    assert small["half"] == pytest.approx(1.03)  # at least [-1, 1]
    far = np.random.default_rng(0).uniform(-2, 2, (1000, 2))
    far[:4] = [[50.0, 0.5], [-50.0, 0.5], [0.5, 3.0], [60.0, -60.0]]
    data = held(points_explorer({"a": [{"at": 0, "label": "a", "points": far}]}))
    assert 1.9 < data["half"] < 2.1 and data["beyond"] and data["first"] > 3
    found = points(data["panels"][0]["frames"][0], 1.0)
    beyond = np.abs(found) > 1
    assert beyond.any(1).sum() == (np.abs(far) > data["half"]).any(1).sum() == 4
    assert (np.abs(found[beyond]) == 2047 / 2046).all()
    assert (np.sign(found[beyond]) == np.sign(far[beyond])).all()
    assert found[0, 1] * data["half"] == pytest.approx(0.5, abs=1e-3)
    far[:4] = [2.2, -2.2]  # few and near: the axes take them in
    assert held(points_explorer({"a": [{"at": 0, "label": "a", "points": far}]}))["half"] > 2.2


def test_500_points_in_two_panels_of_40_frames_are_small():
    rng = np.random.default_rng(0)
    frames = [{"at": 200.0 * k, "label": f"{200 * k} decoder steps, epoch 2, aggressive",
               "points": rng.normal(size=(500, 2)), "values": dict.fromkeys("abcd", 1 / 3)}
              for k in range(40)]
    made = points_explorer({"basic": frames, "aggressive": frames}, groups=rng.integers(0, 4, 500))
    assert len(made._repr_html_().encode()) < 232_000


def test_the_table_holds_every_value():
    text = points_explorer(panels(), title="Title", note="Note")
    found = Page(text._repr_html_()).cells
    head = ["model", "frame", "decoder updates", "KL", "MI", "correlation", "sd(x)", "sd(y)"]
    rows = [found[k:k + 8] for k in range(8, len(found), 8)]
    assert found[:8] == head and len(rows) == 6
    sd = f"{ACROSS.std():.4g}"
    assert rows[0] == ["basic", "step 0", "0", "0", "–", "–", "0", "0"]
    assert rows[1] == ["basic", "step 200", "200", "0.25", "–", "–", sd, "0"]
    assert rows[2][3] == "–"
    assert rows[5] == ["aggressive", "step 400", "400", "–", "1.25", "1", sd, sd]
    assert repr(text).endswith("Title: Note")
    noise = np.random.default_rng(0).normal(size=(COUNT, 2)) @ [[1.0, -0.5], [0.0, 0.5]]
    cells = Page(points_explorer({"a": [frame(0, *noise.T)]})._repr_html_()).cells
    r = np.corrcoef(*noise.T)[0, 1]
    assert cells[6] == "a" and -0.9 < r < -0.5
    assert float(cells[9].replace("−", "-")) == pytest.approx(r, abs=1e-3)
    assert float(cells[11]) == pytest.approx(noise[:, 1].std(), rel=1e-3)


def test_hostile_text_stays_text():
    own = [f | {"label": HOSTILE, "values": {HOSTILE: 1.0}} for f in panels()["basic"]]
    html = points_explorer({HOSTILE: own}, HOSTILE, HOSTILE, GROUPS, [HOSTILE] * 3)._repr_html_()
    assert Page(html).tags.count("script") == 2 and "img" not in Page(html).tags


BAD = np.zeros((COUNT, 2))
BAD[[5, 9], 1] = math.nan


@pytest.mark.parametrize(("change", "said"), [
    ({"points": np.zeros(COUNT)}, r"points of the frame 'step 200' of 'aggressive' must be \[N, 2"
                                  r"\], got \[40\]"),
    ({"points": np.zeros((COUNT, 3))}, r"must be \[N, 2\], got \[40, 3\]"),
    ({"points": np.zeros((0, 2))}, r"must be \[N, 2\], got \[0, 2\]"),
    ({"points": [[1, 2], [3]]}, r"of 'aggressive' are no array of numbers \[N, 2\]"),
    ({"points": BAD}, "'aggressive' are not finite: 2 of 40, the first is number 5"),
    ({"points": np.zeros((7, 2))}, "of 'aggressive' has 7 points and the first frame 40: all"),
    ({"at": 100}, "'aggressive' is at 100 updates, after 100: frames need the order of training"),
    ({"at": math.nan}, "is at nan updates, after 100"),
    ({"at": math.inf}, "is at inf updates, after 100"),
    ({"values": {"KL": math.inf}}, "'step 200' of 'aggressive' has infinite values, {'KL': inf}"),
])
def test_errors_name_the_frame(change, said):
    given = panels()
    given["aggressive"][1] |= change
    with pytest.raises(VaenbError, match=said):
        points_explorer(given)


@pytest.mark.parametrize(("given", "said"), [
    ({"groups": [0, 1]}, r"a whole number for each of the 40 points, got int64 \[2\]"),
    ({"groups": np.zeros(COUNT)}, r"got float64 \[40\]"),
    ({"groups": np.arange(COUNT)}, "has signs for 5 groups .* got 40 groups and 40 names"),
    ({"groups": GROUPS, "names": ["a"]}, "a name for each, got 3 groups and 1 names"),
])
def test_errors_of_the_figure(given, said):
    with pytest.raises(VaenbError, match=said):
        points_explorer(panels(), **given)


def test_errors_of_what_is_missing_or_too_much():
    with pytest.raises(VaenbError, match="needs at least one panel"):
        points_explorer({})
    with pytest.raises(VaenbError, match="the panel 'b' has no frame to show: leave it out"):
        points_explorer(panels() | {"b": []})
    many = [{"at": k, "label": "a", "points": np.zeros((50_000, 2))} for k in range(5)]
    with pytest.raises(VaenbError, match="'big' takes 1,.* bytes, more than 1,000,000"):
        points_explorer({"a": many}, title="big")


NOW = """(() => { const e = document.querySelector('vae-points'), r = e.shadowRoot;
  const all = s => [...r.querySelectorAll(s)], i = r.querySelector('[type=range]');
  return {k: +i.value, max: +i.max, place: e.place, playing: !!e.playing, pin: e.pin,
    over: e.over, labels: all('.panel>b+div').map(d => d.textContent),
    told: all('.values').map(d => [...d.querySelectorAll('dd')].map(v => v.textContent)),
    live: r.querySelector('.live').textContent, verb: r.querySelector('button').textContent,
    said: i.getAttribute('aria-valuetext'), dots: e.panels.map(p => p.now.length / 2),
    marks: all('.chart .cloud path').map(p => p.getAttribute('d').split('M').length - 1),
    beyond: all('.chart .beyond').map(p => p.getAttribute('d').split('M').length - 1),
    paths: all('.chart .path').map(p => p.getAttribute('d').split(/[ML]/).length - 1),
    rings: all('.chart .ring').filter(p => p.getAttribute('d')).length,
    now: e.panels.map(p => [...p.now]), diagonals: all('.diagonal').length,
    focus: r.activeElement && r.activeElement.type, dim: all('.dim').length,
    ink: getComputedStyle(r.querySelector('text')).fill,
    fills: all('.chart .cloud').map(g => getComputedStyle(g).color)}; })()"""
REST = """new Promise(done => { const e = document.querySelector('vae-points');
  const end = Date.now() + 9000, look = () => !e.loop && !e.playing || Date.now() > end ?
    done(0) : setTimeout(look, 10); look(); })"""
ELEMENT = "document.querySelector('vae-points')"


def test_in_a_browser(tmp_path, chromium):  # noqa: F811
    given = panels()
    given["basic"][1]["points"][0] = [-90.0, 0.0]
    made = points_explorer(given, title="Title", note="Note", groups=GROUPS)
    other = points_explorer({HOSTILE: given["basic"]}, HOSTILE, HOSTILE)
    page = tmp_path / "page.html"
    page.write_text('<!doctype html><meta charset="utf-8"><html style="color:#222">'
                    '<style>@media (prefers-color-scheme:dark){html{color:#c0ffee !important;'
                    f'background:#111}}}}</style><body>{made._repr_html_()}'
                    f'{other._repr_html_()}', encoding="utf-8")
    with chromium(360, 1600) as browser:
        def settled():
            browser.js("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
            browser.js(REST)
            return browser.js(NOW)

        def press(key, code):
            for kind in ("keyDown", "keyUp"):
                text = {"text": key} if len(key) == 1 and kind == "keyDown" else {}
                browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                             windowsVirtualKeyCode=code, **text)

        def mouse(kind, place):
            browser.call("Input.dispatchMouseEvent", type="mouse" + kind, x=place[0], y=place[1],
                         clickCount=1, button="none" if kind == "Moved" else "left",
                         buttons=int(kind == "Pressed"))
            return browser.js(NOW)

        def place(panel, i):
            return browser.js(f"""(() => {{ const p = {ELEMENT}.panels[{panel}];
              const b = p.svg.getBoundingClientRect();
              return [b.left + p.now[{2 * i}], b.top + p.now[{2 * i + 1}]]; }})()""")

        browser.mode("light")
        browser.open(page.as_uri())
        for width in (320, 360, 700, 1000):
            browser.size(width, 1600)
            settled()
            assert browser.js("document.documentElement.scrollWidth") == width
            boxes = browser.js(f"""{ELEMENT}.panels.map(p => {{
              const b = p.svg.getBoundingClientRect(), [X, Y] = p.at;
              return [b.left, b.top, b.width, X(1) - X(0), Y(0) - Y(1)]; }})""")
            (x0, y0, wide, *_), (x1, y1, *_) = boxes
            assert all(b[3] == pytest.approx(b[4]) for b in boxes)  # equal axes
            assert (x0 == x1 and y1 > y0) if width < 400 else (y0 == y1 and x1 > x0)  # stacked
            assert wide > 250
        # it begins at the end, with the path of one point in both panels
        start = browser.js(NOW)
        assert (start["k"], start["max"], start["verb"], start["said"]) == (
            4, 4, "Play", "600 decoder updates")
        assert start["labels"] == ["step 600", "step 400"] and start["diagonals"] == 2
        assert start["rings"] == 2 and start["paths"] == [4, 4] and start["dim"] == 2
        assert start["told"][1][0] == "1.25" and start["told"][0][0] == "–"
        assert sum(start["marks"]) == 2 * COUNT and len(set(start["fills"])) == 3
        assert "basic: step 600, KL –, point" in start["live"]

        # the slider: each panel shows its last frame until then
        browser.js(f"{ELEMENT}.input.focus()")
        press("Home", 36)
        home = settled()
        assert home["labels"] == ["step 0", "not yet begun"] and home["dots"] == [COUNT, 0]
        assert home["live"].startswith("0 decoder updates. basic: step 0, KL 0, point")
        assert home["paths"] == [2, 0] and home["rings"] == 1
        press("ArrowRight", 39)
        assert settled()["labels"] == ["step 0", "step 100"]
        press("ArrowRight", 39)
        both = settled()
        assert both["labels"] == ["step 200", "step 200"] and both["k"] == both["place"] == 2
        assert both["told"][0][0] == "0.25" and both["now"] != home["now"]
        assert both["beyond"] == [1, 0, 0, 0, 0, 0]  # one, of the first group, hollow
        between = browser.js(f"(({ELEMENT}.draw(1.5), {NOW}))")  # half way
        for a, b, c in zip(home["now"][0], both["now"][0], between["now"][0], strict=True):
            assert c == pytest.approx((a + b) / 2, abs=1e-3)
        browser.js(f"{ELEMENT}.draw(2)")
        press("End", 35)
        assert settled()["now"] == start["now"]

        # n, p and Esc choose a point; a click and the pointer do so where it stands
        for _ in range(2):
            press("Escape", 27)
        none = browser.js(NOW)
        assert (none["pin"], none["rings"], none["dim"], none["paths"]) == (-1, 0, 0, [0, 0])
        assert none["told"][0][-1] == "none chosen"
        press("p", 80)
        assert browser.js(NOW)["pin"] == COUNT - 1
        press("n", 78)
        first = browser.js(NOW)
        assert first["pin"] == 0 and "point 1 of 40, group 0 (−0.2" in first["live"]
        press("Home", 36)
        settled()
        press("ArrowRight", 39)
        press("ArrowRight", 39)
        out = settled()
        assert out["told"][0][-1].startswith("(< −2.") and out["paths"] == [3, 3]
        there = place(1, 21)
        over = mouse("Moved", there)
        assert (over["over"], over["pin"], over["rings"]) == (21, 0, 2)
        assert over["live"] == out["live"]  # the pointer is not read aloud
        mouse("Pressed", there)
        pinned = mouse("Released", there)
        assert (pinned["pin"], pinned["focus"], pinned["paths"]) == (21, "range", [3, 3])
        assert mouse("Moved", [5, 5])["over"] == -1
        free = [there[0], there[1] - 90]
        mouse("Pressed", free)
        assert mouse("Released", free)["pin"] == -1

        # space plays from here to the end and stops; again, it begins anew; a key stops it
        mouse("Moved", [5, 5])
        browser.js(f"""(() => {{ const e = {ELEMENT}, {{toggle}} = e;
          e.seen = [];
          e.toggle = () => {{ toggle.call(e); e.seen.push([e.playing, e.verb.textContent]); }};
          e.input.focus(); }})()""")
        press(" ", 32)
        end = settled()
        assert browser.js(f"{ELEMENT}.seen") == [[True, "Pause"]] and browser.js("scrollY") == 0
        assert (end["k"], end["place"], end["playing"], end["verb"]) == (4, 4, False, "Play")
        assert end["live"].startswith("600 decoder updates")
        took = browser.js(f"""(async () => {{ const t = performance.now(), e = {ELEMENT};
          const {{draw}} = e, places = new Set();
          e.draw = function(p) {{ places.add(p); draw.call(this, p); }};
          e.button.click();
          const from = e.place;
          await {REST};
          delete e.draw;
          return [from, performance.now() - t, [...places].filter(p => p % 1).length]; }})()""")
        assert took[0] == 0 and 600 < took[1] < 6000 and took[2] > 1  # 4 steps, 6 a second
        browser.js(f"""(() => {{ const e = {ELEMENT}; e.button.click(); e.input.value = 2;
          e.input.dispatchEvent(new Event('input')); }})()""")
        stopped = settled()
        assert not stopped["playing"] and stopped["place"] == stopped["k"] == 2
        browser.js(f"{ELEMENT}.seen = []; {ELEMENT}.button.focus()")
        press(" ", 32)
        settled()
        assert browser.js(f"{ELEMENT}.seen") == [[True, "Pause"]]  # once, not twice

        # who wants no motion sees frames only
        browser.call("Emulation.setEmulatedMedia",
                     features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
        places = browser.js(f"""(async () => {{ const places = new Set(), e = {ELEMENT};
          const draw = e.draw; e.draw = function(p) {{ places.add(p); draw.call(this, p); }};
          e.button.click(); await {REST}; e.go(1); await {REST}; delete e.draw;
          return [...places]; }})()""")
        assert places == [0, 1, 2, 3, 4] and settled()["labels"] == ["step 0", "step 100"]

        light = browser.js(NOW)
        browser.mode("dark")
        dark = browser.js(NOW)
        assert (light["ink"], dark["ink"]) == ("rgb(34, 34, 34)", "rgb(192, 255, 238)")
        assert all(a != b for a, b in zip(light["fills"], dark["fills"], strict=True))

        def bright(rgb):
            red, green, blue = (float(v) for v in rgb[rgb.index("srgb") + 4:-1].split())
            return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

        assert all((bright(c) + 0.05) / (0.0056 + 0.05) > 3 for c in dark["fills"])
        assert all(1.05 / (bright(c) + 0.05) > 2.9 for c in light["fills"])
        assert browser.js("document.querySelectorAll('vae-points')[1].shadowRoot"
                          ".querySelector('.panel b').textContent") == HOSTILE
        assert quiet(browser, page) and browser.said("Runtime.consoleAPICalled") == []
