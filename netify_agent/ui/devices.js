// All devices, to search and to sort.

import { devicePath, get } from './api.js';
import { Sparkline } from './chart.js';
import { h, icon, setText } from './dom.js';
import { bytes, compareText, deviceId, deviceLabel, plural } from './format.js';
import { deviceCell, downColumn, emptyNote, listOrNote, nowColumn, timeColumn, upColumn } from './parts.js';
import { Steps, rangeLinks, rangeOf } from './ranges.js';
import { Table } from './table.js';

const FIELDS = 'mac,ip,name,vendor,first_seen,last_seen,active,bytes_up,bytes_down,rate_up,rate_down';
const CURVES_AT_ONCE = 3;
const CURVES_AFTER_MS = 200; // of rest: who scrolls past asks for nothing
const WHOLE_AFTER_MS = 60_000; // a device that falls silent is in no flush

/** The table of devices. */
export class Devices {
  constructor(route) {
    this.title = 'Devices';
    this.devices = new Map();
    this.readAt = 0;
    this.curves = new Curves(rangeOf(route));
    this.summary = h('p', { class: 'lead', role: 'status' }, '\u00a0');
    this.search = h('input', {
      type: 'search', id: 'search', placeholder: 'Name, vendor, MAC or IP', autocomplete: 'off', spellcheck: 'false',
      oninput: () => this.filter(true),
    });
    this.table = new Table({
      caption: 'Devices', key: deviceId, sort: { id: 'rate', descending: true },
      onview: (devices) => this.curves.want(devices),
      columns: [
        { id: 'name', label: 'Device', style: 'main', cell: deviceCell,
          compare: (one, other) => compareText(deviceLabel(one), deviceLabel(other)) },
        nowColumn(),
        { id: 'curve', label: this.curves.label, style: 'curve middle', cell: () => this.curves.cell() },
        downColumn('middle'), upColumn(),
        timeColumn('first_seen', 'First seen'), timeColumn('last_seen', 'Last seen'),
      ],
    });
    this.nobody = emptyNote('No device has been seen yet.', 'They show up by themselves, with their first traffic.');
    this.nothing = emptyNote('No device is like that.', 'The search looks at names, vendors, MAC and IP addresses.');
    this.node = h('div', { class: 'page' }, h('h1', {}, 'Devices'), this.summary,
      h('div', { class: 'tools' },
        h('div', { class: 'field search' }, h('label', { for: 'search', class: 'hidden' }, 'Search devices'), icon('search'), this.search),
        rangeLinks(route)),
      this.table.node, this.nobody, this.nothing);
    listOrNote(this.table.node, this.nobody, false);
    listOrNote(this.table.node, this.nothing, false);
  }

  close() {
    this.table.close();
    this.curves.close();
  }

  async refresh(flush) {
    const isFresh = Date.now() - this.readAt < WHOLE_AFTER_MS;
    if (flush && isFresh && flush.devices.every((change) => this.devices.has(change.device))) {
      for (const change of flush.devices) Object.assign(this.devices.get(change.device), change);
    } else {
      const network = await get('', { fields: FIELDS });
      this.devices = new Map(network.devices.map((device) => [deviceId(device), device]));
      this.readAt = Date.now();
    }
    this.filter(false);
  }

  filter(asked) {
    const wanted = this.search.value.trim().toLowerCase();
    const all = [...this.devices.values()];
    const found = wanted ? all.filter((device) => [device.name, device.vendor, device.mac, device.ip]
      .some((text) => text !== null && text.toLowerCase().includes(wanted))) : all;
    if (asked) this.table.reset(found);
    else this.table.set(found);
    const active = all.filter((device) => device.active).length;
    setText(this.summary, wanted
      ? `${plural(found.length, 'device')} of ${all.length} found`
      : `${plural(all.length, 'device')}, ${active} active`);
    listOrNote(this.table.node, this.nobody, all.length === 0);
    if (all.length) listOrNote(this.table.node, this.nothing, found.length === 0);
  }
}

/** Curves of what devices moved, read for those in sight only. */
class Curves {
  constructor(rangeName) {
    this.steps = new Steps(rangeName);
    this.label = `In the ${this.steps.range.words}`;
    this.known = new Map();
    this.cells = new Map();
    this.wanted = [];
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
    const values = this.known.get(id) ?? null;
    const sum = values === null ? '' : `${bytes(values.reduce((total, value) => total + value, 0))} ${this.label.toLowerCase()}`;
    this.cells.get(id)?.set(values, sum);
  }

  want(devices) {
    this.wanted = devices.map(deviceId).filter((id) => !this.known.has(id));
    clearTimeout(this.timer);
    if (this.wanted.length) this.timer = setTimeout(() => this.read(), CURVES_AFTER_MS);
  }

  read() {
    while (this.wanted.length && this.running < CURVES_AT_ONCE && !this.abort.signal.aborted) {
      const id = this.wanted.shift();
      this.running += 1;
      this.readOne(id).finally(() => {
        this.running -= 1;
        this.read();
      });
    }
  }

  async readOne(id) {
    let values = null;
    try {
      const history = await get(`${devicePath(id)}/history`, this.steps.parameters, this.abort.signal);
      values = this.steps.sum(history.buckets, (bucket) => bucket.bytes_up + bucket.bytes_down);
    } catch {
      // A curve less; what is wrong with the API is told by everything else.
    }
    this.known.set(id, values);
    this.show(id);
  }
}
