(() => {
const SHADES = [0, .25, .5, .75, 1];  // where the colours stand, dark to light
const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const shade = u => {
  const k = Math.min(3, Math.floor(4 * u)), mix = (a, i) => a + (4 * u - k) * (STOPS[k + 1][i] - a);
  return `rgb(${STOPS[k].map((a, i) => Math.round(mix(a, i)))})`;
};

class Chart extends HTMLElement {  // what both elements share
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
    const d = ['M-1,0a1,1 0 1,0 2,0a1,1 0 1,0-2,0z', 'M0-1.35 1.35,0 0,1.35-1.35,0z',
      'M0-1.3 1.25,.9H-1.25z', 'M-1-1H1V1H-1z', 'M0,1.3 1.25-.9H-1.25z'][group % 5] ||
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
.pad svg{touch-action:none}
.cell{stroke:currentColor;stroke-opacity:.45}
.hole{stroke-dasharray:2 4}
.chosen{fill:none;stroke:currentColor;stroke-width:3}
.trail{stroke:#d55e00;stroke-width:1.5}
.best path{fill:#fff;stroke:#000;stroke-width:1.2;vector-effect:non-scaling-stroke}
.now path{fill:#ff9d5c}
.bar{display:flex;align-items:center;gap:.5em;margin-top:.4em}
.bar span{white-space:nowrap}
.bar .say{white-space:normal}
.bar i{width:120px;height:10px;border-radius:3px}
.say{margin-left:1em}
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

  axes(right = 14) {
    const svg = this.chart, {xticks, yticks} = this.data;
    const wide = svg.clientWidth, high = Math.max(210, Math.min(330, wide * .6));
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
    const sign = text => {
      const span = this.add(to, 'span'), svg = this.add(span, 'svg');
      span.append(text);
      return svg;
    };
    if (points.some(p => p.also))
      for (const [text, kind] of [['test data', ''], ['training data', 'thin']])
        this.line(sign(text), 0, 'M0,7H26', kind);
    if (stars.size) this.mark(sign([...stars].join(', ')), -1, 13, 7, 4);
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
    const {clientWidth: wide} = this.at('.right'), {images} = this;
    const cols = Math.max(1, Math.min(p.images.length, Math.floor((wide + 10) / 106)));
    while (images.childElementCount > p.images.length) images.lastChild.remove();
    p.images.forEach(([caption, n], i) => {
      const figure = images.children[i] || this.add(images, 'figure');
      if (!figure.firstChild) figure.append(new Image(), document.createElement('figcaption'));
      const [img, text] = figure.children, room = (wide + 10) / cols - 10;
      figure.style.width = Math.floor(room) + 'px';
      this.enlarge(img, this.data.images[n], `${caption}: ${name}, ${p.label}`, room);
      text.textContent = caption;
    });
    this.draw(k, place);
  }

  draw(k, place) {
    const {data: {curves, lines}, curve} = this;
    const margin = Math.max(0, ...lines.map(l => l[4].length));
    const {svg, X, Y, rule} = this.axes(margin ? 10 + 7 * margin : 14);
    let free = Infinity;
    for (const [u, v, s, t, text] of lines) {  // their sums where they leave the chart
      rule(u, v, s, t, 'sum');
      if (t && Y(t) + 13 > free) continue;
      if (t) free = Y(t);
      this.add(svg, 'text', {x: X(s) + 4, y: Y(t) + (t ? 4 : -5)}, text);
    }
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
    const {data, at} = this, key = at('.key'), both = at('.both'), [left] = both.children;
    both.before(key);
    this.input.remove();
    const panel = this.add(both, 'div', {class: 'left'});
    both.prepend(panel);
    this.add(panel, 'div', {class: 'y'}).append(data.rows[0]);
    this.input = this.add(panel, 'div', {class: 'pad', tabindex: 0, role: 'application'});
    this.input.setAttribute('aria-roledescription', 'grid of models, arrow keys move');
    this.table = this.add(this.input, 'svg', {class: 'chart', 'aria-hidden': true});
    this.add(panel, 'div', {class: 'x'}, data.columns[0]);
    this.add(left, 'span', {});
    this.add(at('.y:not(.pad)'), 'span', {});
    left.querySelector('.y').replaceChildren(data.y);
    this.live = this.add(both, 'div', {class: 'live', 'aria-live': 'polite'});
    this.images = this.add(at('.right'), 'div', {class: 'images'});
    at('img').replaceWith(this.images);
    this.where = {};
    data.cells.forEach((c, k) => this.where[[c.r, c.c]] = k);
    this.metric = 0;
    this.pin = [0, 0];
    const first = data.cells.find(c => c.mark) || data.cells[data.metrics[0].best];
    this.pin = [first.r, first.c];
    key.setAttribute('role', 'radiogroup');
    key.setAttribute('aria-label', 'colour');
    data.metrics.forEach(({name}, i) => {
      const label = this.add(key, 'label');
      const radio = this.add(label, 'input', {type: 'radio', name: 'metric'});
      radio.checked = !i;
      radio.onchange = () => { this.metric = i; this.show(); };
      this.mark(this.add(this.add(label, 'svg'), 'g', {class: 'best'}), i, 13, 7, 5);
      label.append(name);
    });
    const bar = this.add(key, 'div', {class: 'bar'});
    this.ends = [this.add(bar, 'span'), this.add(bar, 'i'), this.add(bar, 'span')];
    this.ends[1].style.background = `linear-gradient(90deg,${SHADES.map(shade)})`;
    const back = this.add(bar, 'span', {class: 'say'}, 'signs: the best of each');
    back.append('; line: equal weights');
    for (const [svg, find] of [[this.table, e => this.cell(e)], [this.chart, e => this.near(e)]]) {
      svg.onpointermove = e => { this.over = find(e); this.show(); };
      svg.onpointerleave = () => { this.over = null; this.show(); };
      svg.onpointerdown = e => {
        this.pin = find(e) || this.pin;
        this.input.focus({preventScroll: true});
        e.preventDefault();
        this.show();
      };
    }
    this.input.onkeydown = e => {
      const [r, c] = this.pin, high = data.rows[1].length - 1, wide = data.columns[1].length - 1;
      const to = {ArrowUp: [r + 1, c], ArrowDown: [r - 1, c], ArrowLeft: [r, c - 1],
        ArrowRight: [r, c + 1], Home: [r, 0], End: [r, wide], PageUp: [high, c],
        PageDown: [0, c]}[e.key];
      if (!to || e.altKey || e.ctrlKey || e.metaKey) return;
      e.preventDefault();
      this.over = null;
      this.pin = [Math.max(0, Math.min(high, to[0])), Math.max(0, Math.min(wide, to[1]))];
      this.show();
      this.live.textContent = this.input.getAttribute('aria-label');
    };
  }

  cell(e) {  // row and column under the pointer
    const {left, top} = this.table.getBoundingClientRect(), {x, side} = this.frame;
    const r = this.data.rows[1].length - 1 - Math.floor((e.clientY - top) / side);
    const c = Math.floor((e.clientX - left - x) / side);
    return r < 0 || c < 0 || c >= this.data.columns[1].length ||
      r >= this.data.rows[1].length ? null : [r, c];
  }

  near(e) {  // row and column of the nearest point in the plane
    const {left, top} = this.chart.getBoundingClientRect();
    const far = ([x, y]) => Math.hypot(x - e.clientX + left, y - e.clientY + top);
    const best = this.points.reduce((a, b) => far(b) < far(a) ? b : a);
    return far(best) < 30 ? best[2] : null;
  }

  show() {
    const {data, metric} = this, place = this.over || this.pin, k = this.where[place];
    const none = `${data.rows[0]} = ${data.rows[1][place[0]]}, ` +
      `${data.columns[0]} = ${data.columns[1][place[1]]}: no model`;
    const cell = data.cells[k] || {label: none, said: none, told: [], images: []};
    this.tell(cell);
    this.input.setAttribute('aria-label', cell.said);
    const {low, high} = data.metrics[metric];
    this.ends[0].textContent = low;
    this.ends[2].textContent = high;
    this.images.replaceChildren();
    for (const [caption, n] of cell.images) {
      const figure = this.add(this.images, 'figure'), img = this.add(figure, 'img');
      this.enlarge(img, data.images[n], `${caption}: ${cell.label}`, this.images.clientWidth);
      this.add(figure, 'figcaption', {}, caption);
    }
    this.squares(place);
    this.plane(place);
  }

  squares(place) {
    const svg = this.table, {data, metric} = this, [, rows] = data.rows, [, columns] = data.columns;
    const x = 10 + 7 * Math.max(...rows.map(t => t.length));
    const side = Math.min(64, Math.floor((svg.clientWidth - x - 2) / columns.length));
    this.frame = {x, side};
    svg.textContent = '';
    svg.style.height = rows.length * side + 24 + 'px';
    const X = c => x + (c + .5) * side, Y = r => (rows.length - .5 - r) * side;
    const every = (all, room) => Math.ceil(room / side);
    const skip = every(columns, 8 + 7 * Math.max(...columns.map(t => t.length)));
    columns.forEach((t, c) => c % skip ||
      this.add(svg, 'text', {x: X(c), y: rows.length * side + 17, 'text-anchor': 'middle'}, t));
    rows.forEach((t, r) => r % every(rows, 16) ||
      this.add(svg, 'text', {x: x - 6, y: Y(r) + 4, 'text-anchor': 'end'}, t));
    for (let r = 0; r < rows.length; r++) for (let c = 0; c < columns.length; c++) {
      const cell = data.cells[this.where[[r, c]]], u = cell && cell.v[metric];
      const fill = u == null ? 'none' : shade(u);
      this.add(svg, 'rect', {x: X(c) - side / 2 + 1, y: Y(r) - side / 2 + 1, width: side - 2,
        height: side - 2, rx: 2, fill, class: cell ? 'cell' : 'cell hole'});
      if (cell && cell.failed) this.add(svg, 'path', {class: 'line',
        d: `M${X(c) - 7},${Y(r) - 7}l14,14m0,-14l-14,14`});
      if (u != null && side > 40) this.add(svg, 'text', {x: X(c), y: Y(r) + side / 2 - 5,
        'text-anchor': 'middle', style: `fill:${u > .55 ? '#000' : '#fff'}`}, cell.short[metric]);
      if (cell && cell.mark && side > 40) this.add(svg, 'text', {x: X(c), 'text-anchor': 'middle',
        y: Y(r) - side / 2 + 14, style: `fill:${u > .55 ? '#000' : '#fff'}`}, cell.mark);
    }
    this.trail(svg, data.diagonal.map(k => [X(data.cells[k].c), Y(data.cells[k].r)]));
    this.stars(svg, k => [X(data.cells[k].c), Y(data.cells[k].r) - 1], side > 40 ? 5 : 4);
    this.add(svg, 'rect', {x: X(place[1]) - side / 2, y: Y(place[0]) - side / 2, width: side,
      height: side, rx: 3, class: 'chosen'});
  }

  plane(place) {
    const {data: {lines, cells, diagonal}, metric} = this;
    const {svg, X, Y, rule} = this.axes(10 + 7 * Math.max(0, ...lines.map(l => l[4].length)));
    let free = Infinity;
    for (const [u, v, s, t, text] of lines) {
      rule(u, v, s, t, 'sum');
      if (t && Y(t) + 13 > free) continue;
      if (t) free = Y(t);
      this.add(svg, 'text', {x: X(s) + 4, y: Y(t) + (t ? 4 : -5)}, text);
    }
    this.trail(svg, diagonal.map(k => [X(cells[k].x), Y(cells[k].y)]));
    this.points = cells.filter(c => !c.failed).map(c => [X(c.x), Y(c.y), [c.r, c.c], c]);
    for (const [x, y, , c] of this.points) {
      const u = c.v[metric];
      this.add(svg, 'circle', {cx: x, cy: y, r: 6, class: 'cell', fill: u == null ? 'none' :
        shade(u)});
      if (c.mark) this.add(svg, 'text', {x: x + 9, y: y - 7}, c.mark);
    }
    this.stars(svg, k => [X(cells[k].x), Y(cells[k].y)], 5);
    for (const [x, y, at] of this.points)
      if (at + '' == place + '') this.add(svg, 'circle', {cx: x, cy: y, r: 11, class: 'chosen'});
  }

  trail(svg, at) {
    if (at.length > 1) this.add(svg, 'path', {d: 'M' + at.join('L'), class: 'line trail'});
  }

  stars(svg, at, r) {  // the best cell of each metric; those of one cell side by side
    const taken = {};
    this.data.metrics.forEach(({best}, i) => {
      const n = taken[best] = (taken[best] || 0) + 1, [x, y] = at(best);
      const all = this.data.metrics.filter(m => m.best == best).length;
      const g = this.add(svg, 'g', {class: i == this.metric ? 'best now' : 'best'});
      this.mark(g, i, x + (n - (all + 1) / 2) * 2.4 * r, y, r);
    });
  }
}

for (const [name, made] of [['vae-explorer', Frames], ['vae-curves', Curves], ['vae-grid', Grid]])
  customElements.get(name) || customElements.define(name, made);
})();
