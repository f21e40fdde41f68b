// The sparklines of the rows of a table: read for the rows in the viewport, and again once they are a minute old.

import { devicePath, get } from '../agent/api.js';
import { bytes, deviceId } from './format.js';
import { Sparkline } from './sparkline.js';

const MAX_REQUESTS = 3; // at the same time
const DELAY_MS = 200; // no requests while the user scrolls past
const FRESH_MS = 60_000;

/** Sparklines of the devices in the viewport. */
export class Curves {
  constructor() {
    this.values = new Map(); // by device: `{values, at}`; the values are null if the request failed
    this.cells = new Map();
    this.queue = [];
    this.running = 0;
    this.abort = new AbortController();
  }

  /** Show another period. */
  setPeriod(period) {
    if (this.period && this.period.title === period.title && this.period.first === period.first) return;
    const isOther = this.period?.title !== period.title;
    this.period = period;
    if (!isOther) return; // the same range, which has moved on: what is shown is replaced when it is a minute old
    this.abort.abort();
    this.abort = new AbortController();
    this.values.clear();
    for (const id of this.cells.keys()) this.show(id);
  }

  close() {
    clearTimeout(this.timer);
    this.abort.abort();
  }

  /** A cell of the table, for its column's `cell`. */
  cell() {
    const curve = new Sparkline();
    let shown = null;
    return {
      node: curve.node,
      update: (device) => {
        const id = deviceId(device);
        if (shown !== id && this.cells.get(shown) === curve) this.cells.delete(shown);
        shown = id;
        this.cells.set(id, curve);
        this.show(id);
      },
    };
  }

  show(id) {
    const values = this.values.get(id)?.values ?? null;
    const text = values === null ? '' : `${this.period.title}: ${bytes(values.reduce((total, value) => total + value, 0))}`;
    this.cells.get(id)?.set(values, text);
  }

  /** Request the history of these devices, unless it is fresh. */
  request(devices) {
    const isStale = (id) => !this.values.has(id) || Date.now() - this.values.get(id).at > FRESH_MS;
    this.queue = devices.map(deviceId).filter(isStale);
    clearTimeout(this.timer);
    if (this.queue.length) this.timer = setTimeout(() => this.readQueue(), DELAY_MS);
  }

  readQueue() {
    while (this.queue.length && this.running < MAX_REQUESTS && !this.abort.signal.aborted) {
      const id = this.queue.shift();
      this.running += 1;
      this.read(id).finally(() => {
        this.running -= 1;
        this.readQueue();
      });
    }
  }

  async read(id) {
    const { signal } = this.abort;
    const { period } = this;
    let values = null;
    try {
      const history = await get(`${devicePath(id)}/history`, period.parameters, signal);
      period.align(history.buckets);
      values = period.sum(history.buckets, (bucket) => bucket.bytes_up + bucket.bytes_down);
    } catch {
      // The sparkline stays empty. Other requests report what is wrong with the API.
    }
    if (signal.aborted) return;
    this.values.set(id, { values, at: Date.now() });
    this.show(id);
  }
}
