// A small chart without axes, for tables.

import { h, s, setAttribute, setText } from './dom.js';

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
