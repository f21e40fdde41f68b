// The Flows page: live and recently ended flows, filtered by device, application, state and risk.

import { get } from './api.js';
import { h, setAttribute, setText, show } from './dom.js';
import { compareText, count, deviceId, deviceLabel, plural, words } from './format.js';
import { deviceHref, downColumn, emptyNote, listOrNote, timeColumn, twoLines, upColumn } from './parts.js';
import { severity } from './severity.js';
import { Table } from './table.js';

const PAGE = 500;
const MIN_REFRESH_MS = 10_000; // for lists longer than one page
const MAX_LIMIT = 10_000; // the maximum of the API

function address(ip, port) {
  if (ip === null) return '';
  if (port === null) return ip;
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function riskCell() {
  const node = h('span', { class: 'risk' });
  return {
    node,
    update(flow) {
      const level = severity(flow.risk_score);
      setAttribute(node, 'data-level', level.name);
      setAttribute(node, 'title', flow.risks.map((risk) => risk.name).join('\n') || null);
      setText(node, flow.risk_score ? `${level.word} ${flow.risk_score}` : '–');
    },
  };
}

const remoteHost = (flow) => flow.host ?? flow.other_ip;
const device = (flow) => flow.device_name ?? flow.device;

/** Columns of tables of flows. */
export const FLOW_COLUMNS = [
  { id: 'host', label: 'Remote host', style: 'main', compare: (a, b) => compareText(remoteHost(a) ?? '', remoteHost(b) ?? ''),
    cell: () => twoLines((flow) => ({
      href: null, title: remoteHost(flow) ?? '–',
      below: [flow.protocol, address(flow.other_ip, flow.other_port)].filter(Boolean).join(' · '),
    })) },
  { id: 'device', label: 'Device', style: 'device', compare: (a, b) => compareText(device(a) ?? '', device(b) ?? ''),
    cell: () => twoLines((flow) => ({
      href: deviceHref(flow.device),
      title: device(flow) ?? flow.local_ip ?? '–',
      below: flow.active ? 'Live' : 'Ended',
    })) },
  { id: 'application', label: 'Application', style: 'application middle', compare: (a, b) => compareText(a.application_name, b.application_name),
    cell: () => twoLines((flow) => ({
      href: `#/flows?application=${encodeURIComponent(flow.application)}`, title: flow.application_name, below: words(flow.category),
    })) },
  downColumn(), upColumn(),
  timeColumn('first_seen', 'Started'), timeColumn('last_seen', 'Last seen'),
  { id: 'risk', label: 'Risk', style: 'figure middle', descending: true, compare: (a, b) => a.risk_score - b.risk_score, cell: riskCell },
];

/** The Flows page. */
export class Flows {
  constructor(route) {
    this.title = 'Flows';
    this.route = route;
    this.flows = [];
    this.next = null;
    this.readAt = 0;
    this.filters = {
      device: route.query.get('device'),
      application: route.query.get('application'),
      active: route.query.get('active') === 'true' ? 'true' : null,
      min_risk: /^\d{1,5}$/.test(route.query.get('min_risk') ?? '') ? route.query.get('min_risk') : null,
    };
    this.summary = h('p', { class: 'lead', role: 'status' }, '\u00a0');
    this.devices = h('select', { id: 'device', onchange: (event) => this.go({ device: event.target.value }) });
    this.applications = h('select', { id: 'application', onchange: (event) => this.go({ application: event.target.value }) });
    this.table = new Table({ caption: 'Flows, most recent first', key: (flow) => flow.digest, style: 'flows', columns: FLOW_COLUMNS,
      onview: (flows) => this.onView(flows) });
    this.more = h('button', { type: 'button', class: 'quiet', onclick: () => this.readMore() }, 'Show more');
    this.noMatch = emptyNote('No flows match these filters', 'Flows are listed while live and for one hour after they end.');
    this.node = h('div', { class: 'page' }, h('h1', {}, 'Flows'), this.summary,
      h('div', { class: 'tools' },
        field('Device', this.devices), field('Application', this.applications),
        this.toggle('active', 'true', 'Live only'), this.toggle('min_risk', '1', 'With risks only')),
      this.table.node, this.more, this.noMatch);
    show(this.more, false);
    show(this.noMatch, false);
    this.fillSelects();
  }

  close() {
    this.table.close();
  }

  go(parameters) {
    location.hash = this.route.with(parameters);
  }

  toggle(name, value, label) {
    const box = h('input', { type: 'checkbox', onchange: (event) => this.go({ [name]: event.target.checked ? value : null }) });
    box.checked = this.filters[name] !== null;
    return h('label', { class: 'check' }, box, label);
  }

  async fillSelects() {
    fillSelect(this.devices, 'All devices', this.filters.device, []);
    fillSelect(this.applications, 'All applications', this.filters.application, []);
    try {
      const [network, { applications }] = await Promise.all([
        get('', { fields: 'mac,ip,name', sort: 'name' }), get('applications', { fields: 'tag,name', sort: 'name', limit: MAX_LIMIT }),
      ]);
      fillSelect(this.devices, 'All devices', this.filters.device,
        network.devices.map((each) => [deviceId(each), deviceLabel(each)]));
      fillSelect(this.applications, 'All applications', this.filters.application,
        applications.map((application) => [application.tag, application.name]));
    } catch {
      // The refresh of the table reports the error.
    }
  }

  async refresh() {
    const limit = Math.max(this.flows.length, PAGE);
    if (limit > PAGE && Date.now() - this.readAt < MIN_REFRESH_MS) return;
    const response = await get('flows', { ...this.filters, limit: Math.min(limit, MAX_LIMIT) });
    this.readAt = Date.now();
    this.flows = response.flows;
    this.render(response);
  }

  async readMore() {
    if (this.reading || this.next === null) return;
    this.reading = true;
    try {
      const response = await get('flows', { ...this.filters, limit: PAGE, cursor: this.next });
      const known = new Set(this.flows.map((flow) => flow.digest));
      this.flows = [...this.flows, ...response.flows.filter((flow) => !known.has(flow.digest))];
      this.render(response);
    } catch {
      // The button stays. The next refresh reports the error.
    }
    this.reading = false;
  }

  render({ next, total }) {
    this.next = next;
    this.table.set(this.flows);
    setText(this.summary, `${plural(total, 'flow')}${next === null ? '' : ` (latest ${count(this.flows.length)} shown)`}`);
    show(this.more, next !== null);
    listOrNote(this.table.node, this.noMatch, total === 0);
  }

  /** Read the next page when the user scrolls to the end. */
  onView(flows) {
    if (flows.length && flows.at(-1) === this.table.items.at(-1) && window.scrollY > 0) this.readMore();
  }
}

function field(label, control) {
  return h('div', { class: 'field' }, h('label', { for: control.id }, label), control);
}

/** Fill a select element. A selected value that is not among the choices is kept. */
function fillSelect(select, allLabel, selected, choices) {
  const isKnown = choices.some(([value]) => value === selected);
  const options = [['', allLabel], ...(selected !== null && !isKnown ? [[selected, selected]] : []), ...choices];
  select.replaceChildren(...options.map(([value, text]) => h('option', { value, selected: value === (selected ?? '') }, text)));
}
