// A chart of a period's traffic, with the readout that all pages have. Dragging selects a shorter period.

import { Chart, readout } from './chart.js';
import { bytes } from './format.js';
import { zoomParameters } from './period.js';
import { fixedBytes } from './pieces.js';

const SHARES = 3; // applications named in the readout of a bar

const sum = (values) => values.reduce((total, value) => total + value, 0);

/** A chart of the traffic in a period. */
export class PeriodChart {
  /** `navigate(parameters)` changes the period in the address. */
  constructor({ label, height, navigate }) {
    this.period = null;
    this.problem = null;
    this.chart = new Chart({
      label, height,
      describe: (index) => this.describe(index),
      tick: (index) => this.period.tick(index),
      name: (index) => this.period.name(index),
      onzoom: (first, last) => {
        if (!this.period.isAhead(first)) navigate(zoomParameters(this.period, first, last));
      },
    });
    this.node = this.chart.node;
  }

  /**
   * `down`, `up`: bytes per bar. `known`: whether there is data for each bar. `problem`: why there is none, or null.
   * `layers`: what to draw, as in `Chart`; without them, down above and up below the zero line. `line` (of another
   * period) and `level`: as in `Chart`.
   */
  draw(period, { down, up, known, problem = null, layers = null, line = null, level = null }) {
    Object.assign(this, { period, down, up, problem, layers, line });
    this.chart.set(period.length, layers ?? [
      { label: 'Download', style: 'down', values: down },
      { label: 'Upload', style: 'up', values: up, below: true },
    ], { known, running: period.running, unit: period.unit, line, level });
  }

  describe(index) {
    if (this.problem) return readout(['when', this.problem]);
    if (!this.period) return readout(['when', '\u00a0']);
    const when = readout(['when', index === null ? this.period.title : this.period.name(index)]);
    const before = index === null ? null : this.line?.values[index] ?? null;
    if (before !== null) when.push(...readout(['share before', `${this.line.label} ${bytes(before)}`]));
    if (index !== null && this.period.isAhead(index)) return when;
    if (index !== null && !this.chart.isKnown(index)) return [...when, ...readout(['share', 'No data'])];
    const [down, up] = [this.down, this.up].map((values) => (index === null ? sum(values) : values[index]));
    const shares = index === null || !this.layers ? [] : this.layers
      .map((layer) => [layer.label, layer.values[index]])
      .filter(([, value]) => value > 0)
      .sort((a, b) => b[1] - a[1])
      .slice(0, SHARES)
      .map(([label, value]) => ['share', `${label} ${bytes(value)}`]);
    return [...when, fixedBytes('down', 'download ', down), fixedBytes('up', 'upload ', up), ...readout(...shares)];
  }
}
