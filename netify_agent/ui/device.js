// The page of one device: rates, totals, traffic by application, protocols, live flows and risks.

import { devicePath, get } from './api.js';
import { Chart, readout } from './chart.js';
import { KeyedList, h, setText, show } from './dom.js';
import { bytes, bytesFigure, compareText, date, deviceLabel, plural, rateFigure, words } from './format.js';
import { FLOW_COLUMNS } from './flows.js';
import {
  downColumn, emptyNote, fixedBytes, labelled, listOrNote, nowColumn, panel, stat, timeColumn, timeNode, twoLines, upColumn,
} from './parts.js';
import { Steps, rangeLinks, rangeOf, readHistory } from './ranges.js';
import { riskRow } from './risks.js';
import { Table } from './table.js';

const LAYERS = 6; // applications with their own colour
const FLOWS = 50;

/** The page of one device. */
export class Device {
  constructor(route) {
    this.id = route.name;
    this.title = this.id;
    this.rangeName = rangeOf(route);
    this.name = h('bdi', {}, this.id);
    this.lead = h('p', { class: 'lead' }, '\u00a0');
    this.identity = h('dl', { class: 'identity' });
    this.figures = { rateDown: rateFigure('down'), rateUp: rateFigure('up'), down: bytesFigure('down'), up: bytesFigure('up') };
    this.downLabel = h('span', {}, 'Download');
    this.upLabel = h('span', {}, 'Upload');
    this.chart = new Chart({
      label: 'Traffic over time by application', height: 260,
      describe: (index) => this.describe(index), tick: (index) => this.steps?.tick(index) ?? null,
    });
    this.legend = new KeyedList(h('ul', { class: 'legend' }), (layer) => layer.style, legendItem);
    this.applications = new Table({
      caption: 'Applications of this device', key: (row) => row.tag, sort: { id: 'bytes_down', descending: true },
      columns: [
        { id: 'name', label: 'Application', style: 'main', compare: (a, b) => compareText(a.name, b.name),
          cell: () => twoLines((row) => ({ href: `#/flows?device=${encodeURIComponent(this.id)}&application=${encodeURIComponent(row.tag)}`, title: row.name, below: words(row.category) })) },
        nowColumn(), downColumn(), upColumn(), timeColumn('last_seen', 'Last seen'),
      ],
    });
    this.protocols = new Table({
      caption: 'Protocols of this device', key: (row) => row.name, sort: { id: 'bytes_down', descending: true },
      columns: [
        { id: 'name', label: 'Protocol', style: 'main', compare: (a, b) => compareText(a.name, b.name),
          cell: () => twoLines((row) => ({ href: null, title: row.name, below: plural(row.flows, 'flow') })) },
        downColumn(), upColumn(),
      ],
    });
    this.flows = new Table({ caption: 'Live flows of this device', key: (flow) => flow.digest, style: 'flows',
      columns: FLOW_COLUMNS.filter((column) => column.id !== 'device') });
    this.noFlows = emptyNote('No live flows');
    this.risks = new KeyedList(h('ul', { class: 'risks' }), (risk) => risk.id, riskRow);
    this.noRisks = emptyNote('No risks found', 'No live or recent flow of this device has a risk.');
    this.content = h('div', { class: 'page-content' },
      h('dl', { class: 'figures' },
        stat('Download now', labelled('down', '', this.figures.rateDown.node)),
        stat('Upload now', labelled('up', '', this.figures.rateUp.node)),
        stat(this.downLabel, labelled('down', '', this.figures.down.node)),
        stat(this.upLabel, labelled('up', '', this.figures.up.node))),
      panel('Traffic by application', rangeLinks(route), this.chart.node, this.legend.parent),
      panel('Applications', null, this.applications.node),
      h('div', { class: 'columns' },
        panel('Protocols', null, this.protocols.node),
        panel('Risks', null, this.risks.parent, this.noRisks)),
      panel('Live flows', h('a', { class: 'more', href: `#/flows?device=${encodeURIComponent(this.id)}` }, 'All flows'),
        this.flows.node, this.noFlows));
    this.missing = emptyNote('Device not found', h('a', { href: '#/devices' }, 'All devices'));
    this.node = h('div', { class: 'page' },
      h('p', { class: 'crumb' }, h('a', { href: '#/devices' }, 'Devices')), h('h1', {}, this.name), this.lead,
      this.identity, this.missing, this.content);
    for (const note of [this.missing, this.noFlows, this.noRisks]) show(note, false);
  }

  close() {
    for (const table of [this.applications, this.protocols, this.flows]) table.close();
  }

  async refresh() {
    this.steps = new Steps(this.rangeName);
    let responses;
    try {
      responses = await Promise.all([
        get(devicePath(this.id)),
        readHistory(`${devicePath(this.id)}/history`, this.steps, { applications: true }),
        get('flows', { device: this.id, active: true, limit: FLOWS }),
      ]);
    } catch (error) {
      if (error.status !== 404 && error.status !== 400) throw error;
      show(this.missing, true);
      show(this.content, false);
      return;
    }
    const [device, history, flows] = responses;
    this.renderDevice(device);
    this.drawChart(history, device.applications);
    this.applications.set(device.applications);
    this.protocols.set(device.protocols);
    this.flows.set(flows.flows);
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
    setText(this.lead, [device.vendor, device.active ? 'Active' : 'Inactive'].filter(Boolean).join(' · '));
    const rows = [['MAC address', device.mac], ['IP address', device.ips.join(', ')], ['Interface', device.interface]];
    const times = [['First seen', device.first_seen], ['Last seen', device.last_seen]];
    this.identity.replaceChildren(
      ...rows.filter(([, text]) => text).map(([name, text]) => h('div', {}, h('dt', {}, name), h('dd', {}, text))),
      ...times.map(([name, text]) => h('div', {}, h('dt', {}, name), h('dd', {}, timeNode(text)))));
  }

  drawChart({ buckets, problem }, applications) {
    const { steps } = this;
    this.problem = problem;
    const names = new Map(applications.map((application) => [application.tag, application.name]));
    const sums = new Map();
    for (const bucket of buckets) {
      for (const part of bucket.applications) {
        sums.set(part.tag, (sums.get(part.tag) ?? 0) + part.bytes_up + part.bytes_down);
      }
    }
    const ranked = [...sums].sort((a, b) => b[1] - a[1]).map(([tag]) => tag);
    const top = ranked.slice(0, ranked.length > LAYERS + 1 ? LAYERS : LAYERS + 1); // no "Other" for a single one
    const valuesOf = (matches) => steps.sum(buckets, (bucket) => {
      let sum = 0;
      for (const part of bucket.applications) if (matches(part.tag)) sum += part.bytes_up + part.bytes_down;
      return sum;
    });
    this.layers = top.map((tag, index) => ({ label: names.get(tag) ?? tag, style: `layer-${index}`, values: valuesOf((other) => other === tag) }));
    if (top.length < ranked.length) {
      const isTop = new Set(top);
      this.layers.push({ label: 'Other', style: 'layer-rest', values: valuesOf((tag) => !isTop.has(tag)) });
    }
    this.down = steps.sum(buckets, (bucket) => bucket.bytes_down);
    this.up = steps.sum(buckets, (bucket) => bucket.bytes_up);
    this.chart.set(steps.length, this.layers);
    this.legend.set(this.layers);
  }

  describe(index) {
    if (this.problem) return readout(['when', this.problem]);
    if (!this.layers) return readout(['when', '\u00a0']);
    const total = (values) => (index === null ? values.reduce((sum, value) => sum + value, 0) : values[index]);
    const when = index === null ? this.steps.range.title : this.steps.name(index);
    const figures = [fixedBytes('down', 'download ', total(this.down)), fixedBytes('up', 'upload ', total(this.up))];
    const parts = index === null ? [] : this.layers
      .map((layer) => [layer.label, layer.values[index]])
      .filter(([, value]) => value > 0)
      .sort((a, b) => b[1] - a[1])
      .slice(0, 3)
      .map(([label, value]) => ['share', `${label} ${bytes(value)}`]);
    return [...readout(['when', when]), ...figures, ...readout(...parts)];
  }
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
      sum.update(layer.values.reduce((total, value) => total + value, 0));
    },
  };
}
