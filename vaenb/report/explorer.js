(() => {
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

for (const [name, made] of [['vae-explorer', Frames], ['vae-curves', Curves]])
  customElements.get(name) || customElements.define(name, made);
})();
