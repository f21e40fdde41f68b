// The page of one device: rates, totals, traffic by application, protocols, live flows and risks.

import { devicePath, get } from '../agent/api.js';
import { coloursOf } from '../parts/colours.js';
import { downColumn, nowColumn, totalColumn, upColumn } from '../parts/columns.js';
import { KeyedList, h, setAttribute, setText, show } from '../parts/dom.js';
import {
  bytesFigure, compareText, date, deviceLabel, isNew, nowLabel, plural, rateFigure, words,
} from '../parts/format.js';
import { periodParameters, readHistory, readPeriod } from '../parts/period.js';
import { PeriodChart } from '../parts/period_chart.js';
import { PeriodControl } from '../parts/period_control.js';
import { emptyNote, labelled, listOrNote, panel, stat, timeNode, twoLines } from '../parts/pieces.js';
import { Table } from '../parts/table.js';
import { IS_COPY, address } from '../route.js';
import { FLOW_COLUMNS, seenFrom } from './flow_columns.js';
import { RiskList } from './risk_list.js';

const LAYERS = 6; // applications with their own colour
const FLOWS = 50;

/** The page of one device. */
export class Device {
  constructor(route, navigate) {
    this.id = route.name;
    this.title = this.id;
    this.name = h('bdi', {}, this.id);
    this.crumb = h('a', {}, 'Devices');
    this.lead = h('p', { class: 'lead' }, '\u00a0');
    this.identity = h('dl', { class: 'identity' });
    this.figures = { rateDown: rateFigure('down'), rateUp: rateFigure('up'), down: bytesFigure('down'), up: bytesFigure('up') };
    this.downLabel = h('span', {}, 'Download');
    this.upLabel = h('span', {}, 'Upload');
    this.control = new PeriodControl(navigate);
    this.chart = new PeriodChart({ label: 'Traffic over time by application', height: 260, navigate });
    this.legend = new KeyedList(h('ul', { class: 'legend' }), (layer) => layer.style, legendItem);
    this.applicationsTitle = h('span', {}, 'Applications');
    this.applications = new Table({
      caption: 'Applications of this device', key: (row) => row.tag, sort: { id: 'bytes_down', descending: true },
      onsort: () => navigate({ sort: this.applications.sortText }),
      columns: [
        { id: 'name', label: 'Application', style: 'main', compare: (a, b) => compareText(a.name, b.name),
          cell: () => twoLines((row) => ({ href: address('applications', row.tag, periodParameters(this.route)), title: row.name, below: words(row.category) })) },
        nowColumn(), downColumn(), upColumn(), totalColumn(),
      ],
    });
    this.noApplications = emptyNote('No traffic in this period');
    this.protocolsTitle = h('span', {}, 'Protocols');
    this.protocols = new Table({
      caption: 'Protocols of this device', key: (row) => row.name, sort: { id: 'bytes_down', descending: true },
      columns: [
        { id: 'name', label: 'Protocol', style: 'main', compare: (a, b) => compareText(a.name, b.name),
          cell: () => twoLines((row) => ({ href: null, title: row.name, below: plural(row.flows, 'flow') })) },
        downColumn(''), upColumn(''),
      ],
    });
    this.flows = new Table({ caption: 'Live flows of this device', key: (flow) => `${flow.digest} ${flow.endpoint}`, style: 'flows',
      columns: FLOW_COLUMNS.filter((column) => column.id !== 'device') });
    this.noFlows = emptyNote('No live flows');
    this.flowsTitle = h('span', {}, 'Live flows');
    this.risks = new RiskList();
    this.noRisks = emptyNote('No risks found', 'No live or recent flow of this device has a risk.');
    this.content = h('div', { class: 'page-content' },
      h('dl', { class: 'figures' },
        stat(nowLabel('Download now'), labelled('down', '', this.figures.rateDown.node)),
        stat(nowLabel('Upload now'), labelled('up', '', this.figures.rateUp.node)),
        stat(this.downLabel, labelled('down', '', this.figures.down.node)),
        stat(this.upLabel, labelled('up', '', this.figures.up.node))),
      panel('Traffic by application', this.control.node, this.chart.node, this.legend.parent),
      panel(this.applicationsTitle, null, this.applications.node, this.noApplications),
      h('div', { class: 'columns' },
        panel(this.protocolsTitle, null, this.protocols.node),
        IS_COPY ? null : panel('Risks', null, this.risks.parent, this.noRisks)),
      IS_COPY ? null : panel(this.flowsTitle, h('a', { class: 'more', href: address('activity', '', { device: this.id }) }, 'All flows'),
        this.flows.node, this.noFlows));
    this.missing = emptyNote('Device not found', h('a', { href: '#/devices' }, 'All devices'));
    this.node = h('div', { class: 'page' },
      h('p', { class: 'crumb' }, this.crumb), h('h1', {}, this.name), this.lead,
      this.identity, this.missing, this.content);
    for (const note of [this.missing, this.noApplications, this.noFlows, this.noRisks]) show(note, false);
  }

  close() {
    for (const table of [this.applications, this.protocols, this.flows]) table.close();
  }

  setRoute(route) {
    this.route = route;
    this.control.update(route);
    setAttribute(this.crumb, 'href', address('devices', '', periodParameters(route)));
    if (this.applications.sortText !== route.get('sort')) this.applications.sortText = route.get('sort');
  }

  async refresh() {
    const period = await readPeriod(this.route);
    this.control.show(period);
    let responses;
    try {
      responses = await Promise.all([
        get(devicePath(this.id)),
        readHistory(`${devicePath(this.id)}/history`, period, { applications: true }),
        readHistory('history', period), // distinguishes periods without data from periods without traffic
        IS_COPY ? { flows: [], total: 0 } : get('flows', { device: this.id, active: true, limit: FLOWS }),
      ]);
    } catch (error) {
      if (error.status !== 404 && error.status !== 400) throw error;
      show(this.missing, true);
      show(this.content, false);
      return;
    }
    const [device, history, ofGateway, flows] = responses;
    this.renderDevice(device);
    const used = inPeriod(history.buckets, device.applications);
    this.drawChart(period, history, ofGateway, used);
    setText(this.applicationsTitle, `Applications, ${period.title.replace(/^(Last|This|Today)/, (word) => word.toLowerCase())}`);
    this.applications.set(used);
    listOrNote(this.applications.node, this.noApplications, used.length === 0);
    this.protocols.set(device.protocols);
    this.flows.set(flows.flows.map((flow) => seenFrom(flow, this.id)));
    setText(this.flowsTitle, flows.total > flows.flows.length ? `Live flows, latest ${flows.flows.length} of ${flows.total}` : 'Live flows');
    listOrNote(this.flows.node, this.noFlows, flows.flows.length === 0);
    this.risks.set(device.risks);
    show(this.noRisks, device.risks.length === 0);
  }

  renderDevice(device) {
    this.title = deviceLabel(device);
    setText(this.name, this.title);
    this.figures.rateDown.update(device.rate_down);
    this.figures.rateUp.update(device.rate_up);
    this.figures.down.update(device.bytes_down);
    this.figures.up.update(device.bytes_up);
    const since = device.first_seen === null ? '' : ` since ${date(Date.parse(device.first_seen))}`;
    setText(this.downLabel, `Download${since}`);
    setText(this.upLabel, `Upload${since}`);
    setText(this.protocolsTitle, `Protocols${since}`);
    setText(this.lead, [device.vendor, device.active ? 'Active' : 'Inactive', isNew(device) ? 'New: first seen within the last 24 hours' : null].filter(Boolean).join(' · '));
    const mac = device.mac && (device.randomized ? `${device.mac} (randomised)` : device.mac);
    const rows = [
      ['MAC address', mac], ['IP address', device.ips.join(', ')], ['Interface', device.interface],
      [device.groups.length > 1 ? 'Groups' : 'Group', groupLinks(device.groups)],
    ];
    const times = [['First seen', device.first_seen], ['Last seen', device.last_seen]];
    this.identity.replaceChildren(
      ...rows.filter(([, value]) => value).map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))),
      ...times.map(([name, text]) => h('div', {}, h('dt', {}, name), h('dd', {}, timeNode(text)))));
  }

  /** `used`: the applications of the period. */
  drawChart(period, { buckets, problem }, ofGateway, used) {
    const ranked = [...used].sort((a, b) => total(b) - total(a)).filter((row) => total(row) > 0);
    const top = ranked.slice(0, ranked.length > LAYERS + 1 ? LAYERS : LAYERS + 1); // no "Other" for a single one
    const colours = coloursOf(top.map((row) => row.tag));
    const valuesOf = (matches) => period.sum(buckets, (bucket) =>
      bucket.applications.reduce((sum, part) => sum + (matches(part.tag) ? total(part) : 0), 0));
    const layers = top.map(({ tag, name }) => ({ label: name, style: colours.get(tag), values: valuesOf((other) => other === tag) }));
    if (top.length < ranked.length) {
      const isTop = new Set(top.map((row) => row.tag));
      layers.push({ label: 'Other', style: 'layer-rest', values: valuesOf((tag) => !isTop.has(tag)) });
    }
    this.chart.draw(period, {
      down: period.sum(buckets, (bucket) => bucket.bytes_down),
      up: period.sum(buckets, (bucket) => bucket.bytes_up),
      known: period.known([...ofGateway.buckets, ...buckets]),
      problem,
      layers,
    });
    this.legend.set(layers);
  }
}

const total = (row) => row.bytes_up + row.bytes_down;

/** The applications that a device used in some buckets, with the bytes of these, or uses now. */
function inPeriod(buckets, applications) {
  const used = new Map(applications
    .filter((row) => row.rate_up + row.rate_down > 0)
    .map((row) => [row.tag, { ...row, bytes_up: 0, bytes_down: 0 }]));
  const known = new Map(applications.map((row) => [row.tag, row]));
  for (const bucket of buckets) {
    for (const { tag, bytes_up, bytes_down } of bucket.applications) {
      const row = used.get(tag)
        ?? { name: tag, category: null, rate_up: 0, rate_down: 0, ...known.get(tag), tag, bytes_up: 0, bytes_down: 0 };
      row.bytes_up += bytes_up;
      row.bytes_down += bytes_down;
      used.set(tag, row);
    }
  }
  return [...used.values()];
}

/** Links to the devices of each group; null without groups. */
function groupLinks(groups) {
  return groups.length ? h('span', { class: 'links' }, ...groups.map((name) =>
    h('a', { href: address('devices', '', { group: name }) }, h('bdi', {}, name)))) : null;
}

function legendItem() {
  const swatch = h('span', { class: 'swatch', 'aria-hidden': 'true' });
  const name = h('bdi', {});
  const sum = bytesFigure();
  return {
    node: h('li', {}, swatch, name, sum.node),
    update(layer) {
      swatch.className = `swatch ${layer.style}`;
      setText(name, layer.label);
      sum.update(layer.values.reduce((all, value) => all + value, 0));
    },
  };
}
