(() => {
const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const shade = u => {  // 0 dark, 1 light
  const k = Math.min(3, Math.floor(4 * u)), t = 4 * u - k;
  return `rgb(${STOPS[k].map((a, i) => Math.round(a + t * (STOPS[k + 1][i] - a)))})`;
};

const R = 3;  // radius of the points in a cloud
const SHAPES = ['m-1,0a1,1 0 1,0 2,0a1,1 0 1,0-2,0z', 'm0-1.35 1.35,1.35-1.35,1.35-1.35-1.35z',
  'm0-1.3 1.25,2.2h-2.5z', 'm-1-1h2v2h-2z', 'm0,1.3 1.25-2.2h-2.5z'];

class Chart extends HTMLElement {  // what the elements share
  connectedCallback() {
    const build = () => this.shadowRoot || this.build();
    if (this.querySelector('script')) build();
    else addEventListener('DOMContentLoaded', build);
  }

  add(to, name, given, text = '') {
    const space = name == 'svg' ? 'http://www.w3.org/2000/svg' : to.namespaceURI;
    const e = to.appendChild(document.createElementNS(space, name));
    for (const key in given) e.setAttribute(key, given[key]);
    e.textContent = text;
    return e;
  }

  colour(to, i) {
    return this.add(to, 'g', {style: '--c:' + this.data.colours[i]});
  }

  line(to, i, d, kind = '') {
    const dashes = ['', '7 4', '2 4'][i % 3];
    this.add(to, 'path', {d, class: 'line ' + kind, 'stroke-dasharray': dashes});
  }

  mark(to, group, x, y, r, kind = '') {  // group -1 is a star
    const d = SHAPES[group % 5] ||
      'M0-1.7 .4-.5 1.6-.5 .65.2 1 1.4 0 .7-1 1.4-.65.2-1.6-.5-.4-.5z';
    this.add(to, 'path', {d, class: kind, transform: `translate(${x} ${y}) scale(${r})`});
  }

  build() {
    const data = this.data = JSON.parse(this.querySelector('script').textContent);
    const root = this.attachShadow({mode: 'open'}), at = this.at = s => root.querySelector(s);
    this.setAttribute('data-lm-suppress-shortcuts', 'true');  // else JupyterLab takes the keys
    const knob = 'width:20px;height:20px;border:0;border-radius:9in;background:currentColor}';
    root.innerHTML = `<style>
:host{display:block;max-width:1000px;margin:.6em 0;font-size:14px;overflow-wrap:anywhere}
.both{display:flex;flex-wrap:wrap;gap:.8em 2em}
.left{flex:3 1 280px;min-width:0}
.right{flex:2 1 230px;min-width:0}
b,.key{display:block;margin-bottom:.5em}
.key>*{display:inline-block;margin-right:1.2em}
.key svg{width:26px;height:14px;vertical-align:-2px;margin-right:.4em}
.key .signs{display:block;margin:.3em 0 0}
.x{text-align:center}
.y{display:flex;justify-content:space-between}
.note{margin:.8em 0 .3em}
.chart{display:block;width:100%;overflow:visible;cursor:pointer;touch-action:pan-y}
text{fill:currentColor;font-size:12px}
line{stroke:currentColor;opacity:.15}
.rule{opacity:.6}
.sum{stroke-dasharray:2 4;opacity:.5}
path{fill:currentColor}
g,label input{color:color-mix(in srgb,var(--c) 70%,currentColor)}
.line,.ring{fill:none;stroke:currentColor;stroke-width:2;vector-effect:non-scaling-stroke}
.line.thin{stroke-width:1.2;stroke-dasharray:4 3}
.faint{opacity:.35}
.pad{cursor:pointer}
.cell{stroke:currentColor;stroke-opacity:.45}
.hole{stroke-dasharray:2 4}
.chosen,.held{fill:none;stroke:currentColor;stroke-width:3}
.held{stroke-width:1.5;stroke-dasharray:3 2}
.line.case{stroke:#fff;stroke-width:3.5}
.line.trail{stroke:#b34700;stroke-width:1.5}
.sign path{fill:#fff;stroke:#000;stroke-width:1.2;vector-effect:non-scaling-stroke}
.now path{fill:#ff9d5c}
.key .bar{display:flex;flex-wrap:wrap;align-items:center;gap:.2em .5em;margin:.2em 0 0}
.bar i{width:120px;height:10px;border-radius:3px}
.bar i~span{margin-right:.8em}
.key .tight svg{width:14px}
.run{display:flex;flex-wrap:wrap;flex:1 0 100%;align-items:center;gap:.3em 1em}
.run [type=range]{flex:1 1 200px;width:0;margin:0}
.run button{display:flex;align-items:center;gap:.5em;min-width:6.2em;height:36px;padding:0 .9em;
font:inherit;color:inherit;background:none;border:1px solid;border-radius:6px;cursor:pointer}
.panel{flex:1 1 250px;min-width:0;max-width:400px}
.panel>b{margin:0}
.panel,.panel div{font-size:12px}
.panel>b,.panel>b+div{font-size:14px}
.cloud path{fill-opacity:.5;stroke:currentColor;vector-effect:non-scaling-stroke}
.cloud .beyond{fill:none}
.zero{opacity:.4}
.diagonal{stroke-dasharray:6 4;opacity:.8}
.path{stroke-width:1.5}
.dots{stroke-width:4.5;stroke-linecap:round}
.dim{opacity:.6}
.values{grid-template-columns:repeat(auto-fill,minmax(90px,1fr));margin-top:.5em}
.run,dd{font-variant-numeric:tabular-nums}
.values dd{font-size:14px;white-space:nowrap}
.wide{grid-column:1/-1;display:flex;align-items:baseline;gap:.8em}
.chart text{user-select:none}
.live{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.plot{position:relative}
.grip{position:absolute;width:48px;height:48px;margin:-24px;cursor:grab;touch-action:none}
label{cursor:pointer;padding:.2em 0}
label input{appearance:none;width:14px;height:14px;margin:0 .4em 0 0;vertical-align:-2px;
border:2px solid;border-radius:9in}
:checked{background:currentColor}
[type=range]{appearance:none;width:100%;height:30px;margin:.4em 0 0;color:inherit;cursor:pointer;
background:linear-gradient(currentColor,currentColor) center/100% 2px no-repeat}
::-webkit-slider-thumb{appearance:none;${knob}
::-moz-range-thumb{${knob}
:focus-visible{outline:2px solid}
img{display:block;max-width:100%;height:auto;margin-bottom:.7em}
.images{display:flex;flex-wrap:wrap;gap:10px;margin-bottom:.7em}
figure{margin:0;font-size:12px;line-height:1.3}
figure img{margin-bottom:.3em}
dl{display:grid;grid-template-columns:auto 1fr;gap:.15em 1.2em;margin:0}
dd{margin:0}
</style><b class="title"></b><div class="both"><div class="left"><div class="key"></div>
<div class="y"></div><div class="plot"><svg class="chart" aria-hidden="true"></svg></div>
<div class="x"></div>
<input type="range" min="0" value="0"></div><div class="right"><b class="label"></b><img>
<dl></dl></div></div><div class="note"></div><slot></slot>`;
    for (const name of ['title', 'x', 'y', 'note']) at('.' + name).textContent = data[name];
    this.chart = at('.chart');
    this.input = at('[type=range]');
    this.input.setAttribute('aria-label', data.title || data.x);
    this.input.oninput = () => this.show();
    new ResizeObserver(() => this.show()).observe(at('.title'));
  }

  tell({label, said, told}) {
    this.input.setAttribute('aria-valuetext', said);
    this.at('.label').textContent = label;
    this.at('dl').textContent = '';
    for (const [name, text] of told) {
      this.add(this.at('dl'), 'dt', {}, name);
      this.add(this.at('dl'), 'dd', {}, text);
    }
  }

  enlarge(img, image, alt, room) {  // by whole device pixels
    const unit = image.width / devicePixelRatio, wide = unit * Math.floor(room / unit);
    const style = wide ? `width:${wide}px;image-rendering:pixelated` : '';
    Object.assign(img, {style, alt}, image);
  }

  sign(to, text) {  // a place in the legend
    const span = this.add(to, 'span'), svg = this.add(span, 'svg');
    span.append(text);
    return svg;
  }

  figures(all, of, least = 96) {  // images and captions, side by side where there is room
    const {clientWidth: wide} = this.at('.right'), {images} = this;
    const cols = Math.max(1, Math.min(all.length, Math.floor((wide + 10) / (least + 10))));
    while (images.childElementCount > all.length) images.lastChild.remove();
    all.forEach(([caption, n], i) => {
      const figure = images.children[i] || this.add(images, 'figure');
      if (!figure.firstChild) figure.append(new Image(), document.createElement('figcaption'));
      const [img, text] = figure.children, room = (wide + 10) / cols - 10;
      figure.style.width = Math.floor(room) + 'px';
      this.enlarge(img, this.data.images[n], `${caption}: ${of}`, room);
      text.textContent = caption;
    });
  }

  axes(right = 14, least = 0) {
    const svg = this.chart, {xticks, yticks} = this.data, wide = svg.clientWidth;
    const high = Math.max(210, least || Math.min(330, wide * .6));
    const left = 14 + 7 * Math.max(...yticks.map(t => t[1].length)), foot = high - 24;
    const X = u => left + u * (wide - left - right), Y = v => foot - v * (foot - 8);
    const rule = (u, v, s, t, kind = '') =>
      this.add(svg, 'line', {class: kind, x1: X(u), y1: Y(v), x2: X(s), y2: Y(t)});
    svg.textContent = '';
    svg.style.height = high + 'px';
    let free = 0;
    for (const [u, s] of xticks) {
      rule(u, 0, u, 1);
      if (X(u) - 4 * s.length < free) continue;
      this.add(svg, 'text', {x: X(u), y: foot + 18, 'text-anchor': 'middle'}, s);
      free = X(u) + 4 * s.length;
    }
    for (const [v, s] of yticks) {
      rule(0, v, 1, v);
      this.add(svg, 'text', {x: left - 7, y: Y(v) + 4, 'text-anchor': 'end'}, s);
    }
    rule(0, 0, 1, 0, 'rule');
    rule(0, 0, 0, 1, 'rule');
    return {svg, X, Y, rule};
  }

  plot(least) {  // axes, and the lines of equal sums with these where they leave the chart
    const {lines} = this.data, margin = Math.max(0, ...lines.map(l => l[4].length));
    const {svg, X, Y, rule} = this.axes(margin ? 10 + 7 * margin : 14, least);
    let free = Infinity;
    for (const [u, v, s, t, text] of lines) {
      rule(u, v, s, t, 'sum');
      if (t && Y(t) + 13 > free) continue;
      if (t) free = Y(t);
      this.add(svg, 'text', {x: X(s) + 4, y: Y(t) + (t ? 4 : -5)}, text);
    }
    return {svg, X, Y};
  }
}

class Frames extends Chart {  // explorer: a slider over frames, of which each may have an image
  build() {
    super.build();
    const {data, at, input, chart} = this;
    for (const [name, series, group] of data.legend) {
      const span = this.add(at('.key'), 'span'), g = this.colour(this.add(span, 'svg'), series);
      if (series >= 0) this.line(g, series, 'M0,7H26');
      if (group >= 0) this.mark(g, group, 13, 7, 4.5);
      span.append(name);
    }
    input.max = data.frames.length - 1;
    chart.onpointerdown = chart.onpointermove = e => {
      if (!(e.buttons & 1)) return;
      const {left, top} = chart.getBoundingClientRect();
      const far = ([x, y]) => Math.hypot(x - e.clientX + left, y - e.clientY + top);
      input.value = this.points.reduce((a, b) => far(b) < far(a) ? b : a)[2];
      input.focus({preventScroll: true});
      e.preventDefault();
      this.show();
    };
  }

  show() {
    const {data, at} = this, k = +this.input.value, frame = data.frames[k], img = at('img');
    this.tell(frame);
    img.style.display = 'none';
    if (frame.image)
      this.enlarge(img, frame.image, 'Images: ' + frame.label, at('.right').clientWidth);
    this.draw(k);
  }

  draw(k) {
    const {frames, colours} = this.data, {svg, X, Y, rule} = this.axes();
    rule(frames[k].x, 0, frames[k].x, 1, 'rule');
    this.points = [];
    colours.forEach((_, i) => {
      const g = this.colour(svg, i), lines = {};
      const all = frames.map((f, n) => [X(f.x), Y(f.y[i]), n, f.group]).filter(p => p[1] >= 0);
      for (const [x, y, , group] of all) (lines[group] ||= []).push(x + ',' + y);
      for (const group in lines) this.line(g, i, 'M' + lines[group].join('L'));
      all.sort((a, b) => (a[2] == k) - (b[2] == k));
      for (const [x, y, n, group] of all) {
        this.mark(g, group, x, y, n == k ? 6.5 : 4.5);
        if (n == k) this.mark(g, group, x, y, 11, 'ring');
      }
      this.points.push(...all);
    });
  }
}

class Curves extends Chart {  // curve_explorer: a handle to drag along one of several curves
  build() {
    super.build();
    const {data, at, input} = this, key = at('.key'), plot = at('.plot');
    this.grip = this.add(plot, 'div', {class: 'grip'});  // what a finger holds: no scrolling
    this.curve = 0;
    this.radios = data.curves.map(({name}, i) => {
      const label = this.add(key, 'label', {style: '--c:' + data.colours[i]});
      const radio = this.add(label, 'input', {type: 'radio', name: 'curve'});
      this.mark(this.colour(this.add(label, 'svg', {style: 'width:14px'}), i), i, 7, 7, 4.5);
      label.append(name);
      radio.onchange = () => this.choose(i);
      return radio;
    });
    key.setAttribute('role', 'radiogroup');
    key.setAttribute('aria-label', 'curve');
    this.signs(this.add(key, 'div', {class: 'key signs'}));
    this.add(at('.y'), 'span', {}, data.sum);
    this.images = this.add(at('.right'), 'div', {class: 'images'});
    at('img').replaceWith(this.images);
    input.onkeydown = e => {
      const step = {ArrowUp: -1, ArrowDown: 1}[e.key], n = this.radios.length;
      if (!step || e.altKey || e.ctrlKey || e.metaKey) return;
      e.preventDefault();
      this.choose((this.curve + n + step) % n);
    };
    plot.onpointerdown = e => {
      if (e.button) return;
      plot.setPointerCapture(e.pointerId);
      input.focus({preventScroll: true});
      e.preventDefault();
      const far = this.places.map((_, i) => this.near(i, e)[0]), least = Math.min(...far);
      if (e.target != this.grip && far[this.curve] > 8 && least < 20)
        this.choose(far.indexOf(least));
      this.drag(e);
    };
    plot.onpointermove = e => plot.hasPointerCapture(e.pointerId) && this.drag(e);
    plot.onlostpointercapture = () => this.show();
    input.max = data.curves[0].points.length - 1;
    input.value = data.curves[0].points.findIndex(p => p.mark);
    this.choose(0);
  }

  signs(to) {  // what solid, dashed and starred mean
    const points = this.data.curves.flatMap(c => c.points);
    const stars = new Set(points.filter(p => p.mark).map(p => p.label));
    if (points.some(p => p.also))
      for (const [text, kind] of [['test data', ''], ['training data', 'thin']])
        this.line(this.sign(to, text), 0, 'M0,7H26', kind);
    if (stars.size) this.mark(this.sign(to, [...stars].join(', ')), -1, 13, 7, 4);
  }

  choose(i) {  // another curve, at the same label where it has that
    const {input, curve, data: {curves}} = this, {points} = curves[i];
    const same = points.findIndex(p => p.label == curves[curve].points[input.value].label);
    const k = same < 0 ? input.value : same;
    this.curve = i;
    this.radios[i].checked = true;
    input.dir = points[0].x > points.at(-1).x ? 'rtl' : 'ltr';  // the slider goes as the chart
    input.max = points.length - 1;
    input.value = k;
    this.show();
  }

  near(i, e) {  // how far a curve is from the pointer, and which of its points, 2.5 being between
    const {left, top} = this.chart.getBoundingClientRect(), all = this.places[i];
    const x = e.clientX - left, y = e.clientY - top;
    return all.map(([a, b], n) => {
      const [c, d] = all[n + 1] || [a, b], [u, v] = [c - a, d - b];
      const t = Math.max(0, Math.min(1, ((x - a) * u + (y - b) * v) / (u * u + v * v) || 0));
      return [Math.hypot(a + t * u - x, b + t * v - y), n + t];
    }).reduce((a, b) => b[0] < a[0] ? b : a);
  }

  drag(e) {
    const [, place] = this.near(this.curve, e);
    this.input.value = Math.round(place);
    this.show(place);
  }

  show(place = +this.input.value) {
    const {name, points} = this.data.curves[this.curve], k = +this.input.value, p = points[k];
    this.tell({...p, label: `${name}, ${p.label}`});
    this.figures(p.images, `${name}, ${p.label}`);
    this.draw(k, place);
  }

  draw(k, place) {
    const {data: {curves}, curve} = this, {svg, X, Y} = this.plot();
    this.places = curves.map(c => c.points.map(p => [X(p.x), Y(p.y)]));
    for (const i of [...curves.keys()].sort((a, b) => (a == curve) - (b == curve))) {
      const g = this.colour(svg, i), at = this.places[i], {points} = curves[i];
      if (i != curve) g.setAttribute('class', 'faint');
      this.line(g, 0, 'M' + at.join('L'));
      at.forEach(([x, y], n) => this.mark(g, points[n].mark ? -1 : i, x, y, 4.5));
      if (i != curve) continue;
      const also = points.map(p => p.also && [X(p.also[0]), Y(p.also[1])]);
      if (also.some(p => p)) this.line(g, 0, 'M' + also.filter(p => p).join('L'), 'thin');
      if (also[k]) {
        this.mark(g, i, ...also[k], 4.5);
        this.line(g, 0, `M${at[k]}L${also[k]}`, 'thin');
      }
      const n = Math.floor(place), [x, y] = at[n].map((a, j) =>
        a + (place - n) * ((at[n + 1] || at[n])[j] - a));
      this.mark(g, points[k].mark ? -1 : i, ...at[k], 6.5);
      this.mark(g, 0, x, y, 11, 'ring');
      this.grip.style = `left:${x}px;top:${y}px`;
    }
  }
}

class Grid extends Chart {  // grid_explorer: a grid of models, and the plane of their rates
  build() {
    super.build();
    const {data, at} = this, {rows, columns, cells, metrics} = data, key = at('.key');
    this.high = rows[1].length - 1;
    this.wide = columns[1].length - 1;
    this.where = Object.fromEntries(cells.map((c, k) => [[c.r, c.c], k]));
    const first = cells.find(c => c.mark) || cells[metrics[0].best];
    this.pin = [first.r, first.c];
    this.metric = 0;
    at('.both').before(key);
    this.add(at('.y'), 'span', {}, data.lines.length ? 'sum' : '');
    this.input.remove();
    const panel = this.add(at('.both'), 'div', {class: 'left'});
    at('.both').prepend(panel);
    this.add(panel, 'div', {}, rows[0]);
    this.input = this.add(panel, 'div', {class: 'pad', tabindex: 0, role: 'application',
      'aria-roledescription': 'grid of models, arrow keys move'});
    this.table = this.add(this.input, 'svg', {class: 'chart', 'aria-hidden': true});
    this.add(panel, 'div', {class: 'x'}, columns[0]);
    this.live = this.add(panel, 'div', {class: 'live', 'aria-live': 'polite'});
    this.images = this.add(at('.right'), 'div', {class: 'images'});
    at('img').replaceWith(this.images);
    this.legend(this.add(key, 'div', {class: 'key tight', role: 'radiogroup',
      'aria-label': 'colour'}), this.add(key, 'div', {class: 'bar'}));
    for (const [svg, find] of [[this.table, e => this.cell(e)], [this.chart, e => this.near(e)]]) {
      const look = place => {
        if ('' + place == '' + this.over) return;
        this.over = place;
        this.show();
      };
      svg.onpointermove = e => look(find(e));
      svg.onpointerleave = () => look(null);
      svg.onclick = e => this.choose(find(e) || this.pin);
    }
    this.input.onkeydown = e => {
      const {pin: [r, c], high, wide} = this;
      const to = {ArrowUp: [r + 1, c], ArrowDown: [r - 1, c], ArrowLeft: [r, c - 1],
        ArrowRight: [r, c + 1], Home: [r, 0], End: [r, wide], PageUp: [high, c],
        PageDown: [0, c], Enter: this.over || this.pin}[e.key];
      if (!to || e.altKey || e.ctrlKey || e.metaKey) return;
      e.preventDefault();
      this.choose([Math.max(0, Math.min(high, to[0])), Math.max(0, Math.min(wide, to[1]))]);
      this.live.textContent = this.input.getAttribute('aria-label');
    };
  }

  legend(to, bar) {
    const {rows, columns, metrics, cells} = this.data;
    this.signs = metrics.map(({name}, i) => {
      const label = this.add(to, 'label');
      const radio = this.add(label, 'input', {type: 'radio', name: 'metric'});
      radio.checked = !i;
      radio.onchange = () => { this.metric = i; this.show(); };
      const g = this.add(this.add(label, 'svg'), 'g');
      this.mark(g, i, 7, 7, 4.5);
      label.append(name);
      return g;
    });
    this.ends = ['span', 'i', 'span'].map(tag => this.add(bar, tag));
    this.ends[1].style.background = `linear-gradient(90deg,${STOPS.map(c => `rgb(${c})`)})`;
    this.add(bar, 'span', {}, 'signs: best of each');
    this.trail(this.sign(bar, `${rows[0]} = ${columns[0]}`), [[0, 7], [26, 7]]);
    const own = new Set(cells.map(c => c.mark).filter(t => t));
    if (own.size)
      this.mark(this.add(this.sign(bar, [...own].join(', ')), 'g', {class: 'sign'}), -1, 13, 7, 4);
    if (cells.some(c => c.failed)) this.cross(this.sign(bar, 'failed'), 13, 7, 5);
  }

  choose(place) {
    this.pin = place;
    this.over = null;
    this.input.focus({preventScroll: true});
    this.show();
  }

  cell(e) {  // row and column under the pointer
    const {left, top} = this.table.getBoundingClientRect(), {frame: {x, side}, high, wide} = this;
    const r = high - Math.floor((e.clientY - top) / side);
    const c = Math.floor((e.clientX - left - x) / side);
    return r < 0 || c < 0 || c > wide || r > high ? null : [r, c];
  }

  near(e) {  // row and column of the nearest point in the plane
    const {left, top} = this.chart.getBoundingClientRect();
    const far = ([x, y]) => Math.hypot(x - e.clientX + left, y - e.clientY + top);
    const best = this.points.reduce((a, b) => far(b) < far(a) ? b : a);
    return far(best) < 30 ? best[2] : null;
  }

  show() {
    const {data: {rows, columns, cells, metrics}, metric} = this, [r, c] = this.over || this.pin;
    const none = `${rows[0]} = ${rows[1][r]}, ${columns[0]} = ${columns[1][c]}: no model`;
    const cell = cells[this.where[[r, c]]] || {label: none, said: none, told: [], images: []};
    this.tell(cell);
    this.input.setAttribute('aria-label', cell.said);
    this.ends[0].textContent = metrics[metric].low;
    this.ends[2].textContent = metrics[metric].high;
    this.signs.forEach((g, i) => g.setAttribute('class', i == metric ? 'sign now' : 'sign'));
    this.figures(cell.images, cell.label, Math.max(96, ...cell.images.map(
      ([, n]) => 2 * this.data.images[n].width / devicePixelRatio)));
    const places = [[[r, c], 'chosen'], [this.over && this.pin, 'held']];
    this.squares(places);
    this.plane(places);
  }

  squares(places) {
    const {table: svg, data: {rows: [, rows], columns: [, columns], cells, diagonal}} = this;
    const x = 10 + 7 * Math.max(...rows.map(t => t.length)), foot = this.high + 1;
    const side = Math.min(64, Math.floor((svg.clientWidth - x - 2) / columns.length));
    const X = c => x + (c + .5) * side, Y = r => (this.high + .5 - r) * side;
    this.frame = {x, side, high: foot * side + 24};
    svg.textContent = '';
    svg.style.height = this.frame.high + 'px';
    const skip = room => Math.ceil(room / side), box = (r, c, less, given) => this.add(svg, 'rect',
      {x: X(c) - side / 2 + less, y: Y(r) - side / 2 + less, width: side - 2 * less,
        height: side - 2 * less, rx: 2, ...given});
    const every = skip(8 + 7 * Math.max(...columns.map(t => t.length)));
    columns.forEach((t, c) => c % every ||
      this.add(svg, 'text', {x: X(c), y: foot * side + 17, 'text-anchor': 'middle'}, t));
    rows.forEach((t, r) => {
      if (r % skip(16) == 0)
        this.add(svg, 'text', {x: x - 6, y: Y(r) + 4, 'text-anchor': 'end'}, t);
      columns.forEach((_, c) => {
        const cell = cells[this.where[[r, c]]], text = cell ? cell.short[this.metric] : '';
        box(r, c, 1, this.ink(cell));
        if (cell && cell.failed) this.cross(svg, X(c), Y(r), Math.min(7, side / 4));
        if (text && side > 40 && 7 * text.length < side) this.add(svg, 'text', {x: X(c),
          y: Y(r) + side / 2 - 5, 'text-anchor': 'middle',
          style: `fill:${cell.v[this.metric] > .44 ? '#000' : '#fff'}`}, text);
      });
    });
    this.trail(svg, diagonal.map(k => [X(cells[k].c), Y(cells[k].r)]));
    this.stars(svg, ({r, c}) => [X(c), Y(r)], side > 40 ? 5 : 4);
    for (const [place, kind] of places) if (place) box(...place, 0, {class: kind});
  }

  plane(places) {
    const {data: {cells, diagonal}} = this, {svg, X, Y} = this.plot(this.frame.high);
    const at = c => c.failed ? [] : [X(c.x), Y(c.y)], all = cells.filter(c => !c.failed);
    const r = Math.max(3, Math.min(6, 66 / Math.sqrt(all.length)));
    this.points = all.map(c => [...at(c), [c.r, c.c]]);
    all.forEach((c, n) => this.add(svg, 'circle',
      {cx: this.points[n][0], cy: this.points[n][1], r, ...this.ink(c)}));
    this.trail(svg, diagonal.map(k => at(cells[k])));
    this.stars(svg, at, 5);
    for (const [place, kind] of places) for (const [cx, cy, own] of this.points)
      if (own + '' == place) this.add(svg, 'circle', {cx, cy, r: 11, class: kind});
  }

  ink(cell) {  // the colour of a cell, empty where it has no value
    const u = cell && cell.v[this.metric];
    return {fill: u == null ? 'none' : shade(u), class: cell ? 'cell' : 'cell hole'};
  }

  cross(svg, x, y, r) {
    this.line(svg, 0, `M${x - r},${y - r}l${2 * r},${2 * r}m0,${-2 * r}l${-2 * r},${2 * r}`);
  }

  trail(svg, at) {
    if (at.length > 1)
      for (const kind of ['case', 'trail']) this.line(svg, 0, 'M' + at.join('L'), kind);
  }

  stars(svg, at, r) {  // the best cell of each metric, and the marked; those of one side by side
    const {data: {cells, metrics}, metric} = this, taken = {};
    const all = metrics.map(({best}, i) => [best, i]);
    cells.forEach((c, k) => c.mark && all.push([k, -1]));
    for (const [k, i] of all) {
      const n = taken[k] = (taken[k] || 0) + 1, [x, y] = at(cells[k]);
      const most = all.filter(([other]) => other == k).length;
      const kind = i < 0 ? '' : i == metric ? ' best now' : ' best';
      if (x >= 0) this.mark(this.add(svg, 'g', {class: 'sign' + kind}), i,
        x + (n - (most + 1) / 2) * 2.4 * r, y, i < 0 ? r - 1 : r);
    }
  }
}

class Points extends Chart {  // points_explorer: clouds that move, a panel a model
  build() {
    super.build();
    const {data, at, input} = this, both = at('.both'), last = data.at.length - 1;
    const bar = this.add(both, 'div', {class: 'run'});
    both.before(at('.key'));
    this.button = this.add(bar, 'button', {type: 'button'});
    this.icon = this.add(this.add(this.button, 'svg', {width: 14, height: 14,
      'aria-hidden': true}), 'path');
    this.verb = this.add(this.button, 'span');
    const most = Math.max(...data.at.map(([, text]) => text.length));
    this.when = this.add(bar, 'span', {style: `min-width:${most + 15}ch`});
    bar.append(input);
    for (const name of ['.left', '.right']) at(name).remove();
    this.live = this.add(bar, 'div', {class: 'live', 'aria-live': 'polite'});
    this.panels = data.panels.map((p, i) => this.panel(both, p, i));
    this.pin = data.first;
    this.over = -1;
    this.legend(at('.key'));
    input.max = input.value = this.place = this.shown = last;
    input.oninput = () => { this.playing = false; this.go(+input.value); };
    this.button.onclick = () => this.toggle();
    both.onkeydown = e => {
      const step = {n: 1, p: -1}[e.key], n = this.count;
      if (e.altKey || e.ctrlKey || e.metaKey) return;
      if (e.key == ' ' && e.target != this.button) e.repeat || this.toggle();
      else if (step) this.choose((Math.max(this.pin, step < 0 ? 0 : -1) + step + n) % n);
      else if (e.key == 'Escape' && this.pin >= 0) this.choose(-1);
      else return;
      e.preventDefault();
    };
    this.words();
    this.show();
  }

  panel(to, {name, frames}, i) {
    const {data} = this, div = this.add(to, 'div', {class: 'panel', role: 'group',
      'aria-label': name});
    const head = this.add(div, 'b', {class: 'key'}, data.member ? name : '');
    if (!data.member) this.mark(this.cloud(this.sign(head, name), i), 0, 13, 7, 4);
    const label = this.add(div, 'div');
    this.add(div, 'div', {}, data.y);
    const svg = this.add(div, 'svg', {class: 'chart', 'aria-hidden': true});
    this.add(div, 'div', {class: 'x'}, data.x);
    const p = {name, i, frames, label, svg, values: this.add(div, 'dl', {class: 'values'}),
      clouds: frames.map(f => this.unpack(f.points)),
      last: data.at.map(([at]) => frames.filter(f => f.at <= at).length - 1)};
    svg.onpointermove = e => this.look(this.near(p, e));
    svg.onpointerleave = () => this.look(-1);
    svg.onclick = e => {
      this.over = -1;
      this.choose(this.near(p, e));
      this.input.focus({preventScroll: true});
    };
    return p;
  }

  unpack(text) {  // [-1, 1] for the axis, farther out for what lies beyond it
    const s = atob(text), c = i => s.charCodeAt(i), all = new Float32Array(s.length / 3 * 2);
    this.count = s.length / 3;
    for (let i = 0; i < this.count; i++) {
      all[2 * i] = ((c(3 * i) << 4 | c(3 * i + 1) >> 4) - 2047) / 2046;
      all[2 * i + 1] = (((c(3 * i + 1) & 15) << 8 | c(3 * i + 2)) - 2047) / 2046;
    }
    return all;
  }

  legend(to) {
    const {groups, panels, beyond} = this.data;
    groups.forEach((name, k) =>
      this.mark(this.cloud(this.sign(to, name), panels.length + k), k, 13, 7, 4));
    const svg = this.sign(to, 'a chosen point and its path');
    this.add(svg, 'path', {d: 'M1,12 8,11 19,7', class: 'line path'});
    this.add(svg, 'path', {d: 'M1,12h0M8,11h0M19,7h0', class: 'line dots'});
    this.mark(svg, 0, 19, 7, 5.5, 'ring');
    if (beyond)
      this.mark(this.add(this.sign(to, 'beyond the axes'), 'g', {class: 'cloud'}), 0, 13, 7, 4,
        'beyond');
  }

  cloud(to, i) {
    const g = this.colour(to, i);
    g.setAttribute('class', 'cloud');
    return g;
  }

  go(k) {
    this.input.value = k;
    this.speed = 6 * Math.max(1, Math.abs(k - this.place));  // there in a sixth of a second
    this.words();
    this.wake();
  }

  toggle() {
    const {input} = this;
    this.playing = !this.playing;
    if (this.playing && input.value == input.max) input.value = this.place = 0;
    this.speed = 6;
    this.words();
    this.wake();
  }

  wake(then = performance.now()) {
    this.loop ||= requestAnimationFrame(now => this.tick(now - then, now));
  }

  tick(passed, now) {
    const {input, playing} = this, goal = +(playing ? input.max : input.value);
    const still = matchMedia('(prefers-reduced-motion:reduce)').matches;
    const far = goal - this.place, step = this.speed * Math.max(0, Math.min(passed, 250)) / 1000;
    this.loop = 0;
    this.place = Math.abs(far) <= step || still && !playing ? goal :
      this.place + Math.sign(far) * step;
    const k = still ? Math.floor(this.place) : Math.ceil(this.place);
    this.playing = playing && this.place < goal;
    if (playing) {
      const moved = k != input.value || !this.playing;
      input.value = k;
      if (moved) this.words();
    }
    this.draw(still ? k : this.place);
    if (this.place != goal && this.isConnected) this.wake(now);
  }

  choose(i) {
    this.pin = i;
    this.words();
    this.draw();
  }

  look(i) {
    if (i == this.over) return;
    this.over = i;
    this.words();
    this.draw();
  }

  words() {  // all that is told of the frame, but not read aloud while it plays
    const {data, input, playing, count} = this, k = +input.value, said = [];
    const i = this.over < 0 ? this.pin : this.over, when = `${data.at[k][1]} decoder updates`;
    const text = u => (Math.abs(u) > 1 ? u < 0 ? '< ' : '> ' : '') +
      (Math.max(-1, Math.min(1, u)) * data.half).toFixed(2)
        .replace(/^-0.00$/, '0.00').replace('-', '\u2212');
    for (const {name, frames, clouds, last, label, values} of this.panels) {
      const frame = frames[last[k]], all = clouds[last[k]];
      const told = frame ? [...frame.told] : [], group = data.groups[data.member[i]];
      label.textContent = frame ? frame.label : 'not yet begun';
      told.push(i < 0 || !frame ? ['point', 'none chosen'] : [`point ${i + 1} of ${count}` +
        (group ? `, ${group}` : ''), `(${text(all[2 * i])}, ${text(all[2 * i + 1])})`]);
      values.textContent = '';
      told.forEach(([name, text], n) => {
        const div = this.add(values, 'div', {class: n == told.length - 1 ? 'wide' : ''});
        this.add(div, 'dt', {}, name);
        this.add(div, 'dd', {}, text);
      });
      said.push(`${name}: ${label.textContent}, ` + told.map(pair => pair.join(' ')).join(', '));
    }
    this.when.textContent = when;
    this.verb.textContent = playing ? 'Pause' : 'Play';
    this.icon.setAttribute('d', playing ? 'M2,1h4v12H2zM8,1h4v12H8z' : 'M2,1 13,7 2,13z');
    input.setAttribute('aria-valuetext', when);
    if (!playing && this.over < 0) this.live.textContent = `${when}. ${said.join('. ')}.`;
  }

  show() {  // the parts that stay, and empty ones for those that move
    const {data: {groups, panels, xticks}} = this;
    const left = 14 + 7 * Math.max(...xticks.map(t => t[1].length));
    for (const p of this.panels) {
      this.chart = p.svg;
      const {svg, X, Y, rule} = this.axes(38, p.svg.clientWidth - left - 6);  // a square
      rule(.5, 0, .5, 1, 'zero');
      rule(0, .5, 1, .5, 'zero');
      rule(0, 0, 1, 1, 'diagonal');
      this.add(svg, 'text', {x: X(1) + 6, y: Y(1) + 5}, 'y = x');
      const part = (to, kind = '') => this.add(to, 'path', {class: kind});
      p.at = [X, Y];
      p.all = this.add(svg, 'g');
      p.parts = (groups.length ? groups : [0]).map((_, k) => {
        const g = this.cloud(p.all, groups.length ? panels.length + k : p.i);
        g.setAttribute('transform', `scale(${R})`);
        return [part(g), part(g, 'beyond')];
      });
      p.path = [part(svg, 'line path'), part(svg, 'line dots'), part(svg, 'line ring')];
    }
    this.draw();
  }

  draw(place = this.shown) {
    const {data: {member}, pin, over, count} = this, k = Math.floor(place), t = place - k;
    const i = over < 0 ? pin : over;
    this.shown = place;
    for (const p of this.panels) {
      const {clouds, last, at: [X, Y]} = p, a = last[k], b = last[Math.ceil(place)];
      const from = clouds[a], to = clouds[b], near = t < .5 ? from : to;
      const d = p.parts.map(() => ['', '']), now = p.now = new Float32Array(from ? 2 * count : 0);
      const mix = from && from.map((u, j) => u + t * (to[j] - u));
      for (let j = 0; from && j < count; j++) {
        const x = now[2 * j] = X((mix[2 * j] + 1) / 2);
        const y = now[2 * j + 1] = Y((mix[2 * j + 1] + 1) / 2), g = member[j] || 0;
        const out = +(Math.max(Math.abs(near[2 * j]), Math.abs(near[2 * j + 1])) > 1);
        d[g][out] += `M${(x / R).toFixed(2)},${(y / R).toFixed(2)}${SHAPES[g]}`;
      }
      p.parts.forEach((pair, g) => pair.forEach((e, out) => e.setAttribute('d', d[g][out])));
      p.all.setAttribute('class', i < 0 ? '' : 'dim');
      const been = i < 0 || !from ? [] : clouds.slice(0, a + 1).map(u =>
        `${X((u[2 * i] + 1) / 2).toFixed(1)},${Y((u[2 * i + 1] + 1) / 2).toFixed(1)}`);
      if (been.length) been.push([...now.slice(2 * i, 2 * i + 2)].map(u => u.toFixed(1)));
      const end = been.at(-1), ring = end && `M${end}m-7,0a7,7 0 1,0 14,0a7,7 0 1,0-14,0z`;
      [end && 'M' + been.join('L'), been.map(u => `M${u}h0`).join(''), ring].forEach((d, n) =>
        p.path[n].setAttribute('d', d || ''));
    }
  }

  near({now}, e) {  // the point under the pointer, -1 for none
    const {left, top} = e.currentTarget.getBoundingClientRect();
    let best = -1, least = 18;
    for (let i = 0; i < now.length / 2; i++) {
      const far = Math.hypot(now[2 * i] - e.clientX + left, now[2 * i + 1] - e.clientY + top);
      if (far < least) [best, least] = [i, far];
    }
    return best;
  }
}

for (const [name, made] of [['vae-explorer', Frames], ['vae-curves', Curves], ['vae-grid', Grid],
  ['vae-points', Points]])
  customElements.get(name) || customElements.define(name, made);
})();
