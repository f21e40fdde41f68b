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

const UNITS = { [5 * MINUTE]: '5 minutes', [15 * MINUTE]: '15 minutes', [HOUR]: 'hour', [DAY]: 'day' };

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

/**
 * The period that a route selects, as bars. A range ends now; `isLive` says so. Where hours and days begin is known
 * from the buckets of the first answer: see `align`.
 */
export class Period {
  constructor(route) {
    const name = rangeOf(route);
    this.isLive = name !== null;
    this.buckets = new Map(); // by bar: where its bucket begins and ends; not of bars that are made of several
    if (this.isLive) {
      const { title, resolution, step, bars } = RANGES[name];
      Object.assign(this, { title, resolution, step, length: bars });
      this.first = Math.floor(now() / step) * step - (bars - 1) * step;
      this.from = this.hasBucketPerBar ? this.first - step : this.first;
    } else {
      const { from, to } = between(route);
      const { resolution, step } = STEPS.find((each) => now() - from < each.kept && (to - from) / each.step <= each.most)
        ?? STEPS.at(-1);
      Object.assign(this, { resolution, step, from, to });
      this.first = Math.floor(from / step) * step;
      this.length = Math.min(Math.max(Math.ceil((to - this.first) / step), 1), 1000);
      this.title = `${dayAndTime.format(from)} – ${dayAndTime.format(to)}`;
    }
    this.isDays = this.step === DAY;
  }

  /** Whether a bar is one bucket of the API, which may begin anywhere. Others begin at multiples of their length. */
  get hasBucketPerBar() {
    return this.step >= HOUR;
  }

  get end() {
    return this.start(this.length);
  }

  /** Query parameters of a history request. */
  get parameters() {
    const to = this.isLive ? {} : { to: Math.max(this.to / 1000 - 1, this.from / 1000) };
    return { resolution: this.resolution, from: this.from / 1000, ...to };
  }

  /** Move the bars to where the API's hours and days begin. `buckets`: of an answer, oldest first. */
  align(buckets) {
    if (!this.hasBucketPerBar || !buckets.length) return;
    const { step } = this;
    if (this.isLive) {
      const { start, end } = times(buckets.at(-1));
      const since = now() < end ? 0 : Math.max(Math.floor((now() - start) / step), 0); // bars without traffic
      this.first = start + (since - this.length + 1) * step;
    } else {
      const { start } = times(buckets[0]);
      this.first = start - Math.max(Math.ceil((start - this.from) / step), 0) * step;
      const tolerance = this.isDays ? 2 * HOUR : 0; // a day may be longer than 24 hours
      const last = Math.floor((middle(buckets.at(-1)) - this.first) / step);
      this.length = Math.min(Math.max(Math.ceil((this.to - this.first - tolerance) / step), last + 1, 1), 1000);
    }
    this.buckets = new Map(buckets.map((bucket) => [this.index(bucket), times(bucket)]));
  }

  /** What one bar covers, such as `15 minutes`. */
  get unit() {
    return UNITS[this.step];
  }

  /** The bar that is still growing, or null. */
  get running() {
    if (this.isLive) return this.length - 1;
    const index = Math.floor((now() - this.first) / this.step);
    return index >= 0 && index < this.length ? index : null;
  }

  /** The bar that a bucket belongs to, or null: that of its middle, because not all days have 24 hours. */
  index(bucket) {
    const index = Math.floor((middle(bucket) - this.first) / this.step);
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
    return this.buckets.get(index)?.start ?? this.buckets.get(index - 1)?.end ?? this.first + index * this.step;
  }

  /** The time of bar `index` as text. Days are the gateway's: if they do not begin at midnight here, it says when. */
  name(index) {
    const start = this.start(index);
    const end = this.start(index + 1);
    const soFar = index === this.running ? ', so far' : '';
    if (this.isDays && time.format(start) === '00:00') return `${day.format(start)}${soFar}`;
    return `${dayAndTime.format(start)} – ${(this.isDays ? dayAndTime : time).format(end)}${soFar}`;
  }

  /** The time axis label of bar `index`, or null for none. */
  tick(index) {
    const start = this.start(index);
    if (this.isDays) return date.format(start + this.step / 2);
    const local = new Date(start);
    if (this.length * this.step > 2 * DAY) return local.getHours() === 0 ? weekday.format(start) : null;
    if (this.length > 48 && (local.getMinutes() !== 0 || local.getHours() % 3 !== 0)) return null;
    return time.format(start);
  }
}

const times = (bucket) => ({ start: Date.parse(bucket.start), end: Date.parse(bucket.end) });

function middle(bucket) {
  const { start, end } = times(bucket);
  return (start + end) / 2;
}

/**
 * The history at `path` for a period, whose bars it aligns. If the gateway does not store the resolution, there are no
 * buckets and `problem` is the reason; the rest of the view still works.
 */
export async function readHistory(path, period, more = {}) {
  try {
    const history = await get(path, { ...period.parameters, ...more });
    period.align(history.buckets);
    return { ...history, buckets: history.buckets.filter((bucket) => period.index(bucket) !== null) };
  } catch (error) {
    if (error.status !== 400) throw error;
    return { buckets: [], problem: `No history for this range: ${error.message}` };
  }
}

const options = { hour: '2-digit', minute: '2-digit' };
const time = new Intl.DateTimeFormat('en-GB', options);
const dayAndTime = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric', month: 'short', ...options });
const weekday = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric' });
const date = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
const day = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric', month: 'short' });

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
    this.from.value = localText(period.isLive ? period.first : period.from);
    this.to.value = localText(period.isLive ? period.end : period.to);
  }
}
