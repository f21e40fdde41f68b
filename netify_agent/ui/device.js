// One device: what it does now and did before, by application; its protocols, live flows and risks.

import { devicePath, get } from './api.js';
import { Chart, readout } from './chart.js';
import { KeyedList, h, setText, show } from './dom.js';
import { bytes, bytesFigure, compareText, deviceLabel, plural, rateFigure, relativeTime, words } from './format.js';
import { FLOW_COLUMNS } from './flows.js';
import { downColumn, emptyNote, labelled, nowColumn, panel, timeColumn, twoLines, upColumn } from './parts.js';
import { Steps, rangeLinks, rangeOf, readHistory } from './ranges.js';
import { riskRow } from './risks.js';
import { Table } from './table.js';

const LAYERS = 6; // applications with a colour of their own
const FLOWS = 50;

/** The view of one device. */
export class Device {
  constructor(route) {
    this.id = route.name;
    this.title = this.id;
    this.rangeName = rangeOf(route);
    this.name = h('bdi', {}, this.id);
    this.lead = h('p', { class: 'lead' }, '\u00a0');
    this.identity = h('dl', { class: 'identity' });
    this.figures = { rateDown: rateFigure('down'), rateUp: rateFigure('up'), down: bytesFigure('down'), up: bytesFigure('up') };
    this.seen = relativeTime();
    this.chart = new Chart({
      label: 'Traffic of this device over time, by application', height: 260,
      describe: (index) => this.describe(index), tick: (index) => this.steps?.tick(index) ?? null,
    });
    this.legend = new KeyedList(h('ul', { class: 'legend' }), (layer) => layer.style, legendItem);
    this.applications = new Table({
      caption: 'Applications of this device', key: (row) => row.tag, sort: { id: 'bytes_down', descending: true },
      columns: [
        { id: 'name', label: 'Application', style: 'main', compare: (one, other) => compareText(one.name, other.name),
          cell: () => twoLines((row) => ({ href: `#/flows?device=${encodeURIComponent(this.id)}&application=${encodeURIComponent(row.tag)}`, title: row.name, below: words(row.category) })) },
        nowColumn(), downColumn(), upColumn(), timeColumn('last_seen', 'Last seen'),
      ],
    });
    this.protocols = new Table({
      caption: 'Protocols of this device', key: (row) => row.name, sort: { id: 'bytes_down', descending: true },
      columns: [
        { id: 'name', label: 'Protocol', style: 'main', compare: (one, other) => compareText(one.name, other.name),
          cell: () => twoLines((row) => ({ href: null, title: row.name, below: plural(row.flows, 'flow') })) },
        downColumn(), upColumn(),
      ],
    });
    this.flows = new Table({ caption: 'Live flows of this device', key: (flow) => flow.digest, style: 'flows',
      columns: FLOW_COLUMNS.filter((column) => column.id !== 'device') });
    this.noFlows = emptyNote('No flow is live.', 'The device is silent, or its connections are over.');
    this.risks = new KeyedList(h('ul', { class: 'risks' }), (risk) => risk.id, riskRow);
    this.noRisks = emptyNote('No risks found.', 'The inspection flagged no live or recent flow of this device.');
    this.content = h('div', { class: 'page-content' },
      h('dl', { class: 'figures' },
        stat('Download now', labelled('down', '', this.figures.rateDown.node)),
        stat('Upload now', labelled('up', '', this.figures.rateUp.node)),
        stat('Downloaded', labelled('down', '', this.figures.down.node)),
        stat('Uploaded', labelled('up', '', this.figures.up.node))),
      panel('Timeline', rangeLinks(route), this.chart.node, this.legend.parent),
      panel('Applications', null, this.applications.node),
      h('div', { class: 'columns' },
        panel('Protocols', null, this.protocols.node),
        panel('Risks', null, this.risks.parent, this.noRisks)),
      panel('Live flows', h('a', { class: 'more', href: `#/flows?device=${encodeURIComponent(this.id)}` }, 'All flows'),
        this.flows.node, this.noFlows));
    this.missing = emptyNote('No such device has been seen.', h('a', { href: '#/devices' }, 'All devices'));
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
    let answers;
    try {
      answers = await Promise.all([
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
    const [device, history, flows] = answers;
    this.tellDevice(device);
    this.drawTimeline(history, device.applications);
    this.applications.set(device.applications);
    this.protocols.set(device.protocols);
    this.flows.set(flows.flows);
    show(this.flows.node, flows.flows.length > 0);
    show(this.noFlows, flows.flows.length === 0);
    this.risks.set(device.risks);
    show(this.noRisks, device.risks.length === 0);
  }

  tellDevice(device) {
    this.title = deviceLabel(device);
    setText(this.name, this.title);
    this.figures.rateDown.update(device.rate_down);
    this.figures.rateUp.update(device.rate_up);
    this.figures.down.update(device.bytes_down);
    this.figures.up.update(device.bytes_up);
    setText(this.lead, [device.vendor, device.active ? 'active now' : 'silent'].filter(Boolean).join(' · '));
    const rows = [['MAC', device.mac], ['IP', device.ips.join(', ')], ['Interface', device.interface]];
    const times = [['First seen', device.first_seen], ['Last seen', device.last_seen]];
    this.identity.replaceChildren(
      ...rows.filter(([, text]) => text).map(([name, text]) => h('div', {}, h('dt', {}, name), h('dd', {}, text))),
      ...times.map(([name, text]) => {
        const time = relativeTime();
        time.update(text);
        return h('div', {}, h('dt', {}, name), h('dd', {}, time.node));
      }));
  }

  drawTimeline({ buckets, problem }, applications) {
    const { steps } = this;
    this.problem = problem;
    const names = new Map(applications.map((application) => [application.tag, application.name]));
    const sums = new Map();
    for (const bucket of buckets) {
      for (const part of bucket.applications) {
        sums.set(part.tag, (sums.get(part.tag) ?? 0) + part.bytes_up + part.bytes_down);
      }
    }
    const order = [...sums].sort((one, other) => other[1] - one[1]).map(([tag]) => tag);
    const own = order.slice(0, order.length > LAYERS + 1 ? LAYERS : LAYERS + 1);
    const of = (wanted) => steps.sum(buckets, (bucket) => {
      let sum = 0;
      for (const part of bucket.applications) if (wanted(part.tag)) sum += part.bytes_up + part.bytes_down;
      return sum;
    });
    this.layers = own.map((tag, index) => ({ label: names.get(tag) ?? tag, style: `layer-${index}`, values: of((other) => other === tag) }));
    if (own.length < order.length) {
      const isOwn = new Set(own);
      this.layers.push({ label: 'Others', style: 'layer-rest', values: of((tag) => !isOwn.has(tag)) });
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
    const when = index === null ? `In the ${this.steps.range.words}` : this.steps.name(index);
    const figures = [['down', 'down ', this.down], ['up', 'up ', this.up]].map(([style, word, values]) => {
      const { node, update } = bytesFigure(style);
      update(total(values));
      return labelled(style, word, node);
    });
    const parts = index === null ? [] : this.layers
      .map((layer) => [layer.label, layer.values[index]])
      .filter(([, value]) => value > 0)
      .sort((one, other) => other[1] - one[1])
      .slice(0, 3)
      .map(([label, value]) => ['share', `${label} ${bytes(value)}`]);
    return [...readout(['when', when]), ...figures, ...readout(...parts)];
  }
}

function stat(label, value) {
  return h('div', { class: 'stat' }, h('dt', {}, label), h('dd', {}, value));
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
