// Live and recently ended flows: which device talks to whom, by what.

import { get } from './api.js';
import { h, setAttribute, setText, show } from './dom.js';
import { compareText, count, deviceId, deviceLabel, plural, words } from './format.js';
import { deviceHref, downColumn, emptyNote, timeColumn, twoLines, upColumn } from './parts.js';
import { severity } from './severity.js';
import { Table } from './table.js';

const PAGE = 500;
const AGAIN_MS = 10_000; // a longer list is not read anew with each flush

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

/** Columns of a table of flows. */
export const FLOW_COLUMNS = [
  { id: 'host', label: 'With', style: 'main', compare: (one, other) => compareText(one.host ?? one.other_ip ?? '', other.host ?? other.other_ip ?? ''),
    cell: () => twoLines((flow) => ({
      href: null, title: flow.host ?? flow.other_ip ?? '–',
      below: [flow.protocol, address(flow.other_ip, flow.other_port)].filter(Boolean).join(' · '),
    })) },
  { id: 'device', label: 'Device', style: 'device', compare: (one, other) => compareText(one.device_name ?? one.device ?? '', other.device_name ?? other.device ?? ''),
    cell: () => twoLines((flow) => ({
      href: flow.device === null ? null : deviceHref(flow.device),
      title: flow.device_name ?? flow.device ?? flow.local_ip ?? '–',
      below: flow.active ? 'live' : 'over',
    })) },
  { id: 'application', label: 'Application', style: 'application middle', compare: (one, other) => compareText(one.application_name, other.application_name),
    cell: () => twoLines((flow) => ({
      href: `#/flows?application=${encodeURIComponent(flow.application)}`, title: flow.application_name, below: words(flow.category),
    })) },
  downColumn(), upColumn(),
  timeColumn('first_seen', 'Began'), timeColumn('last_seen', 'Last seen'),
  { id: 'risk', label: 'Risk', style: 'figure middle', descending: true, compare: (one, other) => one.risk_score - other.risk_score, cell: riskCell },
];

/** The table of flows. */
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
    this.table = new Table({ caption: 'Flows, the latest first', key: (flow) => flow.digest, style: 'flows', columns: FLOW_COLUMNS,
      onview: (flows) => this.inView(flows) });
    this.more = h('button', { type: 'button', class: 'quiet', onclick: () => this.readMore() }, 'Show more');
    this.nothing = emptyNote('No flow is like that.', 'Flows are kept while they are live, and for an hour after they ended.');
    this.node = h('div', { class: 'page' }, h('h1', {}, 'Flows'), this.summary,
      h('div', { class: 'tools' },
        field('Device', this.devices), field('Application', this.applications),
        this.toggle('active', 'true', 'Live only'), this.toggle('min_risk', '1', 'With a risk only')),
      this.table.node, this.more, this.nothing);
    show(this.more, false);
    show(this.nothing, false);
    this.offerChoices();
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

  async offerChoices() {
    choose(this.devices, 'All devices', this.filters.device, []);
    choose(this.applications, 'All applications', this.filters.application, []);
    try {
      const [network, { applications }] = await Promise.all([
        get('', { fields: 'mac,ip,name', sort: 'name' }), get('applications', { fields: 'tag,name', sort: 'name', limit: 10_000 }),
      ]);
      choose(this.devices, 'All devices', this.filters.device,
        network.devices.map((device) => [deviceId(device), deviceLabel(device)]));
      choose(this.applications, 'All applications', this.filters.application,
        applications.map((application) => [application.tag, application.name]));
    } catch {
      // The table tells what is wrong.
    }
  }

  async refresh() {
    const limit = Math.max(this.flows.length, PAGE);
    if (limit > PAGE && Date.now() - this.readAt < AGAIN_MS) return;
    const answer = await get('flows', { ...this.filters, limit: Math.min(limit, 10_000) });
    this.readAt = Date.now();
    this.flows = answer.flows;
    this.tell(answer);
  }

  async readMore() {
    if (this.reading || this.next === null) return;
    this.reading = true;
    try {
      const answer = await get('flows', { ...this.filters, limit: PAGE, cursor: this.next });
      const known = new Set(this.flows.map((flow) => flow.digest));
      this.flows = [...this.flows, ...answer.flows.filter((flow) => !known.has(flow.digest))];
      this.tell(answer);
    } catch {
      // The button stays, and the next flush tells what is wrong.
    }
    this.reading = false;
  }

  tell(answer) {
    this.next = answer.next;
    this.table.set(this.flows);
    setText(this.summary, `${plural(answer.total, 'flow')}${this.next === null ? '' : `, the latest ${count(this.flows.length)} are shown`}`);
    show(this.more, this.next !== null);
    show(this.table.node, answer.total > 0);
    show(this.nothing, answer.total === 0);
  }

  /** Whoever reaches the end reads on. */
  inView(flows) {
    if (flows.length && flows.at(-1) === this.table.items.at(-1) && window.scrollY > 0) this.readMore();
  }
}

function field(label, control) {
  return h('div', { class: 'field' }, h('label', { for: control.id }, label), control);
}

function choose(select, all, chosen, choices) {
  const known = choices.some(([value]) => value === chosen);
  const options = [['', all], ...(chosen !== null && !known ? [[chosen, chosen]] : []), ...choices];
  select.replaceChildren(...options.map(([value, text]) => h('option', { value, selected: value === (chosen ?? '') }, text)));
}
