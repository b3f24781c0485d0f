customElements.get('vae-explorer') || customElements.define('vae-explorer',
class extends HTMLElement {
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

  line(to, i, d) {
    this.add(to, 'path', {d, class: 'line', 'stroke-dasharray': ['', '7 4', '2 4'][i % 3]});
  }

  mark(to, group, x, y, r, kind = '') {
    const d = ['M-1,0a1,1 0 1,0 2,0a1,1 0 1,0-2,0z', 'M0-1.35 1.35,0 0,1.35-1.35,0z',
      'M0-1.3 1.25,.9H-1.25z', 'M-1-1H1V1H-1z', 'M0,1.3 1.25-.9H-1.25z'][group % 5];
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
.key span{display:inline-block;margin-right:1.2em}
.key svg{width:26px;height:14px;vertical-align:-2px;margin-right:.4em}
.x{text-align:center}
.note{margin:.8em 0 .3em}
.chart{display:block;width:100%;overflow:visible;cursor:pointer;touch-action:pan-y}
text{fill:currentColor;font-size:12px}
line{stroke:currentColor;opacity:.15}
.rule{opacity:.6}
path{fill:currentColor}
g{color:color-mix(in srgb,var(--c) 70%,currentColor)}
.line,.ring{fill:none;stroke:currentColor;stroke-width:2;vector-effect:non-scaling-stroke}
input{appearance:none;width:100%;height:30px;margin:.4em 0 0;color:inherit;cursor:pointer;
background:linear-gradient(currentColor,currentColor) center/100% 2px no-repeat}
::-webkit-slider-thumb{appearance:none;${knob}
::-moz-range-thumb{${knob}
:focus-visible{outline:2px solid}
img{display:block;max-width:100%;height:auto;margin-bottom:.7em}
dl{display:grid;grid-template-columns:auto 1fr;gap:.15em 1.2em;margin:0}
dd{margin:0}
</style><b class="title"></b><div class="both"><div class="left"><div class="key"></div>
<div class="y"></div><svg class="chart" aria-hidden="true"></svg><div class="x"></div>
<input type="range" min="0" value="0"></div><div class="right"><b class="label"></b><img>
<dl></dl></div></div><div class="note"></div><slot></slot>`;
    for (const name of ['title', 'x', 'y', 'note']) at('.' + name).textContent = data[name];
    for (const [name, series, group] of data.legend) {
      const span = this.add(at('.key'), 'span'), g = this.colour(this.add(span, 'svg'), series);
      if (series >= 0) this.line(g, series, 'M0,7H26');
      if (group >= 0) this.mark(g, group, 13, 7, 4.5);
      span.append(name);
    }
    const input = at('input'), chart = at('.chart');
    input.max = data.frames.length - 1;
    input.setAttribute('aria-label', data.title || data.x);
    input.oninput = () => this.show();
    chart.onpointerdown = chart.onpointermove = e => {
      if (!(e.buttons & 1)) return;
      const {left, top} = chart.getBoundingClientRect();
      const far = ([x, y]) => Math.hypot(x - e.clientX + left, y - e.clientY + top);
      input.value = this.points.reduce((a, b) => far(b) < far(a) ? b : a)[2];
      input.focus({preventScroll: true});
      e.preventDefault();
      this.show();
    };
    new ResizeObserver(() => this.show()).observe(at('.title'));
  }

  show() {
    const {data, at} = this, k = +at('input').value, {label, said, told, image} = data.frames[k];
    at('input').setAttribute('aria-valuetext', said);
    at('.label').textContent = label;
    at('dl').textContent = '';
    for (const [name, text] of told) {
      this.add(at('dl'), 'dt', {}, name);
      this.add(at('dl'), 'dd', {}, text);
    }
    let style = 'display:none';
    if (image) {
      const unit = image.width / devicePixelRatio;  // enlarged by whole device pixels
      const wide = unit * Math.floor(at('.right').clientWidth / unit);
      style = wide ? `width:${wide}px;image-rendering:pixelated` : '';
    }
    Object.assign(at('img'), {style, alt: 'Images: ' + label}, image);
    this.draw(k);
  }

  draw(k) {
    const svg = this.at('.chart'), {frames, xticks, yticks, colours} = this.data;
    const wide = svg.clientWidth, high = Math.max(210, Math.min(330, wide * .6));
    const left = 14 + 7 * Math.max(...yticks.map(t => t[1].length)), foot = high - 24;
    const X = u => left + u * (wide - left - 14), Y = v => foot - v * (foot - 8);
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
});
