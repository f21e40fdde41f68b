// The period that a page shows: its place in the address, its bounds and its bars.

import { get } from '../agent/api.js';
import { now } from './format.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Ranges that end now. `resolution`: of the API; `step`: milliseconds per bar; `bars`: number of bars. */
export const RANGES = {
  hour: { label: 'Hour', title: 'Last hour', resolution: '5m', step: 5 * MINUTE, bars: 12 },
  day: { label: '24 hours', title: 'Last 24 hours', resolution: '5m', step: 15 * MINUTE, bars: 96 },
};

/** Periods of the gateway's calendar. */
export const PERIODS = { day: 'Day', week: 'Week', month: 'Month' };

/** Bars of a period between two times: the shortest that is kept for so long and makes no more than `most` bars. */
const STEPS = [
  { resolution: '5m', step: 5 * MINUTE, most: 36, kept: 2 * DAY },
  { resolution: '5m', step: 15 * MINUTE, most: 104, kept: 2 * DAY },
  { resolution: '1h', step: HOUR, most: 336, kept: 31 * DAY },
  { resolution: '1d', step: DAY, most: 400, kept: Infinity },
];

const UNITS = { [5 * MINUTE]: '5 minutes', [15 * MINUTE]: '15 minutes', [HOUR]: 'hour', [DAY]: 'day' };

/**
 * What a route selects: `{range}`, `{period, at}` (`at`: seconds since the epoch, or null for the current period) or
 * `{from, to}` in milliseconds since the epoch. By default the current month on the Usage page, elsewhere 24 hours.
 */
export function selected(route) {
  const [from, to] = ['from', 'to'].map((name) => Number(route.get(name) ?? NaN) * 1000);
  if (from > 0 && to > from && to < 8.64e15) return { from, to };
  const range = route.get('range') ?? '';
  if (Object.hasOwn(RANGES, range)) return { range };
  const period = route.get('period') ?? range; // `range=week` and `range=month` are earlier addresses
  const at = Number(route.get('at') ?? NaN);
  if (Object.hasOwn(PERIODS, period)) return { period, at: at > 0 && at * 1000 < now() ? at : null };
  return route.view === 'usage' ? { period: 'month', at: null } : { range: 'day' };
}

/** Query parameters of the address that select the same period on another page. */
export function periodParameters(route) {
  return Object.fromEntries(['range', 'period', 'at', 'from', 'to'].map((name) => [name, route.get(name)]));
}

const calendar = new Map(); // periods that the agent was asked for, by kind and moment

/**
 * Start and end of a period of the gateway's calendar, in milliseconds since the epoch, and the calendar's time zone.
 * `at`: seconds since the epoch, or null for the current period.
 */
async function boundsOf(period, at) {
  const key = `${period} ${at}`;
  const known = calendar.get(key);
  if (known && (at !== null || now() < known.to)) return known;
  const answer = await get('usage', { by: 'interface', period, at, limit: 1, fields: 'key' });
  const bounds = { from: Date.parse(answer.period.start), to: Date.parse(answer.period.end), zone: answer.timezone };
  calendar.set(key, bounds);
  return bounds;
}

/** The period that a route selects. `most`: the largest number of bars of a calendar period or a time from and to. */
export async function readPeriod(route, most = Infinity) {
  const selection = selected(route);
  const bounds = selection.period ? await boundsOf(selection.period, selection.at) : null;
  return new Period({ ...selection, ...bounds }, most);
}

/** The period before: of the same kind, or of the same length. Its bars have the same length. */
export async function readPeriodBefore(period, most) {
  const { kind, from, to } = period;
  const bounds = kind ? await boundsOf(kind, from / 1000 - 1)
    : { from: period.start(0) - (period.end - period.start(0)), to: period.start(0) };
  return new Period({ period: kind, ...bounds }, most, { resolution: period.resolution, step: period.step });
}

/**
 * A period as bars. A range ends now; `isLive` says so. `kind`: day, week or month of the gateway's calendar, or null.
 * Where hours and days of other periods begin is known from the buckets of the first answer: see `align`.
 */
export class Period {
  /** `selection`: of `selected`, with the bounds of a calendar period. `bars`: its resolution and step, if given. */
  constructor({ range, period = null, from, to, zone }, most = Infinity, bars = null) {
    this.isLive = range !== undefined;
    this.kind = period;
    this.zone = zone;
    this.buckets = new Map(); // by bar: where its bucket begins and ends; not of bars that are made of several
    if (this.isLive) {
      const { title, resolution, step, bars: length } = RANGES[range];
      Object.assign(this, { title, resolution, step, length });
      this.first = Math.floor(now() / step) * step - (length - 1) * step;
      this.from = this.first;
    } else {
      const { resolution, step } = bars ?? STEPS.find((each) => now() - from < each.kept
        && (to - from) / each.step <= Math.min(each.most, most)) ?? STEPS.at(-1);
      Object.assign(this, { resolution, step, from, to });
      this.first = period ? from : Math.floor(from / step) * step;
      const count = (to - this.first) / step; // not whole where the clock is set
      this.length = Math.min(Math.max(period ? Math.round(count) : Math.ceil(count), 1), 1000);
      this.title = period ? calendarTitle(period, from, to, zone) : `${dayAndTime.format(from)} – ${dayAndTime.format(to)}`;
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

  /** Query parameters of a usage request for what the bars show. Call `align` before. */
  get usageParameters() {
    if (this.kind) return { period: this.kind, at: now() < this.to ? null : this.from / 1000 };
    return { from: this.start(0) / 1000, to: this.isLive || this.end > now() ? null : this.end / 1000 };
  }

  /** Whether the period has not ended. */
  get isCurrent() {
    return this.isLive || now() < this.to;
  }

  /** Move the bars to where the API's hours and days begin. `buckets`: of an answer, oldest first. */
  align(buckets) {
    if (!this.hasBucketPerBar || !buckets.length) return;
    if (!this.kind) {
      const { step } = this;
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
    if (this.kind && now() >= this.to) return null;
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
   * The running bar and those ahead count as known.
   */
  known(buckets) {
    const known = new Array(this.length).fill(false);
    for (const bucket of buckets) {
      const index = this.index(bucket);
      if (index !== null) known[index] = true;
    }
    if (this.running !== null) known.fill(true, this.running);
    return known;
  }

  /** Whether bar `index` has not begun. */
  isAhead(index) {
    return this.running !== null && index > this.running;
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

/** A format of moments in the gateway's time zone; in the browser's if the browser does not know it. */
function inZone(options, zone) {
  try {
    return new Intl.DateTimeFormat('en-GB', { ...options, timeZone: zone });
  } catch {
    return new Intl.DateTimeFormat('en-GB', options);
  }
}

/** A stretch of time, such as `1 Oct – 31 Oct` or `30 Nov, 10:00 – 12:35`, in the gateway's time zone. */
export function between(from, to, zone) {
  const format = inZone({ day: 'numeric', month: 'short' }, zone);
  const clock = inZone(options, zone);
  const [first, last] = [from, to - 1].map((moment) => format.format(moment));
  const isDays = [from, to].every((moment) => clock.format(moment) === '00:00');
  if (isDays) return first === last ? first : `${first} – ${last}`;
  return `${first}, ${clock.format(from)} – ${first === last ? '' : `${last}, `}${clock.format(to)}`;
}

/** What the sums of a period of `/usage` cover. */
export const covered = ({ covered_start, covered_end }, zone) => between(Date.parse(covered_start), Date.parse(covered_end), zone);

/** The times that the sums of a document of `/usage` cover, after the name of the period, if it has one. */
export function timesText(period, { period: used, timezone }) {
  const isOtherZone = inZone(options, timezone).resolvedOptions().timeZone !== time.resolvedOptions().timeZone;
  const times = `${covered(used, timezone)}${isOtherZone ? ` (${timezone})` : ''}`;
  if (period.isLive) return `${period.title} · ${times}`;
  return period.kind ? `${period.title}${period.isCurrent ? ', so far' : ''} · ${times}` : times;
}

/** The name of a calendar period, such as `This month`, `October 2026` or `Mon 2 Nov – Sun 8 Nov`. */
function calendarTitle(period, from, to, zone) {
  const format = (moment, options) => inZone(options, zone).format(moment);
  if (from <= now() && now() < to) return period === 'day' ? 'Today' : `This ${period}`;
  if (period === 'month' && format(from, { day: 'numeric' }) === '1') return format(from, { month: 'long', year: 'numeric' });
  const options = { day: 'numeric', month: 'short', ...(period === 'month' ? { year: 'numeric' } : { weekday: 'short' }) };
  return period === 'day' ? format(from, options) : `${format(from, options)} – ${format(to - 1, options)}`;
}

/** Parameters of the address that select no period. */
export const NONE = { range: null, period: null, at: null, from: null, to: null };

/** The period selected by dragging over some bars of `period`, as parameters of the address. */
export function zoomParameters(period, first, last) {
  return { ...NONE, from: period.start(first) / 1000, to: period.start(last + 1) / 1000 };
}
