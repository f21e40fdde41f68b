// Bars over time, drawn in SVG: one step of the history is one bar, one layer is one colour.

import { h, s, setAttribute, setText } from './dom.js';
import { bytes } from './format.js';

const TOP = 8;
const BOTTOM = 24; // room for the times
const LEFT = 54; // room for the scale
const LEAST_BELOW = 14;

/** Bytes of a round number, without zeros behind the point. */
function round(value) {
  return bytes(value).replace(/\.(\d*?)0+ /, (_, digits) => (digits ? `.${digits} ` : ' '));
}

/** A round step that makes two to four lines up to `most`. */
function lineStep(most) {
  const power = 10 ** Math.floor(Math.log10(most / 2));
  return [5, 2, 1].map((factor) => factor * power).find((step) => step * 2 <= most) ?? power;
}

/**
 * A chart of layers over steps of time.
 *
 * A layer is `{label, style, values, below}`: `style` a class that gives its colour, `values` one number a
 * step, `below` true for what hangs from the zero line. Layers on the same side are stacked. It is a slider
 * to the keyboard and to screen readers: each step can be visited and is told in words.
 */
export class Chart {
  /** `describe(index)` tells step `index` in words, `describe(null)` all of it; `tick(index)` labels a time. */
  constructor({ label, height, describe, tick }) {
    this.describe = describe;
    this.tick = tick;
    this.height = height;
    this.layers = [];
    this.steps = 0;
    this.at = null;
    this.readout = h('p', { class: 'readout' });
    this.svg = s('svg', { 'aria-hidden': 'true' });
    this.plot = h('div', {
      class: 'plot', role: 'slider', tabindex: '0', 'aria-label': label, 'aria-orientation': 'horizontal',
      onpointermove: (event) => this.visit(this.indexAt(event)),
      onpointerdown: (event) => this.visit(this.indexAt(event)),
      onpointerleave: () => this.visit(null),
      onblur: () => this.visit(null),
      onkeydown: (event) => this.key(event),
    }, this.svg);
    this.node = h('div', { class: 'chart' }, this.readout, this.plot);
    this.width = 0;
    new ResizeObserver(([entry]) => {
      const width = Math.round(entry.contentRect.width);
      if (width !== this.width) {
        this.width = width;
        this.draw();
      }
    }).observe(this.plot);
  }

  set(steps, layers) {
    this.steps = steps;
    this.layers = layers;
    if (this.at !== null && this.at >= steps) this.at = null;
    this.draw();
  }

  indexAt(event) {
    const box = this.plot.getBoundingClientRect();
    const index = Math.floor(((event.clientX - box.left - LEFT) / (box.width - LEFT)) * this.steps);
    return this.steps ? Math.min(Math.max(index, 0), this.steps - 1) : null;
  }

  key(event) {
    const last = this.steps - 1;
    const here = this.at ?? last + 1;
    const targets = {
      ArrowLeft: here - 1, ArrowDown: here - 1, ArrowRight: here + 1, ArrowUp: here + 1,
      PageUp: here + Math.ceil(this.steps / 10), PageDown: here - Math.ceil(this.steps / 10), Home: 0, End: last,
    };
    if (event.key === 'Escape') this.visit(null);
    else if (event.key in targets && this.steps) {
      event.preventDefault();
      this.visit(Math.min(Math.max(targets[event.key], 0), last));
    }
  }

  visit(index) {
    this.at = index;
    this.point();
  }

  /** Show the step that is visited. */
  point() {
    this.readout.replaceChildren(...this.describe(this.at));
    const shown = this.at ?? Math.max(this.steps - 1, 0);
    setAttribute(this.plot, 'aria-valuemin', 0);
    setAttribute(this.plot, 'aria-valuemax', Math.max(this.steps - 1, 0));
    setAttribute(this.plot, 'aria-valuenow', shown);
    setAttribute(this.plot, 'aria-valuetext', this.readout.textContent);
    if (!this.marker) return;
    setAttribute(this.marker, 'visibility', this.at === null ? 'hidden' : 'visible');
    setAttribute(this.marker, 'x', this.x(shown));
  }

  /** Where step `index` begins. */
  x(index) {
    return LEFT + (this.steps ? (index * (this.width - LEFT)) / this.steps : 0);
  }

  draw() {
    if (!this.width) return;
    const { width, height, steps, layers } = this;
    this.svg.replaceChildren();
    for (const [name, value] of [['width', width], ['height', height]]) this.svg.setAttribute(name, value);
    const most = (below) => {
      let highest = 0;
      for (let index = 0; index < steps; index += 1) {
        let sum = 0;
        for (const layer of layers) if (Boolean(layer.below) === below) sum += layer.values[index];
        highest = Math.max(highest, sum);
      }
      return highest;
    };
    const up = most(false);
    const down = most(true);
    const room = height - TOP - BOTTOM;
    let scale = up + down ? room / (up + down) : 0;
    let zero = TOP + up * scale;
    if (down && room - up * scale < LEAST_BELOW) {
      scale = (room - LEAST_BELOW) / up;
      zero = TOP + room - LEAST_BELOW;
    }
    if (!scale) zero = TOP + room;
    this.drawLines(up, down, zero, scale);
    const one = steps ? (width - LEFT) / steps : 0;
    this.marker = s('rect', { class: 'marker', y: TOP - 6, width: one, height: room + 12 });
    this.svg.append(this.marker);
    const heights = [new Float64Array(steps), new Float64Array(steps)];
    for (const layer of layers) this.drawLayer(layer, one, zero, scale, heights[layer.below ? 1 : 0]);
    this.svg.append(s('line', { class: 'zero', x1: LEFT, x2: width, y1: zero, y2: zero }));
    this.drawTicks(one);
    this.point();
  }

  drawLayer(layer, one, zero, scale, heights) {
    const gap = one >= 3 ? Math.min(Math.max(one * 0.15, 1), 6) : 0;
    let path = '';
    for (let index = 0; index < this.steps; index += 1) {
      const value = layer.values[index];
      if (value <= 0) continue;
      const tall = Math.max(value * scale, 0.75); // a little is not nothing
      const from = layer.below ? zero + heights[index] : zero - heights[index] - tall;
      heights[index] += tall;
      const x = (this.x(index) + gap / 2).toFixed(1);
      path += `M${x} ${from.toFixed(1)}h${(one - gap).toFixed(1)}v${tall.toFixed(1)}H${x}z`;
    }
    this.svg.append(s('path', { class: layer.style, d: path }));
  }

  drawLines(up, down, zero, scale) {
    if (!up && !down) return;
    const step = lineStep(Math.max(up, down));
    for (const [limit, sign] of [[up, -1], [down, 1]]) {
      for (let value = step; value <= limit; value += step) {
        const y = Math.round(zero + sign * value * scale) + 0.5;
        this.svg.append(
          s('line', { class: 'line', x1: LEFT, x2: this.width, y1: y, y2: y }),
          s('text', { class: 'scale', x: LEFT - 8, y: y + 4 }, round(value)),
        );
      }
    }
  }

  drawTicks(one) {
    const apart = Math.max(Math.ceil(76 / Math.max(one, 0.1)), 1);
    let free = 0;
    for (let index = 0; index < this.steps; index += 1) {
      const text = this.tick(index, apart);
      if (text === null || index < free) continue;
      const x = this.x(index);
      if (x + 40 > this.width) break;
      this.svg.append(
        s('line', { class: 'tick', x1: x, x2: x, y1: this.height - BOTTOM, y2: this.height - BOTTOM + 5 }),
        s('text', { class: 'time', x, y: this.height - 4 }, text),
      );
      free = index + apart;
    }
  }
}

/** A line of text for a chart's readout: `[style, text]` pairs. */
export function readout(...parts) {
  return parts.map(([style, text]) => h('span', { class: style }, text));
}

/** A small curve without axes. */
export class Sparkline {
  constructor() {
    this.path = s('path', { class: 'spark' });
    this.text = h('span', { class: 'hidden' });
    this.node = h('span', { class: 'sparkline' },
      s('svg', { viewBox: '0 0 100 24', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, this.path),
      this.text);
  }

  /** `values`: numbers, oldest first, or null while they are not known; `text` says them in words. */
  set(values, text) {
    setText(this.text, text);
    setAttribute(this.node, 'title', text || null);
    if (values === null || !values.length) {
      setAttribute(this.path, 'd', 'M0 23.5H100');
      return;
    }
    const most = Math.max(...values, 1);
    const one = 100 / values.length;
    let path = 'M0 24';
    values.forEach((value, index) => {
      const y = (23.2 - (value / most) * 22).toFixed(1);
      path += `L${(index * one).toFixed(1)} ${y}H${((index + 1) * one).toFixed(1)}`;
    });
    setAttribute(this.path, 'd', `${path}V24z`);
  }
}
