// The page of one application: its rates, its traffic over time, and the devices that use it.

import { get } from '../agent/api.js';
import { downColumn, nowColumn, timeColumn, totalColumn, upColumn } from '../parts/columns.js';
import { h, setAttribute, setText, show } from '../parts/dom.js';
import { bytesFigure, compareText, date, nowLabel, rateFigure, words } from '../parts/format.js';
import { periodParameters, readHistory, readPeriod } from '../parts/period.js';
import { PeriodChart } from '../parts/period_chart.js';
import { PeriodControl } from '../parts/period_control.js';
import { emptyNote, labelled, listOrNote, panel, stat, twoLines } from '../parts/pieces.js';
import { Table } from '../parts/table.js';
import { IS_COPY, address } from '../route.js';

const LIMIT = 10_000; // the maximum of the API

/** The page of one application. */
export class Application {
  constructor(route, navigate) {
    this.tag = route.name;
    this.title = this.tag;
    this.name = h('bdi', {}, this.tag);
    this.crumb = h('a', {}, 'Applications');
    this.lead = h('p', { class: 'lead' }, '\u00a0');
    this.figures = { rateDown: rateFigure('down'), rateUp: rateFigure('up'), down: bytesFigure('down'), up: bytesFigure('up') };
    this.downLabel = h('span', {}, 'Download');
    this.upLabel = h('span', {}, 'Upload');
    this.control = new PeriodControl(navigate);
    this.chart = new PeriodChart({ label: 'Traffic over time', height: 240, navigate });
    this.table = new Table({
      caption: 'Devices that use this application', key: (row) => row.device, sort: { id: 'rate', descending: true },
      onsort: () => navigate({ sort: this.table.sortText }),
      columns: [
        { id: 'name', label: 'Device', style: 'main', compare: (a, b) => compareText(a.name ?? a.device, b.name ?? b.device),
          cell: () => twoLines((row) => ({ href: address('devices', row.device, periodParameters(this.route)), title: row.name ?? row.device, below: [row.name ? row.device : null, ...row.groups].filter(Boolean).join(' · ') })) },
        nowColumn(), downColumn(), upColumn(), totalColumn(),
        timeColumn('first_seen', 'First used'), timeColumn('last_seen', 'Last used'),
      ],
    });
    this.devicesTitle = h('span', {}, 'Devices');
    this.noDevices = emptyNote('No traffic in this period');
    show(this.noDevices, false);
    this.missing = emptyNote('Application not found', h('a', { href: '#/applications' }, 'All applications'));
    this.content = h('div', { class: 'page-content' },
      h('dl', { class: 'figures' },
        stat(nowLabel('Download now'), labelled('down', '', this.figures.rateDown.node)),
        stat(nowLabel('Upload now'), labelled('up', '', this.figures.rateUp.node)),
        stat(this.downLabel, labelled('down', '', this.figures.down.node)),
        stat(this.upLabel, labelled('up', '', this.figures.up.node))),
      panel('Traffic', this.control.node, this.chart.node),
      panel(this.devicesTitle, IS_COPY ? null : h('a', { class: 'more', href: address('activity', '', { application: this.tag }) }, 'Flows'), this.table.node, this.noDevices));
    this.node = h('div', { class: 'page' },
      h('p', { class: 'crumb' }, this.crumb), h('h1', {}, this.name), this.lead,
      this.missing, this.content);
    show(this.missing, false);
  }

  close() {
    this.table.close();
  }

  setRoute(route) {
    this.route = route;
    this.control.update(route);
    setAttribute(this.crumb, 'href', address('applications', '', periodParameters(route)));
    if (this.table.sortText !== route.get('sort')) this.table.sortText = route.get('sort');
  }

  async refresh() {
    const period = await readPeriod(this.route);
    this.control.show(period);
    let responses;
    try {
      responses = await Promise.all([
        get(`applications/${encodeURIComponent(this.tag)}`, { limit: LIMIT }),
        readHistory('history', period, { applications: true }),
      ]);
    } catch (error) {
      if (error.status !== 404 && error.status !== 400) throw error;
      show(this.missing, true);
      show(this.content, false);
      return;
    }
    const [{ application, devices }, history] = responses;
    const { usage } = await get('usage', { application: this.tag, ...period.usageParameters, limit: LIMIT });
    this.title = application.name;
    setText(this.name, application.name);
    setText(this.lead, words(application.category) || '\u00a0');
    this.figures.rateDown.update(application.rate_down);
    this.figures.rateUp.update(application.rate_up);
    this.figures.down.update(application.bytes_down);
    this.figures.up.update(application.bytes_up);
    const since = application.first_seen === null ? '' : ` since ${date(Date.parse(application.first_seen))}`;
    setText(this.downLabel, `Download${since}`);
    setText(this.upLabel, `Upload${since}`);
    const used = inPeriod(devices, usage);
    setText(this.devicesTitle, `Devices, ${period.title.replace(/^(Last|This|Today)/, (word) => word.toLowerCase())}`);
    this.table.set(used);
    listOrNote(this.table.node, this.noDevices, used.length === 0);
    const part = (bucket) => bucket.applications.find((each) => each.tag === this.tag);
    this.chart.draw(period, {
      down: period.sum(history.buckets, (bucket) => part(bucket)?.bytes_down ?? 0),
      up: period.sum(history.buckets, (bucket) => part(bucket)?.bytes_up ?? 0),
      known: period.known(history.buckets),
      problem: history.problem,
    });
  }
}

/** The devices that used the application in a period, with the bytes of that, or use it now. `usage`: rows of `/usage`. */
function inPeriod(devices, usage) {
  const used = new Map(usage.map((row) => [row.key, row]));
  const none = { bytes_up: 0, bytes_down: 0 };
  return devices
    .filter(({ device, rate_up, rate_down }) => used.has(device) || rate_up + rate_down > 0)
    .map((row) => {
      const { bytes_up, bytes_down } = used.get(row.device) ?? none;
      return { ...row, bytes_up, bytes_down };
    });
}
