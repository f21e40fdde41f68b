// The Applications page: a searchable, sortable table of all applications and their top devices.

import { get } from './api.js';
import { h, icon, setText } from './dom.js';
import { compareText, count, plural, words } from './format.js';
import { deviceHref, downColumn, emptyNote, listOrNote, nowColumn, timeColumn, twoLines, upColumn } from './parts.js';
import { Table } from './table.js';

const LIMIT = 10_000; // the maximum of the API; netifyd knows fewer applications
const TOP_DEVICES = 3;

/** The Applications page. */
export class Applications {
  constructor() {
    this.title = 'Applications';
    this.all = [];
    this.summary = h('p', { class: 'lead', role: 'status' }, '\u00a0');
    this.search = h('input', {
      type: 'search', id: 'search', placeholder: 'Name or category', autocomplete: 'off', spellcheck: 'false',
      oninput: () => this.filter(true),
    });
    this.table = new Table({
      caption: 'Applications', key: (row) => row.tag, sort: { id: 'rate', descending: true },
      columns: [
        { id: 'name', label: 'Application', style: 'main', compare: (a, b) => compareText(a.name, b.name),
          cell: () => twoLines((row) => ({
            href: `#/flows?application=${encodeURIComponent(row.tag)}`, title: row.name, below: words(row.category),
          })) },
        nowColumn(), downColumn('middle'), upColumn(),
        { id: 'users', label: 'Top devices', style: 'users middle', cell: topDevicesCell },
        timeColumn('last_seen', 'Last seen'),
      ],
    });
    this.empty = emptyNote('No applications yet', 'Applications appear as soon as devices send traffic.');
    this.noMatch = emptyNote('No applications match this search', 'You can search by name or category.');
    this.node = h('div', { class: 'page' }, h('h1', {}, 'Applications'), this.summary,
      h('div', { class: 'tools' },
        h('div', { class: 'field search' }, h('label', { for: 'search', class: 'hidden' }, 'Search applications'), icon('search'), this.search)),
      this.table.node, this.empty, this.noMatch);
    listOrNote(this.table.node, this.empty, false);
    listOrNote(this.table.node, this.noMatch, false);
  }

  close() {
    this.table.close();
  }

  async refresh() {
    this.all = (await get('applications', { limit: LIMIT })).applications;
    this.filter(false);
  }

  /** Show the applications that match the search. `byUser`: the user has changed the search, so the order may change. */
  filter(byUser) {
    const search = this.search.value.trim().toLowerCase();
    const found = search ? this.all.filter((row) => [row.name, words(row.category)]
      .some((text) => text.toLowerCase().includes(search))) : this.all;
    if (byUser) this.table.reset(found);
    else this.table.set(found);
    const total = plural(this.all.length, 'application');
    setText(this.summary, search ? `${count(found.length)} of ${total}` : total);
    listOrNote(this.table.node, this.empty, this.all.length === 0);
    if (this.all.length) listOrNote(this.table.node, this.noMatch, found.length === 0);
  }
}

/** Links to the devices with the most traffic of an application. */
function topDevicesCell() {
  const links = Array.from({ length: TOP_DEVICES }, () => h('a', {}, h('bdi', {})));
  return {
    node: h('span', { class: 'links' }, ...links),
    update(row) {
      links.forEach((link, index) => {
        const device = row.devices[index];
        link.hidden = !device;
        if (!device) return;
        link.setAttribute('href', deviceHref(device.device));
        setText(link.firstChild, device.name ?? device.device);
      });
    },
  };
}
