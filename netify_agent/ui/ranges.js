// Time ranges of charts: maps history buckets to bars and formats their times.

import { get } from './api.js';
import { h } from './dom.js';
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

/** The name of the range selected by a route; `day` by default. */
export function rangeOf(route) {
  return Object.hasOwn(RANGES, route.query.get('range') ?? '') ? route.query.get('range') : 'day';
}

/** The bars of a range that ends now, as time steps. */
export class Steps {
  constructor(name) {
    this.range = RANGES[name];
    this.isDays = this.range.step === DAY;
    const { step, bars } = this.range;
    this.first = Math.floor(now() / step) * step - (bars - 1) * step;
    this.length = bars;
  }

  /** Query parameters of a history request. */
  get parameters() {
    return { resolution: this.range.resolution, from: this.first / 1000 };
  }

  /** One number per bar: the sum of `value(bucket)` over its buckets. */
  sum(buckets, value) {
    const sums = new Array(this.length).fill(0);
    for (const bucket of buckets) {
      const index = Math.floor((Date.parse(bucket.start) - this.first) / this.range.step);
      if (index >= 0 && index < this.length) sums[index] += value(bucket);
    }
    return sums;
  }

  /** Start of bar `index`, in milliseconds since the epoch. */
  start(index) {
    return this.first + index * this.range.step;
  }

  /** The time of bar `index` as text. Days are in UTC, as in the API. */
  name(index) {
    const start = this.start(index);
    if (this.isDays) return `${utcDay.format(start)} (UTC)`;
    return `${dayAndTime.format(start)} – ${time.format(start + this.range.step)}`;
  }

  /** The time axis label of bar `index`, or null for none. */
  tick(index) {
    const start = this.start(index);
    if (this.isDays) return utcDate.format(start);
    const date = new Date(start);
    if (this.range.step === HOUR) return date.getHours() === 0 ? weekday.format(start) : null;
    if (this.length > 12 && (date.getMinutes() !== 0 || date.getHours() % 3 !== 0)) return null;
    return time.format(start);
  }
}

/**
 * The history at `path` for `steps`. If the gateway does not store the resolution, there are no buckets and
 * `problem` is the reason; the rest of the view still works.
 */
export async function readHistory(path, steps, more = {}) {
  try {
    return await get(path, { ...steps.parameters, ...more });
  } catch (error) {
    if (error.status !== 400) throw error;
    return { buckets: [], problem: `No history for this range: ${error.message}` };
  }
}

const time = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const dayAndTime = new Intl.DateTimeFormat('en-GB', { weekday: 'short', hour: '2-digit', minute: '2-digit' });
const weekday = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric' });
const utcDate = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' });
const utcDay = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric', month: 'short', timeZone: 'UTC' });

/** Links that select the range of the current view. */
export function rangeLinks(route) {
  const selected = rangeOf(route);
  return h('nav', { class: 'ranges', 'aria-label': 'Time range' }, ...Object.entries(RANGES).map(([name, range]) =>
    h('a', { href: route.with({ range: name }), 'aria-current': name === selected ? 'true' : null }, range.label)));
}
