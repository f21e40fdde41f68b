// The Devices page: a searchable, sortable table of all devices with their recent traffic.

import { devicePath, get } from './api.js';
import { Sparkline } from './chart.js';
import { h, icon, setText } from './dom.js';
import { bytes, compareText, count, deviceId, deviceLabel, plural } from './format.js';
import { deviceCell, downColumn, emptyNote, listOrNote, nowColumn, timeColumn, upColumn } from './parts.js';
import { Steps, rangeLinks, rangeOf } from './ranges.js';
import { Table } from './table.js';

const FIELDS = 'mac,ip,name,vendor,first_seen,last_seen,active,bytes_up,bytes_down,rate_up,rate_down';
const MAX_CURVE_REQUESTS = 3; // at the same time
const CURVE_DELAY_MS = 200; // no requests while the user scrolls past
const FULL_REFRESH_MS = 60_000; // flushes do not list devices that became inactive

/** The Devices page. */
export class Devices {
  constructor(route) {
    this.title = 'Devices';
    this.devices = new Map();
    this.readAt = 0;
    this.curves = new Curves(rangeOf(route));
    this.summary = h('p', { class: 'lead', role: 'status' }, '\u00a0');
    this.search = h('input', {
      type: 'search', id: 'search', placeholder: 'Name, vendor, MAC or IP address', autocomplete: 'off', spellcheck: 'false',
      oninput: () => this.filter(true),
    });
    this.table = new Table({
      caption: 'Devices', key: deviceId, sort: { id: 'rate', descending: true },
      onview: (devices) => this.curves.request(devices),
      columns: [
        { id: 'name', label: 'Device', style: 'main', cell: deviceCell,
          compare: (a, b) => compareText(deviceLabel(a), deviceLabel(b)) },
        nowColumn(),
        { id: 'curve', label: this.curves.label, style: 'curve middle', cell: () => this.curves.cell() },
        downColumn('middle'), upColumn(),
        timeColumn('first_seen', 'First seen'), timeColumn('last_seen', 'Last seen'),
      ],
    });
    this.empty = emptyNote('No devices yet', 'Devices appear as soon as they send traffic.');
    this.noMatch = emptyNote('No devices match this search', 'You can search by name, vendor, MAC or IP address.');
    this.node = h('div', { class: 'page' }, h('h1', {}, 'Devices'), this.summary,
      h('div', { class: 'tools' },
        h('div', { class: 'field search' }, h('label', { for: 'search', class: 'hidden' }, 'Search devices'), icon('search'), this.search),
        rangeLinks(route)),
      this.table.node, this.empty, this.noMatch);
    listOrNote(this.table.node, this.empty, false);
    listOrNote(this.table.node, this.noMatch, false);
  }

  close() {
    this.table.close();
    this.curves.close();
  }

  async refresh(flush) {
    const isFresh = Date.now() - this.readAt < FULL_REFRESH_MS;
    if (flush && isFresh && flush.devices.every((change) => this.devices.has(change.device))) {
      for (const change of flush.devices) Object.assign(this.devices.get(change.device), change);
    } else {
      const network = await get('', { fields: FIELDS });
      this.devices = new Map(network.devices.map((device) => [deviceId(device), device]));
      this.readAt = Date.now();
    }
    this.filter(false);
  }

  /** Show the devices that match the search. `byUser`: the user has changed the search, so the order may change. */
  filter(byUser) {
    const search = this.search.value.trim().toLowerCase();
    const all = [...this.devices.values()];
    const found = search ? all.filter((device) => [device.name, device.vendor, device.mac, device.ip]
      .some((text) => text !== null && text.toLowerCase().includes(search))) : all;
    if (byUser) this.table.reset(found);
    else this.table.set(found);
    const active = all.filter((device) => device.active).length;
    setText(this.summary, search
      ? `${count(found.length)} of ${plural(all.length, 'device')}`
      : `${plural(all.length, 'device')}, ${count(active)} active`);
    listOrNote(this.table.node, this.empty, all.length === 0);
    if (all.length) listOrNote(this.table.node, this.noMatch, found.length === 0);
  }
}

/** Sparklines of the devices in the viewport. */
class Curves {
  constructor(rangeName) {
    this.steps = new Steps(rangeName);
    this.label = this.steps.range.title;
    this.values = new Map(); // by device; null if the request failed
    this.cells = new Map();
    this.queue = [];
    this.running = 0;
    this.abort = new AbortController();
  }

  close() {
    clearTimeout(this.timer);
    this.abort.abort();
  }

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
    const values = this.values.get(id) ?? null;
    const text = values === null ? '' : `${this.label}: ${bytes(values.reduce((total, value) => total + value, 0))}`;
    this.cells.get(id)?.set(values, text);
  }

  /** Request the history of these devices, unless it is known. */
  request(devices) {
    this.queue = devices.map(deviceId).filter((id) => !this.values.has(id));
    clearTimeout(this.timer);
    if (this.queue.length) this.timer = setTimeout(() => this.readQueue(), CURVE_DELAY_MS);
  }

  readQueue() {
    while (this.queue.length && this.running < MAX_CURVE_REQUESTS && !this.abort.signal.aborted) {
      const id = this.queue.shift();
      this.running += 1;
      this.read(id).finally(() => {
        this.running -= 1;
        this.readQueue();
      });
    }
  }

  async read(id) {
    let values = null;
    try {
      const history = await get(`${devicePath(id)}/history`, this.steps.parameters, this.abort.signal);
      values = this.steps.sum(history.buckets, (bucket) => bucket.bytes_up + bucket.bytes_down);
    } catch {
      // The sparkline stays empty. Other requests report what is wrong with the API.
    }
    this.values.set(id, values);
    this.show(id);
  }
}
