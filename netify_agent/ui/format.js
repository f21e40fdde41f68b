// Figures and times as people read them, always with the exact value beside them (`title`, `value`).

import { h, setAttribute, setText } from './dom.js';

const PREFIXES = ['', 'k', 'M', 'G', 'T', 'P', 'E'];
const whole = new Intl.NumberFormat('en');
const exactTime = new Intl.DateTimeFormat('en-GB', { dateStyle: 'full', timeStyle: 'long' });

/** Three digits and a decimal prefix: 1234567 is ['1.23', 'M']. */
function scaled(value) {
  let index = 0;
  let rest = value;
  while (rest >= 999.5 && index < PREFIXES.length - 1) {
    rest /= 1000;
    index += 1;
  }
  if (index === 0) return [String(Math.round(rest)), ''];
  return [rest.toPrecision(3), PREFIXES[index]];
}

/** Whole numbers with separators. */
export function count(value) {
  return whole.format(value);
}

/** `3 devices`, `1 device`. */
export function plural(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** Bytes in decimal units, as networks count. */
export function bytes(value) {
  const [digits, prefix] = scaled(value);
  return `${digits} ${prefix}B`;
}

/** Bits per second. */
export function rate(value) {
  const [digits, prefix] = scaled(value);
  return `${digits} ${prefix}bit/s`;
}

/** `milliseconds` of a duration in its largest unit. */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  if (hours < 48) return `${hours} h`;
  return plural(Math.round(hours / 24), 'day');
}

/** A moment in full, in the time zone of who looks. */
export function exact(milliseconds) {
  return exactTime.format(milliseconds);
}

// The gateway's clock counts, not that of the machine that looks: `api` learns how far they are apart.
let skew = 0;

/** Tell the difference of the gateway's clock to ours, in milliseconds. */
export function setSkew(milliseconds) {
  skew = milliseconds;
}

/** Now, by the gateway's clock. */
export function now() {
  return Date.now() + skew;
}

function ago(milliseconds) {
  const passed = now() - milliseconds;
  return passed < 5000 ? 'now' : `${duration(passed)} ago`;
}

/** A figure that shows `text` and knows `value`; `unit` names what the exact value counts. */
export function figure(kind = '') {
  const node = h('data', { class: kind }, '–');
  return {
    node,
    update(value, text, unit) {
      setText(node, text(value));
      setAttribute(node, 'value', value);
      setAttribute(node, 'title', `${count(value)} ${unit}`);
    },
  };
}

/** A figure of bytes. */
export function bytesFigure(kind) {
  const { node, update } = figure(kind);
  return { node, update: (value) => update(value, bytes, 'bytes') };
}

/** A figure of bits per second. */
export function rateFigure(kind) {
  const { node, update } = figure(kind);
  return { node, update: (value) => update(value, rate, 'bits per second') };
}

/** A time told as long ago it is; the exact one on hover. It grows old by itself: see `refreshTimes`. */
export function relativeTime() {
  const node = h('time', { class: 'relative' });
  return {
    node,
    /** `text`: RFC 3339, or null. */
    update(text) {
      setAttribute(node, 'datetime', text);
      const moment = text === null ? NaN : Date.parse(text);
      setAttribute(node, 'title', Number.isNaN(moment) ? null : exact(moment));
      setText(node, Number.isNaN(moment) ? '–' : ago(moment));
    },
  };
}

/** Let all relative times of the page be true again. */
export function refreshTimes() {
  for (const node of document.querySelectorAll('time.relative[datetime]')) {
    setText(node, ago(Date.parse(node.getAttribute('datetime'))));
  }
}

const collator = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

/** Order of texts for people: case does not matter, 9 comes before 10. */
export function compareText(one, other) {
  return collator.compare(one, other);
}

/** What a device is called: its name, else what it is addressed by. */
export function deviceLabel(device) {
  return device.name ?? device.ip ?? device.mac;
}

/** What a device goes by in paths of the API; "other" has neither address. */
export function deviceId(device) {
  return device.mac ?? device.ip ?? device.name;
}

/** A category of netifyd as words: `streaming-media` is `streaming media`. */
export function words(tag) {
  return tag === null ? '' : tag.replaceAll('-', ' ');
}
