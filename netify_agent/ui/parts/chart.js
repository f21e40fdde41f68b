// SVG bar charts: one bar per time step, one colour per layer, and the same figures as a table.

import { h, s, setAttribute, setText } from './dom.js';
import { bytes, bytesFigure } from './format.js';

const TOP = 8;
const BOTTOM = 24; // height of the time axis
const LEFT = 54; // width of the value axis
const MIN_HEIGHT_BELOW = 14; // pixels below the zero line, if there is anything to show
const MIN_BAR_HEIGHT = 0.75; // pixels, so that a small value stays visible
const LEVEL_MAX = 2; // times the highest bar: a level above that would make the bars too small
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
   * `tick(index)` returns the time axis label of a step, or null for none; `name(index)` its full time.
   * `onzoom(first, last)` is called when the user selects some steps, with the mouse or Shift and the arrow keys.
   */
  constructor({ label, height, describe, tick, name, onzoom = () => {} }) {
    this.describe = describe;
    this.name = name;
    this.onzoom = onzoom;
    this.known = null;
    this.running = null;
    this.line = null;
    this.level = null;
    this.anchor = null; // where a selection of several steps began
    this.tick = tick;
    this.height = height;
    this.layers = [];
    this.steps = 0;
    this.selected = null;
    this.readout = h('p', { class: 'readout' });
    this.svg = s('svg', { 'aria-hidden': 'true' });
    this.plot = h('div', {
      class: 'plot', role: 'slider', tabindex: '0', 'aria-label': label, 'aria-orientation': 'horizontal',
      'aria-description': 'Arrow keys select a bar; with Shift they select several, and Enter shows these in detail.',
      onpointermove: (event) => this.select(this.indexAt(event), this.anchor),
      onpointerdown: (event) => this.onPointerDown(event),
      onpointerup: (event) => this.onPointerUp(event),
      onpointercancel: () => this.select(this.selected),
      // A finger leaves the chart when it is lifted: what was tapped stays selected until something else is.
      onpointerleave: (event) => (event.pointerType === 'mouse' ? this.select(null) : undefined),
      onblur: () => this.select(null),
      onkeydown: (event) => this.onKey(event),
    }, this.svg);
    this.unit = h('p', { class: 'unit' });
    this.rows = h('tbody', {});
    this.head = h('tr', {});
    this.table = h('details', { class: 'as-table', ontoggle: () => this.fillTable() }, h('summary', {}, 'Show as table'),
      h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `${label}, as a table` },
        h('table', {}, h('caption', { class: 'hidden' }, label), h('thead', {}, this.head), this.rows)));
    this.node = h('div', { class: 'chart' }, h('div', { class: 'chart-head' }, this.readout, this.unit), this.plot, this.table);
    this.width = 0;
    new ResizeObserver(([entry]) => {
      const width = Math.round(entry.contentRect.width);
      if (width !== this.width) {
        this.width = width;
        this.draw();
      }
    }).observe(this.plot);
  }

  /**
   * `steps`: their number. `known`: for each step, whether there is data; null if there is for all. `running`: the
   * step that is still growing, or null. `unit`: what a step covers. `line`: `{label, values}`, drawn as a line above
   * the zero line; a value may be null. `level`: `{label, value}`, a line at one value, unless it is far above the bars.
   */
  set(steps, layers, { known = null, running = null, unit = '', line = null, level = null } = {}) {
    Object.assign(this, { steps, layers, known, running, line, level });
    setText(this.unit, unit && `Data per ${unit}`);
    if (this.selected !== null && this.selected >= steps) this.selected = null;
    if (this.anchor !== null && this.anchor >= steps) this.anchor = null;
    this.draw();
    this.fillTable();
  }

  isKnown(index) {
    return this.known === null || this.known[index];
  }

  /** Fill the table, if it is open: one row per step, latest first. Steps ahead have a row if there is a line. */
  fillTable() {
    if (!this.table.open) return;
    const columns = this.line ? [...this.layers, this.line] : this.layers;
    this.head.replaceChildren(h('th', { scope: 'col' }, 'Time'),
      ...columns.map((layer) => h('th', { scope: 'col', class: 'figure' }, h('bdi', {}, layer.label))));
    const length = this.running === null || this.line ? this.steps : this.running + 1;
    this.rows.replaceChildren(...Array.from({ length }, (_, back) => {
      const index = length - 1 - back;
      return h('tr', {}, h('th', { scope: 'row' }, this.name(index)), ...columns.map((layer) => {
        if (layer === this.line ? layer.values[index] === null : !this.isKnown(index)) return h('td', { class: 'figure' }, 'No data');
        const { node, update } = bytesFigure();
        if (layer === this.line || this.running === null || index <= this.running) update(layer.values[index]);
        return h('td', { class: 'figure' }, node);
      }));
    }));
  }

  onPointerDown(event) {
    const index = this.indexAt(event);
    this.select(index, event.pointerType === 'mouse' && event.button === 0 ? index : null);
  }

  onPointerUp(event) {
    const index = this.indexAt(event);
    const { anchor } = this;
    this.select(index);
    if (anchor !== null && anchor !== index) this.zoom(anchor, index);
  }

  zoom(one, other) {
    this.select(null);
    this.onzoom(Math.min(one, other), Math.max(one, other));
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
    else if (event.key === 'Enter' && this.selected !== null) this.zoom(this.anchor ?? this.selected, this.selected);
    else if (event.key in targets && this.steps) {
      event.preventDefault();
      const anchor = event.shiftKey ? this.anchor ?? this.selected ?? last : null;
      this.select(Math.min(Math.max(targets[event.key], 0), last), anchor);
    }
  }

  /** Select a step, or all steps from `anchor` to it; null selects nothing. */
  select(index, anchor = null) {
    this.selected = index;
    this.anchor = anchor;
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
    const [first, last] = [shown, this.anchor ?? shown].sort((a, b) => a - b);
    setAttribute(this.marker, 'x', this.x(first));
    setAttribute(this.marker, 'width', this.x(last + 1) - this.x(first));
  }

  /** The x coordinate of the left edge of step `index`. */
  x(index) {
    return LEFT + (this.steps ? (index * (this.width - LEFT)) / this.steps : 0);
  }

  draw() {
    if (!this.width) return;
    const { width, height, steps, layers } = this;
    this.svg.replaceChildren();
    for (const [name, value] of [['width', width], ['height', height], ['viewBox', `0 0 ${width} ${height}`]]) {
      this.svg.setAttribute(name, value);
    }
    const maximum = (below) => {
      let highest = 0;
      for (let index = 0; index < steps; index += 1) {
        let sum = 0;
        for (const layer of layers) if (Boolean(layer.below) === below) sum += layer.values[index];
        highest = Math.max(highest, sum);
      }
      return highest;
    };
    const highest = Math.max(maximum(false), ...(this.line?.values ?? []));
    const hasLevel = this.level !== null && this.level.value <= LEVEL_MAX * highest;
    const above = hasLevel ? Math.max(highest, this.level.value) : highest;
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
    this.drawUnknown(plotHeight);
    this.marker = s('rect', { class: 'marker', y: TOP - 6, width: barWidth, height: plotHeight + 12 });
    this.svg.append(this.marker);
    const heights = [new Float64Array(steps), new Float64Array(steps)];
    for (const layer of layers) this.drawLayer(layer, barWidth, zero, scale, heights[layer.below ? 1 : 0]);
    if (this.line) this.drawLine(zero, scale);
    if (hasLevel) this.drawLevel(zero - this.level.value * scale);
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
      const bar = `M${x} ${y.toFixed(1)}h${(barWidth - gap).toFixed(1)}v${barHeight.toFixed(1)}H${x}z`;
      if (index === this.running) this.svg.append(s('path', { class: `${layer.style} running`, d: bar }));
      else path += bar;
    }
    this.svg.append(s('path', { class: layer.style, d: path }));
  }

  /** Draw the line, as one level for each step. */
  drawLine(zero, scale) {
    let path = '';
    this.line.values.forEach((value, index) => {
      if (value === null) return;
      const y = (zero - value * scale).toFixed(1);
      const isJoined = index > 0 && this.line.values[index - 1] !== null;
      path += `${isJoined ? 'L' : 'M'}${this.x(index).toFixed(1)} ${y}H${this.x(index + 1).toFixed(1)}`;
    });
    this.svg.append(s('path', { class: 'before', d: path }));
  }

  /** Draw the level at `y`, with its label. */
  drawLevel(y) {
    this.svg.append(s('line', { class: 'level', x1: LEFT, x2: this.width, y1: y, y2: y }),
      s('text', { class: 'level-label', x: this.width, y: y + 14 }, this.level.label));
  }

  /** Hatch the steps without data. */
  drawUnknown(plotHeight) {
    let path = '';
    for (let index = 0; index < this.steps; index += 1) {
      if (this.isKnown(index)) continue;
      const first = index;
      while (index + 1 < this.steps && !this.isKnown(index + 1)) index += 1;
      path += `M${this.x(first).toFixed(1)} ${TOP}H${this.x(index + 1).toFixed(1)}v${plotHeight}H${this.x(first).toFixed(1)}z`;
    }
    if (path) this.svg.append(s('path', { class: 'unknown', d: path, fill: 'url(#hatch)' }));
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
