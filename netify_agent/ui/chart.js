// SVG bar charts: one bar per time step, one colour per layer. Also the sparklines in tables.

import { h, s, setAttribute, setText } from './dom.js';
import { bytes } from './format.js';

const TOP = 8;
const BOTTOM = 24; // height of the time axis
const LEFT = 54; // width of the value axis
const MIN_HEIGHT_BELOW = 14; // pixels below the zero line, if there is anything to show
const MIN_BAR_HEIGHT = 0.75; // pixels, so that a small value stays visible
const MIN_TICK_DISTANCE = 76; // pixels between labels of the time axis

/** Bytes without trailing zeros: `1.50 GB` becomes `1.5 GB`. */
function axisLabel(value) {
  return bytes(value).replace(/\.(\d*?)0+ /, (_, digits) => (digits ? `.${digits} ` : ' '));
}

/** The distance of grid lines, a round number: two to four of them fit below `maximum`. */
function gridStep(maximum) {
  const power = 10 ** Math.floor(Math.log10(maximum / 2));
  return [5, 2, 1].map((factor) => factor * power).find((step) => step * 2 <= maximum) ?? power;
}

/**
 * A stacked bar chart.
 *
 * A layer is `{label, style, values, below}`: `style` is the class of its colour, `values` has one number per step,
 * `below` draws it below the zero line. Layers on the same side are stacked. For the keyboard and screen readers
 * the chart is a slider whose value is the selected step.
 */
export class Chart {
  /**
   * `describe(index)` returns the nodes of the readout for a step, or for the whole range if null.
   * `tick(index)` returns the time axis label of a step, or null for none.
   */
  constructor({ label, height, describe, tick }) {
    this.describe = describe;
    this.tick = tick;
    this.height = height;
    this.layers = [];
    this.steps = 0;
    this.selected = null;
    this.readout = h('p', { class: 'readout' });
    this.svg = s('svg', { 'aria-hidden': 'true' });
    this.plot = h('div', {
      class: 'plot', role: 'slider', tabindex: '0', 'aria-label': label, 'aria-orientation': 'horizontal',
      onpointermove: (event) => this.select(this.indexAt(event)),
      onpointerdown: (event) => this.select(this.indexAt(event)),
      onpointerleave: () => this.select(null),
      onblur: () => this.select(null),
      onkeydown: (event) => this.onKey(event),
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
    if (this.selected !== null && this.selected >= steps) this.selected = null;
    this.draw();
  }

  indexAt(event) {
    const box = this.plot.getBoundingClientRect();
    const index = Math.floor(((event.clientX - box.left - LEFT) / (box.width - LEFT)) * this.steps);
    return this.steps ? Math.min(Math.max(index, 0), this.steps - 1) : null;
  }

  onKey(event) {
    const last = this.steps - 1;
    const current = this.selected ?? last + 1;
    const page = Math.ceil(this.steps / 10);
    const targets = {
      ArrowLeft: current - 1, ArrowDown: current - 1, ArrowRight: current + 1, ArrowUp: current + 1,
      PageUp: current + page, PageDown: current - page, Home: 0, End: last,
    };
    if (event.key === 'Escape') this.select(null);
    else if (event.key in targets && this.steps) {
      event.preventDefault();
      this.select(Math.min(Math.max(targets[event.key], 0), last));
    }
  }

  select(index) {
    this.selected = index;
    this.showSelection();
  }

  /** Update readout, marker and ARIA attributes for the selected step. */
  showSelection() {
    this.readout.replaceChildren(...this.describe(this.selected));
    const shown = this.selected ?? Math.max(this.steps - 1, 0);
    setAttribute(this.plot, 'aria-valuemin', 0);
    setAttribute(this.plot, 'aria-valuemax', Math.max(this.steps - 1, 0));
    setAttribute(this.plot, 'aria-valuenow', shown);
    setAttribute(this.plot, 'aria-valuetext', this.readout.textContent);
    if (!this.marker) return;
    setAttribute(this.marker, 'visibility', this.selected === null ? 'hidden' : 'visible');
    setAttribute(this.marker, 'x', this.x(shown));
  }

  /** The x coordinate of the left edge of step `index`. */
  x(index) {
    return LEFT + (this.steps ? (index * (this.width - LEFT)) / this.steps : 0);
  }

  draw() {
    if (!this.width) return;
    const { width, height, steps, layers } = this;
    this.svg.replaceChildren();
    for (const [name, value] of [['width', width], ['height', height]]) this.svg.setAttribute(name, value);
    const maximum = (below) => {
      let highest = 0;
      for (let index = 0; index < steps; index += 1) {
        let sum = 0;
        for (const layer of layers) if (Boolean(layer.below) === below) sum += layer.values[index];
        highest = Math.max(highest, sum);
      }
      return highest;
    };
    const above = maximum(false);
    const below = maximum(true);
    const plotHeight = height - TOP - BOTTOM;
    let scale = above + below ? plotHeight / (above + below) : 0;
    let zero = TOP + above * scale;
    if (below && plotHeight - above * scale < MIN_HEIGHT_BELOW) {
      scale = (plotHeight - MIN_HEIGHT_BELOW) / above;
      zero = TOP + plotHeight - MIN_HEIGHT_BELOW;
    }
    if (!scale) zero = TOP + plotHeight;
    this.drawGrid(above, below, zero, scale);
    const barWidth = steps ? (width - LEFT) / steps : 0;
    this.marker = s('rect', { class: 'marker', y: TOP - 6, width: barWidth, height: plotHeight + 12 });
    this.svg.append(this.marker);
    const heights = [new Float64Array(steps), new Float64Array(steps)];
    for (const layer of layers) this.drawLayer(layer, barWidth, zero, scale, heights[layer.below ? 1 : 0]);
    this.svg.append(s('line', { class: 'zero', x1: LEFT, x2: width, y1: zero, y2: zero }));
    this.drawTimeAxis(barWidth);
    this.showSelection();
  }

  /** Draw one layer on top of the stack; `heights` is the height of the stack at each step. */
  drawLayer(layer, barWidth, zero, scale, heights) {
    const gap = barWidth >= 3 ? Math.min(Math.max(barWidth * 0.15, 1), 6) : 0;
    let path = '';
    for (let index = 0; index < this.steps; index += 1) {
      const value = layer.values[index];
      if (value <= 0) continue;
      const barHeight = Math.max(value * scale, MIN_BAR_HEIGHT);
      const y = layer.below ? zero + heights[index] : zero - heights[index] - barHeight;
      heights[index] += barHeight;
      const x = (this.x(index) + gap / 2).toFixed(1);
      path += `M${x} ${y.toFixed(1)}h${(barWidth - gap).toFixed(1)}v${barHeight.toFixed(1)}H${x}z`;
    }
    this.svg.append(s('path', { class: layer.style, d: path }));
  }

  drawGrid(above, below, zero, scale) {
    if (!above && !below) return;
    const step = gridStep(Math.max(above, below));
    for (const [limit, sign] of [[above, -1], [below, 1]]) {
      for (let value = step; value <= limit; value += step) {
        const y = Math.round(zero + sign * value * scale) + 0.5;
        this.svg.append(
          s('line', { class: 'line', x1: LEFT, x2: this.width, y1: y, y2: y }),
          s('text', { class: 'scale', x: LEFT - 8, y: y + 4 }, axisLabel(value)),
        );
      }
    }
  }

  drawTimeAxis(barWidth) {
    const stepsPerTick = Math.max(Math.ceil(MIN_TICK_DISTANCE / Math.max(barWidth, 0.1)), 1);
    let next = 0;
    for (let index = 0; index < this.steps; index += 1) {
      const text = this.tick(index);
      if (text === null || index < next) continue;
      const x = this.x(index);
      if (x + 40 > this.width) break;
      this.svg.append(
        s('line', { class: 'tick', x1: x, x2: x, y1: this.height - BOTTOM, y2: this.height - BOTTOM + 5 }),
        s('text', { class: 'time', x, y: this.height - 4 }, text),
      );
      next = index + stepsPerTick;
    }
  }
}

/** Readout nodes from `[style, text]` pairs. */
export function readout(...parts) {
  return parts.map(([style, text]) => h('span', { class: style }, text));
}

/** A small chart without axes. */
export class Sparkline {
  constructor() {
    this.path = s('path', { class: 'spark' });
    this.text = h('span', { class: 'hidden' });
    this.node = h('span', { class: 'sparkline' },
      s('svg', { viewBox: '0 0 100 24', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, this.path),
      this.text);
  }

  /** `values`: numbers, oldest first, or null if unknown. `text`: tooltip and text for screen readers. */
  set(values, text) {
    setText(this.text, text);
    setAttribute(this.node, 'title', text || null);
    if (values === null || !values.length) {
      setAttribute(this.path, 'd', 'M0 23.5H100');
      return;
    }
    const maximum = Math.max(...values, 1);
    const width = 100 / values.length;
    let path = 'M0 24';
    values.forEach((value, index) => {
      const y = (23.2 - (value / maximum) * 22).toFixed(1);
      path += `L${(index * width).toFixed(1)} ${y}H${((index + 1) * width).toFixed(1)}`;
    });
    setAttribute(this.path, 'd', `${path}V24z`);
  }
}
