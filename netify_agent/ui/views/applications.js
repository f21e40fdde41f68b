// The Applications page: a searchable, sortable table of all applications, with what each moved in a period.

import { get } from '../agent/api.js';
import { downColumn, nowColumn, timeColumn, totalColumn, upColumn } from '../parts/columns.js';
import { h, setText, show } from '../parts/dom.js';
import { compareText, count, plural, words } from '../parts/format.js';
import { periodParameters, readPeriod } from '../parts/period.js';
import { PeriodControl } from '../parts/period_control.js';
import { PeriodSums } from '../parts/period_sums.js';
import { applicationHref, deviceHref, emptyNote, listOrNote, searchField, twoLines } from '../parts/pieces.js';
import { Table } from '../parts/table.js';

const LIMIT = 10_000; // the maximum of the API; netifyd knows fewer applications
const FIELDS = 'tag,name,category,rate_up,rate_down,last_seen,devices';
const TOP_DEVICES = 3;

/** The Applications page. */
export class Applications {
  constructor(route, navigate) {
    this.title = 'Applications';
    this.all = null;
    this.control = new PeriodControl(navigate);
    this.sums = new PeriodSums('application');
    this.summary = h('p', { class: 'lead', role: 'status' }, '\u00a0');
    this.search = searchField('Search applications', 'Name or category', (text) => navigate({ q: text }));
    this.table = new Table({
      caption: 'Applications', key: (row) => row.tag, sort: { id: 'rate', descending: true },
      onsort: () => navigate({ sort: this.table.sortText }),
      columns: [
        { id: 'name', label: 'Application', style: 'main', compare: (a, b) => compareText(a.name, b.name),
          cell: () => twoLines((row) => ({ href: applicationHref(row.tag, periodParameters(this.route)), title: row.name, below: words(row.category) })) },
        nowColumn(),
        { id: 'users', label: 'Top devices now', style: 'users middle', cell: topDevicesCell },
        downColumn(), upColumn(), totalColumn(),
        timeColumn('last_seen', 'Last seen'),
      ],
    });
    this.empty = emptyNote('No applications yet', 'Applications appear as soon as devices send traffic.');
    this.noMatch = emptyNote('No applications match this search', 'You can search by name or category.');
    this.node = h('div', { class: 'page' }, h('h1', {}, 'Applications'), this.summary,
      h('div', { class: 'tools' }, this.search.node, this.control.node),
      h('div', { class: 'about' }, this.sums.note, this.sums.csv.node), this.table.node, this.empty, this.noMatch);
    show(this.empty, false);
    show(this.noMatch, false);
  }

  close() {
    this.table.close();
  }

  setRoute(route) {
    this.route = route;
    this.control.update(route);
    if (this.search.input.value !== (route.get('q') ?? '')) this.search.input.value = route.get('q') ?? '';
    if (this.table.sortText !== route.get('sort')) this.table.sortText = route.get('sort');
    if (this.all) this.show(true);
    const period = JSON.stringify(periodParameters(route));
    const isOther = period !== this.period;
    this.period = period;
    return isOther || this.all === null; // all else is shown from what was read
  }

  async refresh() {
    const shown = this.period;
    const period = await readPeriod(this.route);
    const [{ applications }] = await Promise.all([
      get('applications', { limit: LIMIT, devices_by: 'rate', fields: FIELDS }), this.sums.read(period),
    ]);
    if (shown !== this.period) return; // the user has moved on; another refresh follows
    this.all = applications;
    this.control.show(period);
    this.show(false);
  }

  /** Show the applications that match. `byUser`: the user has changed what is shown, so the order may change. */
  show(byUser) {
    const search = this.search.input.value.trim().toLowerCase();
    const all = this.all.map((row) => ({ ...row, ...this.sums.of(row.tag) }));
    const found = search ? all.filter((row) => [row.name, words(row.category)]
      .some((text) => text.toLowerCase().includes(search))) : all;
    if (byUser) this.table.reset(found);
    else this.table.set(found);
    this.sums.linkCsv(this.table.sort);
    this.sums.csv.setLabel(search ? 'Download CSV of all applications' : 'Download CSV');
    const total = plural(all.length, 'application');
    const used = all.filter((row) => row.bytes_up + row.bytes_down > 0).length;
    setText(this.summary, search ? `${count(found.length)} of ${total}` : `${total}, ${count(used)} with traffic in this period`);
    listOrNote(this.table.node, this.empty, all.length === 0);
    if (all.length) listOrNote(this.table.node, this.noMatch, found.length === 0);
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
