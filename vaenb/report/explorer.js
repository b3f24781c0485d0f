customElements.get('vae-explorer') || customElements.define('vae-explorer',
class extends HTMLElement {
  connectedCallback() {
    if (this.shadowRoot) return;
    if (this.querySelector('script')) this.build();
    else document.addEventListener('DOMContentLoaded', () => this.build(), {once: true});
  }

  add(to, name, given, text = '') {
    const space = name === 'svg' ? 'http://www.w3.org/2000/svg' : to.namespaceURI;
    const e = to.appendChild(document.createElementNS(space, name));
    for (const key in given) e.setAttribute(key, given[key]);
    e.textContent = text;
    return e;
  }

  series(to, i) {
    return this.add(to, 'g', {style: '--c:' + this.data.colours[i]});
  }

  line(to, i, d) {
    this.add(to, 'path', {d, 'class': 'line', 'stroke-dasharray': ['', '7 4', '2 4'][i % 3]});
  }

  mark(to, group, x, y, r, kind) {
    const d = ['M-1,0a1,1 0 1,0 2,0a1,1 0 1,0-2,0z', 'M0-1.35 1.35,0 0,1.35-1.35,0z',
      'M0-1.3 1.25,.9H-1.25z', 'M-1-1H1V1H-1z', 'M0,1.3 1.25-.9H-1.25z'][group % 5];
    this.add(to, 'path', {d, 'class': kind, transform: `translate(${x} ${y}) scale(${r})`});
  }

  build() {
    const data = this.data = JSON.parse(this.querySelector('script').textContent);
    const root = this.attachShadow({mode: 'open'}), at = this.at = s => root.querySelector(s);
    this.setAttribute('data-lm-suppress-shortcuts', 'true');  // else JupyterLab takes the keys
    root.innerHTML = `<style>
:host{display:block;max-width:1000px;margin:.6em 0;font-size:14px;line-height:1.45}
b{display:block;overflow-wrap:anywhere;margin-bottom:.5em}
main,nav{display:flex;flex-wrap:wrap;gap:1em 2em}
section{flex:3 1 280px;min-width:0}
aside{flex:2 1 230px;min-width:0}
nav{gap:.1em 1.2em;margin-bottom:.5em}
nav svg{width:34px;height:14px;vertical-align:-2px;margin-right:.4em}
p{margin:0}
#chart{display:block;width:100%;overflow:visible;cursor:pointer;touch-action:pan-y}
text{fill:currentColor;font-size:12px}
line{stroke:currentColor;opacity:.15}
.rule{opacity:.6}
g{color:color-mix(in srgb,var(--c) 82%,currentColor);fill:currentColor}
.line,.ring{fill:none;stroke:currentColor;stroke-width:2;vector-effect:non-scaling-stroke}
input{appearance:none;width:100%;height:30px;margin:.4em 0 0;background:none;color:inherit;
--r:color-mix(in srgb,currentColor 28%,transparent) 0 13px/100% 4px no-repeat;cursor:pointer;
background:linear-gradient(var(--t),var(--t))}
input:focus-visible{outline:2px solid;border-radius:6px}
img{display:block;max-width:100%;height:auto;margin-bottom:.7em}
dl{display:grid;grid-template-columns:auto 1fr;gap:.15em 1.2em;margin:0;overflow-wrap:anywhere}
dd{margin:0;font-variant-numeric:tabular-nums}
</style>`;
  }
});
