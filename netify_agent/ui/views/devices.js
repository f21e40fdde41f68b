// The Devices page: a searchable, sortable table of all devices, with what each moved in a period.

import { get } from '../agent/api.js';
import { Curves } from '../parts/curves.js';
import { downColumn, nowColumn, timeColumn, totalColumn, upColumn } from '../parts/columns.js';
import { h, setText, show } from '../parts/dom.js';
import { compareText, count, deviceId, deviceLabel, plural } from '../parts/format.js';
import { periodParameters, readPeriod } from '../parts/period.js';
import { PeriodControl } from '../parts/period_control.js';
import { PeriodSums } from '../parts/period_sums.js';
import { Balance, deviceCell, emptyNote, listOrNote, searchField } from '../parts/pieces.js';
import { field, fillSelect, groupChoices } from '../parts/select.js';
import { Table } from '../parts/table.js';

const FIELDS = 'mac,ip,name,groups,vendor,randomized,first_seen,last_seen,active,rate_up,rate_down';
const FULL_REFRESH_MS = 60_000; // flushes do not list devices that became inactive

const BALANCE = {
  devices: ['', 'Devices in this list'],
  forgotten: ['+', 'Forgotten devices', 'removed from the list after a long silence'],
  unattributed: ['+', 'Without a device', 'netifyd did not say whose connections these were'],
  local: ['−', 'Between devices', 'counted for both of them'],
  totals: ['=', 'Gateway', 'each connection once'],
};

/** The Devices page. */
export class Devices {
  constructor(route, navigate) {
    this.title = 'Devices';
    this.devices = new Map();
    this.readAt = -Infinity;
    this.curves = new Curves();
    this.control = new PeriodControl(navigate);
    this.sums = new PeriodSums('device');
    this.summary = h('p', { class: 'lead', role: 'status' }, '\u00a0');
    this.search = searchField('Search devices', 'Name, vendor, MAC or IP address', (text) => navigate({ q: text }));
    this.active = h('input', { type: 'checkbox', onchange: () => navigate({ active: this.active.checked ? 'true' : null }) });
    this.group = h('select', { id: 'group', onchange: () => navigate({ group: this.group.value }) });
    this.groupField = field('Group', this.group);
    this.table = new Table({
      caption: 'Devices', key: deviceId, sort: { id: 'rate', descending: true },
      onview: (devices) => this.curves.request(devices),
      onsort: () => navigate({ sort: this.table.sortText }),
      columns: [
        { id: 'name', label: 'Device', style: 'main', cell: () => deviceCell(() => periodParameters(this.route)),
          compare: (a, b) => compareText(deviceLabel(a), deviceLabel(b)) },
        nowColumn(),
        { id: 'curve', label: 'Over time', style: 'curve middle', cell: () => this.curves.cell() },
        downColumn(), upColumn(), totalColumn(),
        timeColumn('first_seen', 'First seen'), timeColumn('last_seen', 'Last seen'),
      ],
    });
    this.balance = new Balance('How the list adds up', BALANCE);
    this.empty = emptyNote('No devices yet', 'Devices appear as soon as they send traffic.');
    this.noMatch = emptyNote('No devices match these filters', 'You can search by name, vendor, MAC or IP address.');
    this.node = h('div', { class: 'page' }, h('h1', {}, 'Devices'), this.summary,
      h('div', { class: 'tools' }, this.search.node, this.groupField, h('label', { class: 'check' }, this.active, 'Active only'), this.control.node),
      h('div', { class: 'about' }, this.sums.note, this.sums.csv.node), this.table.node, this.empty, this.noMatch, this.balance.node);
    for (const node of [this.groupField, this.empty, this.noMatch, this.balance.node]) show(node, false);
  }

  close() {
    this.table.close();
    this.curves.close();
  }

  setRoute(route) {
    this.route = route;
    this.control.update(route);
    if (this.search.input.value !== (route.get('q') ?? '')) this.search.input.value = route.get('q') ?? '';
    this.active.checked = route.get('active') === 'true';
    if (this.table.sortText !== route.get('sort')) this.table.sortText = route.get('sort');
    if (this.devices.size) this.show(true);
    const period = JSON.stringify(periodParameters(route));
    const isOther = period !== this.period;
    this.period = period;
    return isOther || this.devices.size === 0; // all else is shown from what was read
  }

  async refresh(flush) {
    const isFresh = Date.now() - this.readAt < FULL_REFRESH_MS;
    const shown = this.period;
    const period = await readPeriod(this.route);
    await this.sums.read(period);
    if (flush && isFresh && flush.devices.every((change) => this.devices.has(change.device))) {
      for (const change of flush.devices) Object.assign(this.devices.get(change.device), change);
    } else {
      const { devices } = await get('', { fields: FIELDS });
      this.devices = new Map(devices.map((device) => [deviceId(device), device]));
      this.readAt = Date.now();
    }
    if (shown !== this.period) return; // the user has moved on; another refresh follows
    this.control.show(period);
    this.curves.setPeriod(period);
    this.show(false);
  }

  /** Show the devices that match. `byUser`: the user has changed what is shown, so the order may change. */
  show(byUser) {
    const search = this.search.input.value.trim().toLowerCase();
    const all = [...this.devices.values()].map((device) => ({ ...device, ...this.sums.of(deviceId(device)) }));
    const group = this.route.get('group') || null;
    const groups = groupChoices(all);
    fillSelect(this.group, 'All groups', group, groups);
    show(this.groupField, groups.length > 0 || group !== null);
    const found = all.filter((device) => (!this.active.checked || device.active)
      && (group === null || device.groups.includes(group))
      && (!search || [device.name, device.vendor, device.mac, device.ip].some((text) => text !== null && text.toLowerCase().includes(search))));
    if (byUser) this.table.reset(found);
    else this.table.set(found);
    const active = all.filter((device) => device.active).length;
    setText(this.summary, found.length < all.length
      ? `${count(found.length)} of ${plural(all.length, 'device')}`
      : `${plural(all.length, 'device')}, ${count(active)} active`);
    listOrNote(this.table.node, this.empty, all.length === 0);
    if (all.length) listOrNote(this.table.node, this.noMatch, found.length === 0);
    this.sums.linkCsv(this.table.sort, { group });
    this.sums.csv.setLabel(search || this.active.checked ? 'Download CSV of all devices' : 'Download CSV');
    if (this.sums.isComplete) this.balance.update(added(this.sums.document));
    show(this.balance.node, all.length > 0 && found.length === all.length && this.sums.isComplete);
  }
}

/** The lines of the balance. `document`: of `/usage` by device. */
function added({ usage, totals, forgotten, unattributed, local }) {
  const sum = (side) => usage.reduce((all, row) => all + row[side], 0);
  return { devices: { bytes_down: sum('bytes_down'), bytes_up: sum('bytes_up') }, forgotten, unattributed, local, totals };
}
