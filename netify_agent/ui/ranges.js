// The ranges of time that can be looked at, and histories as one bar for each of their steps.

import { get } from './api.js';
import { h } from './dom.js';
import { now } from './format.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** `resolution` is the API's; `step` and `bars` are what is drawn, in milliseconds and in number. */
export const RANGES = {
  hour: { label: 'Hour', words: 'last hour', resolution: '5m', step: 5 * MINUTE, bars: 12 },
  day: { label: 'Day', words: 'last day', resolution: '5m', step: 15 * MINUTE, bars: 96 },
  week: { label: 'Week', words: 'last week', resolution: '1h', step: HOUR, bars: 168 },
  month: { label: 'Month', words: 'last month', resolution: '1d', step: DAY, bars: 31 },
};

/** The name of the range that a route asks for. */
export function rangeOf(route) {
  return Object.hasOwn(RANGES, route.query.get('range') ?? '') ? route.query.get('range') : 'day';
}

/** The bars of a range that ends now. */
export class Steps {
  constructor(name) {
    this.range = RANGES[name];
    this.isDays = this.range.step === DAY;
    const { step, bars } = this.range;
    this.first = Math.floor(now() / step) * step - (bars - 1) * step;
    this.length = bars;
  }

  /** What to ask the API for. */
  get parameters() {
    return { resolution: this.range.resolution, from: this.first / 1000 };
  }

  /** One number a bar: the sum of `value(bucket)` over the buckets that are in it. */
  sum(buckets, value) {
    const sums = new Array(this.length).fill(0);
    for (const bucket of buckets) {
      const index = Math.floor((Date.parse(bucket.start) - this.first) / this.range.step);
      if (index >= 0 && index < this.length) sums[index] += value(bucket);
    }
    return sums;
  }

  /** When bar `index` begins. */
  start(index) {
    return this.first + index * this.range.step;
  }

  /** The time of bar `index` in words. Days are UTC's, as the API keeps them. */
  name(index) {
    const start = this.start(index);
    if (this.isDays) return `${utcDay.format(start)} (UTC)`;
    return `${dayAndTime.format(start)} – ${time.format(start + this.range.step)}`;
  }

  /** The label below bar `index`, or null where there is none. */
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
 * The history at `path` over `steps`. A resolution that the gateway does not keep makes no buckets and a
 * `problem` that says so: everything else of a view is as good as ever.
 */
export async function readHistory(path, steps, more = {}) {
  try {
    return await get(path, { ...steps.parameters, ...more });
  } catch (error) {
    if (error.status !== 400) throw error;
    return { buckets: [], problem: error.message };
  }
}

const time = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const dayAndTime = new Intl.DateTimeFormat('en-GB', { weekday: 'short', hour: '2-digit', minute: '2-digit' });
const weekday = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric' });
const utcDate = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' });
const utcDay = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric', month: 'short', timeZone: 'UTC' });

/** Links to the same view with another range. */
export function rangeLinks(route) {
  const chosen = rangeOf(route);
  return h('nav', { class: 'ranges', 'aria-label': 'Range of time' }, ...Object.entries(RANGES).map(([name, range]) =>
    h('a', { href: route.with({ range: name }), 'aria-current': name === chosen ? 'true' : null }, range.label)));
}
