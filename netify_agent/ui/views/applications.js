// The Applications page: a searchable, sortable table of all applications and the devices that use them now.

import { get } from '../agent/api.js';
import { downColumn, nowColumn, timeColumn, totalColumn, upColumn } from '../parts/columns.js';
import { h, setText, show } from '../parts/dom.js';
import { compareText, count, plural, words } from '../parts/format.js';
import { applicationHref, deviceHref, emptyNote, listOrNote, searchField, twoLines } from '../parts/pieces.js';
import { Table } from '../parts/table.js';

const LIMIT = 10_000; // the maximum of the API; netifyd knows fewer applications
const TOP_DEVICES = 3;

/** The Applications page. */
export class Applications {
  constructor(route, navigate) {
    this.title = 'Applications';
    this.all = null;
    this.summary = h('p', { class: 'lead', role: 'status' }, '\u00a0');
    this.search = searchField('Search applications', 'Name or category', (text) => navigate({ q: text }));
    this.table = new Table({
      caption: 'Applications', key: (row) => row.tag, sort: { id: 'rate', descending: true },
      onsort: () => navigate({ sort: this.table.sortText }),
      columns: [
        { id: 'name', label: 'Application', style: 'main', compare: (a, b) => compareText(a.name, b.name),
          cell: () => twoLines((row) => ({ href: applicationHref(row.tag), title: row.name, below: words(row.category) })) },
        nowColumn(),
        { id: 'users', label: 'Top devices now', style: 'users middle', cell: topDevicesCell },
        downColumn(), upColumn(), totalColumn(),
        timeColumn('last_seen', 'Last seen'),
      ],
    });
    this.empty = emptyNote('No applications yet', 'Applications appear as soon as devices send traffic.');
    this.noMatch = emptyNote('No applications match this search', 'You can search by name or category.');
    this.node = h('div', { class: 'page' }, h('h1', {}, 'Applications'), this.summary,
      h('div', { class: 'tools' }, this.search.node), this.table.node, this.empty, this.noMatch);
    show(this.empty, false);
    show(this.noMatch, false);
  }

  close() {
    this.table.close();
  }

  setRoute(route) {
    if (this.search.input.value !== (route.get('q') ?? '')) this.search.input.value = route.get('q') ?? '';
    if (this.table.sortText !== route.get('sort')) this.table.sortText = route.get('sort');
    if (this.all) this.show(true);
    return this.all === null;
  }

  async refresh() {
    this.all = (await get('applications', { limit: LIMIT, devices_by: 'rate' })).applications;
    this.show(false);
  }

  /** Show the applications that match. `byUser`: the user has changed what is shown, so the order may change. */
  show(byUser) {
    const search = this.search.input.value.trim().toLowerCase();
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

/** Links to the devices that use an application most now. */
function topDevicesCell() {
  const links = Array.from({ length: TOP_DEVICES }, () => h('a', {}, h('bdi', {})));
  return {
    node: h('span', { class: 'links' }, ...links),
    update(row) {
      links.forEach((link, index) => {
        const device = row.devices[index];
        show(link, Boolean(device));
        if (!device) return;
        link.setAttribute('href', deviceHref(device.device));
        setText(link.firstChild, device.name ?? device.device);
      });
    },
  };
}
