(() => {
const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const shade = u => {  // 0 dark, 1 light
  const k = Math.min(3, Math.floor(4 * u)), t = 4 * u - k;
  return `rgb(${STOPS[k].map((a, i) => Math.round(a + t * (STOPS[k + 1][i] - a)))})`;
};

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

for (const [name, made] of [['vae-explorer', Frames], ['vae-curves', Curves], ['vae-grid', Grid]])
  customElements.get(name) || customElements.define(name, made);
})();
