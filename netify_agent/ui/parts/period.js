// The period that a page shows: its place in the address, its bars, and the control that selects it.

import { get } from '../agent/api.js';
import { h, setAttribute } from './dom.js';
import { now } from './format.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** `resolution`: of the API; `step`: milliseconds per bar; `bars`: number of bars. */
export const RANGES = {
  hour: { label: 'Hour', title: 'Last hour', resolution: '5m', step: 5 * MINUTE, bars: 12 },
  day: { label: 'Day', title: 'Last 24 hours', resolution: '5m', step: 15 * MINUTE, bars: 96 },
  week: { label: 'Week', title: 'Last 7 days', resolution: '1h', step: HOUR, bars: 168 },
  month: { label: 'Month', title: 'Last 31 days', resolution: '1d', step: DAY, bars: 31 },
};

/** Bars of a period between two times: the shortest that is kept for so long and makes no more than `most` bars. */
const STEPS = [
  { resolution: '5m', step: 5 * MINUTE, most: 36, kept: 2 * DAY },
  { resolution: '5m', step: 15 * MINUTE, most: 104, kept: 2 * DAY },
  { resolution: '1h', step: HOUR, most: 336, kept: 31 * DAY },
  { resolution: '1d', step: DAY, most: 400, kept: Infinity },
];

const UNITS = { [5 * MINUTE]: '5 minutes', [15 * MINUTE]: '15 minutes', [HOUR]: 'hour', [DAY]: 'day (UTC)' };

/** The name of the range that a route selects, `day` by default, or null if it selects a time from and to. */
function rangeOf(route) {
  if (between(route)) return null;
  return Object.hasOwn(RANGES, route.get('range') ?? '') ? route.get('range') : 'day';
}

/** The times from and to that a route selects, in milliseconds since the epoch, or null. */
function between(route) {
  const [from, to] = ['from', 'to'].map((name) => Number(route.get(name) ?? NaN) * 1000);
  return from > 0 && to > from && to < 8.64e15 ? { from, to } : null;
}

/** The period that a route selects, as bars. A range ends now; `isLive` says so. */
export class Period {
  constructor(route) {
    const name = rangeOf(route);
    this.isLive = name !== null;
    if (this.isLive) {
      const { title, resolution, step, bars } = RANGES[name];
      Object.assign(this, { title, resolution, step, length: bars });
      this.first = Math.floor(now() / step) * step - (bars - 1) * step;
    } else {
      const { from, to } = between(route);
      const { resolution, step } = STEPS.find((each) => now() - from < each.kept && (to - from) / each.step <= each.most)
        ?? STEPS.at(-1);
      Object.assign(this, { resolution, step });
      this.first = Math.floor(from / step) * step;
      this.length = Math.min(Math.max(Math.ceil((to - this.first) / step), 1), 1000);
      this.title = `${dayAndTime.format(this.first)} – ${dayAndTime.format(this.end)}`;
    }
    this.isDays = this.step === DAY;
  }

  get end() {
    return this.first + this.length * this.step;
  }

  /** Query parameters of a history request. */
  get parameters() {
    const to = this.isLive ? {} : { to: Math.max(this.end / 1000 - 1, this.first / 1000) };
    return { resolution: this.resolution, from: this.first / 1000, ...to };
  }

  /** What one bar covers, such as `15 minutes`. */
  get unit() {
    return UNITS[this.step];
  }

  /** The bar that is still growing, or null. */
  get running() {
    const index = Math.floor((now() - this.first) / this.step);
    return index >= 0 && index < this.length ? index : null;
  }

  index(bucket) {
    const index = Math.floor((Date.parse(bucket.start) - this.first) / this.step);
    return index >= 0 && index < this.length ? index : null;
  }

  /** One number per bar: the sum of `value(bucket)` over its buckets. */
  sum(buckets, value) {
    const sums = new Array(this.length).fill(0);
    for (const bucket of buckets) {
      const index = this.index(bucket);
      if (index !== null) sums[index] += value(bucket);
    }
    return sums;
  }

  /**
   * Whether there is data for each bar. `buckets` are the gateway's: a gateway without any traffic was not monitored.
   * The running bar counts as known.
   */
  known(buckets) {
    const known = new Array(this.length).fill(false);
    for (const bucket of buckets) {
      const index = this.index(bucket);
      if (index !== null) known[index] = true;
    }
    if (this.running !== null) known[this.running] = true;
    return known;
  }

  /** Start of bar `index`, in milliseconds since the epoch. */
  start(index) {
    return this.first + index * this.step;
  }

  /** The time of bar `index` as text. Days are in UTC, as in the API. */
  name(index) {
    const start = this.start(index);
    const soFar = index === this.running ? ', so far' : '';
    if (this.isDays) return `${utcDay.format(start)} (UTC)${soFar}`;
    return `${dayAndTime.format(start)} – ${time.format(start + this.step)}${soFar}`;
  }

  /** The time axis label of bar `index`, or null for none. */
  tick(index) {
    const start = this.start(index);
    if (this.isDays) return utcDate.format(start);
    const date = new Date(start);
    if (this.length * this.step > 2 * DAY) return date.getHours() === 0 ? weekday.format(start) : null;
    if (this.length > 48 && (date.getMinutes() !== 0 || date.getHours() % 3 !== 0)) return null;
    return time.format(start);
  }
}

/**
 * The history at `path` for a period. If the gateway does not store the resolution, there are no buckets and
 * `problem` is the reason; the rest of the view still works.
 */
export async function readHistory(path, period, more = {}) {
  try {
    return await get(path, { ...period.parameters, ...more });
  } catch (error) {
    if (error.status !== 400) throw error;
    return { buckets: [], problem: `No history for this range: ${error.message}` };
  }
}

const options = { hour: '2-digit', minute: '2-digit' };
const time = new Intl.DateTimeFormat('en-GB', options);
const dayAndTime = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric', month: 'short', ...options });
const weekday = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric' });
const utcDate = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' });
const utcDay = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric', month: 'short', timeZone: 'UTC' });

/** The text of a datetime-local input, in the browser's time zone. */
function localText(milliseconds) {
  const date = new Date(milliseconds);
  return new Date(milliseconds - date.getTimezoneOffset() * MINUTE).toISOString().slice(0, 16);
}

/** The control that selects the period: links to the ranges, and any time from and to. */
export class PeriodControl {
  constructor(navigate) {
    this.links = Object.entries(RANGES).map(([name, range]) => [name, h('a', {}, range.label)]);
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
        navigate({ from, to, range: null });
      } },
      h('div', { class: 'field' }, h('label', { for: 'from' }, 'From'), this.from),
      h('div', { class: 'field' }, h('label', { for: 'to' }, 'To'), this.to),
      h('button', { type: 'submit', class: 'quiet' }, 'Show')));
    this.to.addEventListener('input', () => this.to.setCustomValidity(''));
    this.node = h('nav', { class: 'ranges', 'aria-label': 'Time range' }, ...this.links.map(([, link]) => link), this.details);
  }

  /** Show what `route` selects. All other parameters of the address stay. */
  update(route) {
    const selected = rangeOf(route);
    for (const [name, link] of this.links) {
      setAttribute(link, 'href', route.with({ range: name, from: null, to: null }));
      setAttribute(link, 'aria-current', name === selected ? 'true' : null);
    }
    setAttribute(this.custom, 'data-current', selected === null);
    const period = new Period(route);
    this.from.value = localText(period.first);
    this.to.value = localText(period.end);
  }
}
