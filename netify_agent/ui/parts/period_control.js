// The control that selects the period of a page.

import { h, setAttribute } from './dom.js';
import { now } from './format.js';
import { NONE, PERIODS, RANGES, selected } from './period.js';

const MINUTE = 60_000;

/** The text of a datetime-local input, in the browser's time zone. */
function localText(milliseconds) {
  const date = new Date(milliseconds);
  return new Date(milliseconds - date.getTimezoneOffset() * MINUTE).toISOString().slice(0, 16);
}

/** The control that selects the period: ranges that end now, periods of the calendar, and any time from and to. */
export class PeriodControl {
  constructor(navigate) {
    this.links = [
      ...Object.entries(RANGES).map(([range, { label }]) => [{ range }, h('a', {}, label)]),
      ...Object.entries(PERIODS).map(([period, label]) => [{ period }, h('a', {}, label)]),
    ];
    this.back = h('a', { class: 'step', 'aria-label': 'Previous period' }, '\u2039');
    this.forward = h('a', { class: 'step', 'aria-label': 'Next period' }, '\u203a');
    this.from = h('input', { type: 'datetime-local', id: 'from', required: true, step: 300 });
    this.to = h('input', { type: 'datetime-local', id: 'to', required: true, step: 300 });
    this.custom = h('summary', {}, 'Custom');
    this.details = h('details', { class: 'custom' }, this.custom,
      h('form', { onsubmit: (event) => {
        event.preventDefault();
        const [from, to] = [this.from, this.to].map((input) => Date.parse(input.value) / 1000);
        this.to.setCustomValidity(from < to ? '' : 'The end must be after the start.');
        if (!this.to.reportValidity()) return;
        this.details.open = false;
        navigate({ ...NONE, from, to });
      } },
      h('div', { class: 'field' }, h('label', { for: 'from' }, 'From'), this.from),
      h('div', { class: 'field' }, h('label', { for: 'to' }, 'To'), this.to),
      h('button', { type: 'submit', class: 'quiet' }, 'Show')));
    this.to.addEventListener('input', () => this.to.setCustomValidity(''));
    this.node = h('nav', { class: 'ranges', 'aria-label': 'Time range' },
      this.back, this.forward, ...this.links.map(([, link]) => link), this.details);
  }

  /** Show what `route` selects. All other parameters of the address stay. */
  update(route) {
    this.route = route;
    const selection = selected(route);
    for (const [parameters, link] of this.links) {
      setAttribute(link, 'href', route.with({ ...NONE, ...parameters }));
      const isShown = Object.entries(parameters).every(([name, value]) => selection[name] === value);
      setAttribute(link, 'aria-current', isShown ? 'true' : null);
    }
    setAttribute(this.custom, 'data-current', selection.from !== undefined);
  }

  /** Show the bounds of `period`, which was read for the route. */
  show(period) {
    const isOpen = this.details.open; // what the user types stays
    if (!isOpen) {
      this.from.value = localText(period.isLive ? period.first : period.from);
      this.to.value = localText(period.isLive ? period.end : period.to);
    }
    const { kind, from, to } = period;
    const length = to - from;
    const isPast = !period.isLive && to <= now();
    const [back, forward] = kind
      ? [{ period: kind, at: from / 1000 - 1 }, { period: kind, at: to / 1000 }]
      : [{ from: (from - length) / 1000, to: from / 1000 }, { from: to / 1000, to: (to + length) / 1000 }];
    setAttribute(this.back, 'href', period.isLive ? null : this.route.with({ ...NONE, ...back }));
    setAttribute(this.forward, 'href', isPast ? this.route.with({ ...NONE, ...forward }) : null);
  }
}
