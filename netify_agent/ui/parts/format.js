// Formats numbers, times and device names. Elements carry the exact value in `value` or `datetime`, and in `title`.

import { h, setAttribute, setText, show } from './dom.js';

const PREFIXES = ['', 'k', 'M', 'G', 'T', 'P', 'E'];
const whole = new Intl.NumberFormat('en');
const exactTime = new Intl.DateTimeFormat('en-GB', { dateStyle: 'full', timeStyle: 'long' });
const shortDate = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
const longDate = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });

/** Three significant digits and an SI prefix: 1234567 becomes ['1.23', 'M']. */
function scaled(value) {
  let index = 0;
  let scaledValue = value;
  while (scaledValue >= 999.5 && index < PREFIXES.length - 1) {
    scaledValue /= 1000;
    index += 1;
  }
  if (index === 0) return [String(Math.round(scaledValue)), ''];
  return [scaledValue.toPrecision(3), PREFIXES[index]];
}

/** An integer with thousands separators. */
export function count(value) {
  return whole.format(value);
}

/** `3 devices`, `1 device`. */
export function plural(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** Bytes with a decimal prefix (1 kB = 1000 bytes). */
export function bytes(value) {
  const [digits, prefix] = scaled(value);
  return `${digits} ${prefix}B`;
}

/** Bits per second with a decimal prefix. */
export function rate(value) {
  const [digits, prefix] = scaled(value);
  return `${digits} ${prefix}bit/s`;
}

/** A duration in one unit: seconds, minutes, hours or, from 48 hours, days. */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  if (hours < 48) return `${hours} h`;
  return plural(Math.round(hours / 24), 'day');
}

/** A point in time with full date and time, in the browser's time zone. */
export function exact(milliseconds) {
  return exactTime.format(milliseconds);
}

// Ages are relative to the gateway's clock. `api.js` measures its offset from the browser's clock.
let skew = 0;

/** Set the gateway's clock minus the browser's clock, in milliseconds. */
export function setSkew(milliseconds) {
  skew = milliseconds;
}

/** The time of the gateway's clock, in milliseconds since the epoch. */
export function now() {
  return Date.now() + skew;
}

/** A date such as `24 Oct`, with the year unless it is the current one. */
export function date(milliseconds) {
  const isThisYear = new Date(milliseconds).getFullYear() === new Date(now()).getFullYear();
  return (isThisYear ? shortDate : longDate).format(milliseconds);
}

function ago(milliseconds) {
  const age = now() - milliseconds;
  return age < 5000 ? 'just now' : `${duration(age)} ago`;
}

/**
 * A `<data>` element. `update(value, text, unit)`: `text` formats the value, `unit` is shown with the exact value.
 * The value null is unknown.
 */
export function figure(kind = '') {
  const node = h('data', { class: kind }, '–');
  return {
    node,
    update(value, text, unit) {
      setText(node, value === null ? '–' : text(value));
      setAttribute(node, 'value', value);
      setAttribute(node, 'title', value === null ? null : `${count(value)} ${unit}`);
    },
  };
}

/** A figure in bytes. */
export function bytesFigure(kind) {
  const { node, update } = figure(kind);
  return { node, update: (value) => update(value, bytes, 'bytes') };
}

// Without data from netifyd, the API's rates fall to 0, which is not a measurement.
let ratesKnown = true;

/** Whether current rates are known. Rates that are not known are shown as a dash. */
export function setRatesKnown(known) {
  ratesKnown = known;
}

/** Whether current rates are known. */
export function areRatesKnown() {
  return ratesKnown;
}

/** A figure in bits per second: a current rate. */
export function rateFigure(kind) {
  const { node, update } = figure(kind);
  return { node, update: (value) => update(ratesKnown ? value : null, rate, 'bits per second') };
}

let asOf = null;

/** Mark current figures as figures of a time in the past (milliseconds since the epoch), or as current: null. */
export function setAsOf(milliseconds) {
  asOf = milliseconds;
  for (const node of document.querySelectorAll('.as-of')) showAsOf(node);
}

function showAsOf(node) {
  show(node, asOf !== null);
  const time = node.querySelector('time');
  setAttribute(time, 'datetime', asOf === null ? null : new Date(asOf).toISOString());
  if (asOf !== null) setText(time, ago(asOf));
}

/** The label of a current figure. During an outage it includes the time of the figure. */
export function nowLabel(text) {
  const age = h('span', { class: 'as-of' }, ', ', h('time', { class: 'relative' }));
  showAsOf(age);
  return h('span', {}, text, age);
}

/** A `<time>` element that shows the age, such as `5 min ago`; `refreshTimes` keeps it current. */
export function relativeTime() {
  const node = h('time', { class: 'relative' });
  return {
    node,
    /** `text`: an RFC 3339 time, or null. */
    update(text) {
      setAttribute(node, 'datetime', text);
      const moment = text === null ? NaN : Date.parse(text);
      setAttribute(node, 'title', Number.isNaN(moment) ? null : exact(moment));
      setText(node, Number.isNaN(moment) ? '–' : ago(moment));
    },
  };
}

/** Update all ages on the page. */
export function refreshTimes() {
  for (const node of document.querySelectorAll('time.relative[datetime]')) {
    setText(node, ago(Date.parse(node.getAttribute('datetime'))));
  }
}

const collator = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

/** Compare texts for sorting: ignores case, orders numbers by value. */
export function compareText(a, b) {
  return collator.compare(a, b);
}

const NEW_MS = 24 * 3600_000;

/** Whether a device was first seen within the last 24 hours. */
export function isNew(device) {
  return device.first_seen !== null && now() - Date.parse(device.first_seen) < NEW_MS;
}

/** The display name of a device: its name, IP address or MAC address. */
export function deviceLabel(device) {
  return device.name ?? device.ip ?? device.mac;
}

/** The identifier of a device in the API: its MAC or IP address, or `other` for the group of other devices. */
export function deviceId(device) {
  return device.mac ?? device.ip ?? device.name;
}

/** A category tag as words: `streaming-media` becomes `streaming media`. */
export function words(tag) {
  return tag === null ? '' : tag.replaceAll('-', ' ');
}
