"""The grid explorer: what it holds, its table, its errors, and its behaviour in a browser."""

import json
import math

import pytest
from test_explorer import HOSTILE, Page, chromium, picture, png, quiet  # noqa: F401

from vaenb import VaenbError
from vaenb.report import grid_explorer

BETAS = [0.1, 1.0, 10.0]
AXES = dict(rows=("β₂", BETAS), columns=("β₁", BETAS), x="R(z₂) (nats)", y="R(z₁|z₂) (nats)")
METRICS = {"PSNR": "max", "loss": "min"}


def cells():
    """A hole at (0.1, 10), a failure at (10, 0.1), a missing value at (10, 10)."""
    found = []
    for a in BETAS:
        for b in BETAS:
            if (a, b) == (0.1, 10.0):
                continue
            r2, r1 = 30 - 10 * math.log10(a), 40 - 20 * math.log10(b)
            found.append(dict(row=a, column=b, x=r2, y=r1, values={"PSNR": r1, "loss": r2 + r1},
                              told={"seeds": "3"}, images=[("samples", picture(1))]))
            if a == b == 1:
                found[-1] |= dict(mark="VAE", images=[("samples", picture(2))])
            if (a, b) == (10.0, 0.1):
                found[-1] = dict(row=a, column=b, failed="broke in training")
    found[-1]["values"].pop("loss")
    return found


def held(made):
    return json.loads(Page(made._repr_html_()).scripts[0])


def test_what_it_holds():
    made = grid_explorer(cells(), **AXES, metrics=METRICS, title="Title", note="Note")
    html, data = made._repr_html_(), held(made)
    assert html.startswith("<vae-grid>") and (data["title"], data["note"]) == ("Title", "Note")
    assert data["rows"] == ["β₂", ["0.1", "1", "10"]] == ["β₂", data["columns"][1]]
    assert len(data["cells"]) == 8 and len(data["images"]) == 2 == html.count("base64,")
    middle = next(c for c in data["cells"] if c["mark"])
    assert (middle["r"], middle["c"], middle["label"]) == (1, 1, "β₂ = 1, β₁ = 1, VAE")
    assert middle["said"] == ("β₂ = 1, β₁ = 1, VAE: R(z₂) (nats) 30, R(z₁|z₂) (nats) 40, "
                              "PSNR 40, loss 70, seeds 3")
    broken = next(c for c in data["cells"] if c["failed"])
    assert broken["x"] is None and broken["v"] == [None, None]
    assert broken["said"].startswith("β₂ = 10, β₁ = 0.1, broke in training")
    # PSNR is best at (0.1, 0.1), the first of two; loss is best at (1, 10), as (10, 10) has none
    psnr, loss = data["metrics"]
    assert data["cells"][psnr["best"]]["label"] == "β₂ = 0.1, β₁ = 0.1"
    assert data["cells"][loss["best"]]["label"] == "β₂ = 1, β₁ = 10"
    assert (psnr["low"], psnr["high"]) == ("20", "60")
    assert data["cells"][psnr["best"]]["v"][0] == 1 and data["cells"][loss["best"]]["v"][1] == 0
    assert [data["cells"][k]["label"] for k in data["diagonal"]] == [
        "β₂ = 0.1, β₁ = 0.1", "β₂ = 1, β₁ = 1, VAE", "β₂ = 10, β₁ = 10"]
    assert len(data["lines"]) > 3
    again = grid_explorer(cells(), **AXES, metrics=METRICS, title="Title", note="Note")
    assert again._repr_html_() == html


def test_the_table_holds_every_value():
    found = Page(grid_explorer(cells(), **AXES, metrics=METRICS)._repr_html_()).cells
    head = ["cell", "R(z₂) (nats)", "R(z₁|z₂) (nats)", "PSNR", "loss", "seeds"]
    assert found[:6] == head and len(found) == 6 * 9
    rows = [found[k:k + 6] for k in range(6, 54, 6)]
    assert rows[0] == ["β₂ = 0.1, β₁ = 0.1", "40", "60", "60", "100", "3"]
    assert ["β₂ = 10, β₁ = 0.1", "broke in training", "–", "–", "–", "–"] in rows
    assert rows[-1] == ["β₂ = 10, β₁ = 10", "20", "20", "20", "–", "3"]
    assert rows[3][0] == "β₂ = 1, β₁ = 1 (VAE)"


def test_hostile_text_stays_text():
    given = [c | dict(mark=HOSTILE, told={HOSTILE: HOSTILE}) for c in cells()]
    html = grid_explorer(given, **AXES, metrics=METRICS, title=HOSTILE, note=HOSTILE)._repr_html_()
    assert Page(html).tags.count("script") == 2 and "img" not in Page(html).tags


@pytest.mark.parametrize(("change", "said"), [
    (dict(row=2.0), r"the grid has no β₂ = 2: it has \[0.1, 1.0, 10.0\]"),
    (dict(column=3.0), "the grid has no β₁ = 3"),
    (dict(row=0.1, column=0.1), "two cells stand at β₂ = 0.1, β₁ = 0.1"),
    (dict(values={"FID": 1.0}), "no metric is called 'FID': there are"),
    (dict(values={"PSNR": math.inf}), "the metric 'PSNR' needs finite values"),
    (dict(x=math.inf), "'β₂ = 0.1, β₁ = 1' has inf on the linear axis 'R"),
    (dict(images=[("s", b"GIF89a")]), "the image 's' of 'β₂ = 0.1, β₁ = 1' is no whole PNG"),
])
def test_errors_name_the_cell(change, said):
    given = cells()
    given[1] |= change
    with pytest.raises(VaenbError, match=said):
        grid_explorer(given, **AXES, metrics=METRICS)


def test_errors_of_the_figure():
    for given, metrics in (([], METRICS), (cells(), {})):
        with pytest.raises(VaenbError, match="at least one cell and one metric"):
            grid_explorer(given, **AXES, metrics=metrics)
    with pytest.raises(VaenbError, match="the best of 'PSNR' must be max or min, got 'most'"):
        grid_explorer(cells(), **AXES, metrics={"PSNR": "most", "loss": "min"})
    six = dict.fromkeys("abcdef", "max")
    with pytest.raises(VaenbError, match="has signs for 5 metrics, got 6: show fewer"):
        grid_explorer(cells(), **AXES, metrics=six)
    with pytest.raises(VaenbError, match="all cells of the grid have failed"):
        grid_explorer([dict(row=1.0, column=1.0, failed="no")], **AXES, metrics=METRICS)
    with pytest.raises(VaenbError, match=r"the metric 'loss' needs finite values, got \[\]"):
        grid_explorer([c | dict(values={"PSNR": 1.0}) for c in cells()], **AXES, metrics=METRICS)


NOW = """(() => { const e = document.querySelector('vae-grid'), r = e.shadowRoot;
  const all = s => [...r.querySelectorAll(s)];
  return {label: r.querySelector('.label').textContent, pin: e.pin, metric: e.metric,
    aria: r.querySelector('.pad').getAttribute('aria-label'), crossed: all('.pad .line').length,
    live: r.querySelector('.live').textContent, images: all('img').map(i => i.src),
    chosen: all('.chosen').length, holes: all('.hole').length, cells: all('rect.cell').length,
    dots: all('circle.cell').length, ends: all('.bar span').slice(0, 2).map(s => s.textContent),
    now: all('.chart .now').length, held: all('.held').length,
    best: all('.chart .best').length, dd: all('dd').length,
    focus: r.activeElement && r.activeElement.className,
    fill: all('rect.cell').map(c => c.getAttribute('fill')).join()}; })()"""


def test_in_a_browser(tmp_path, chromium):  # noqa: F811
    made = grid_explorer(cells(), **AXES, metrics=METRICS, title="Title", note="Note")
    page = tmp_path / "page.html"
    page.write_text('<!doctype html><meta charset="utf-8"><html style="color:#c0ffee;'
                    f'background:#111"><body>{made._repr_html_()}', encoding="utf-8")
    data = held(made)
    with chromium(320, 1400) as browser:
        def press(key, code):
            for kind in ("keyDown", "keyUp"):
                browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                             windowsVirtualKeyCode=code)
            return browser.js(NOW)

        def mouse(kind, place):
            browser.call("Input.dispatchMouseEvent", type="mouse" + kind, x=place[0], y=place[1],
                         clickCount=1, button="none" if kind == "Moved" else "left",
                         buttons=int(kind == "Pressed"))
            return browser.js(NOW)

        browser.open(page.as_uri())
        for width in (320, 700, 1000):
            browser.size(width, 1400)
            browser.js("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
            assert browser.js("document.documentElement.scrollWidth") == width
        start = browser.js(NOW)
        assert start["label"] == "β₂ = 1, β₁ = 1, VAE" and start["chosen"] == 2
        assert (start["cells"], start["holes"], start["crossed"]) == (9, 1, 3)  # cross and trail
        assert (start["dots"], start["best"], start["now"]) == (7, 4, 2)
        assert start["ends"] == ["20", "60"] and len(start["images"]) == 1
        browser.js("document.querySelector('vae-grid').shadowRoot.querySelector('.pad').focus()")
        up = press("ArrowUp", 38)
        assert up["label"] == "β₂ = 10, β₁ = 1" and up["live"] == up["aria"]
        assert up["images"] != start["images"]
        failed = press("ArrowLeft", 37)
        assert failed["label"] == "β₂ = 10, β₁ = 0.1, broke in training"
        assert failed["chosen"] == 1 and failed["images"] == [] and failed["dd"] == 0
        assert press("ArrowUp", 38)["pin"] == [2, 0]  # the edge
        hole = press("PageDown", 34) and press("End", 35)
        assert hole["label"] == "β₂ = 0.1, β₁ = 10: no model"
        assert press("Home", 36)["label"] == "β₂ = 0.1, β₁ = 0.1"
        place = browser.js("""(() => { const e = document.querySelector('vae-grid');
          const b = e.table.getBoundingClientRect(), c = e.chart.getBoundingClientRect();
          const f = e.frame, p = e.points.find(p => p[2] == '2,2');
          return [[b.left + f.x + 1.5 * f.side, b.top + 1.5 * f.side],
                  [c.left + p[0] + 4, c.top + p[1] - 4], [5, 5]]; })()""")
        over = mouse("Moved", place[0])
        assert over["label"] == "β₂ = 1, β₁ = 1, VAE" and over["pin"] == [0, 0]
        assert (over["chosen"], over["held"]) == (2, 2)  # the pinned cell stays to be seen
        away = mouse("Moved", place[2])
        assert (away["label"], away["held"]) == ("β₂ = 0.1, β₁ = 0.1", 0)
        mouse("Moved", place[0])
        assert press("Enter", 13)["pin"] == [1, 1]  # what the pointer shows
        mouse("Moved", place[1])
        mouse("Pressed", place[1])
        there = mouse("Released", place[1])
        assert there["pin"] == [2, 2] and there["focus"] == "pad"
        assert mouse("Moved", place[2])["label"] == "β₂ = 10, β₁ = 10"
        other = browser.js("""(() => { const r = document.querySelector('vae-grid').shadowRoot;
          r.querySelectorAll('[type=radio]')[1].click(); })()""") or browser.js(NOW)
        assert other["metric"] == 1 and other["fill"] != start["fill"]
        low, high = (data["metrics"][1][k] for k in ("low", "high"))
        assert other["ends"] == [low, high]

        # a finger that taps pins a cell, one that scrolls the page from another leaves it
        browser.size(320, 500)
        browser.js("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
        x, y, side = browser.js("""(() => { const e = document.querySelector('vae-grid');
          const b = e.table.getBoundingClientRect(), f = e.frame;
          return [b.left + f.x + 1.5 * f.side, b.top + 1.5 * f.side, f.side]; })()""")
        browser.call("Emulation.setTouchEmulationEnabled", enabled=True)

        def finger(x, ys, done):
            for kind, y in zip(["Start"] + ["Move"] * 3, ys, strict=False):
                browser.call("Input.dispatchTouchEvent", type="touch" + kind,
                             touchPoints=[{"x": x, "y": y}])
            browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
            browser.js(f"""new Promise(done => {{ const end = Date.now() + 5000, look = () =>
              {done} || Date.now() > end ? done(0) : setTimeout(look, 20); look(); }})""")
            return browser.js(NOW)["pin"]

        assert finger(x, [y], "document.querySelector('vae-grid').pin + '' == '1,1'") == [1, 1]
        assert finger(x - side, [y, y - 40, y - 80, y - 120], "scrollY > 50") == [1, 1]
        assert browser.js("scrollY") > 50
        assert quiet(browser, page)
