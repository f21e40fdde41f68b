// Activity, risks: the risks that netifyd's inspection found, and the flows that have them.

import { get } from '../agent/api.js';
import { h, setText, show } from '../parts/dom.js';
import { count, plural } from '../parts/format.js';
import { emptyNote, panel } from '../parts/pieces.js';
import { Table } from '../parts/table.js';
import { activityTabs } from './activity_tabs.js';
import { FLOW_COLUMNS } from './flow_columns.js';
import { RiskList } from './risk_list.js';

const LIMIT = 10_000; // the maximum of the API
const MIN_REFRESH_MS = 10_000; // for more flows than these
const MANY = 500;

/** The page of all risks. */
export class Risks {
  constructor(route, navigate) {
    this.title = 'Risks';
    this.readAt = -Infinity;
    this.summary = h('p', { class: 'lead', role: 'status' }, '\u00a0');
    this.types = new RiskList();
    this.table = new Table({
      caption: 'Flows with risks', key: (flow) => `${flow.digest} ${flow.endpoint}`, style: 'flows', sort: { id: 'risk', descending: true },
      onsort: () => navigate({ sort: this.table.sortText }), columns: FLOW_COLUMNS,
    });
    this.nothing = emptyNote('No risks found', 'No live or recent flow has a risk.');
    this.content = h('div', { class: 'page-content' },
      panel('Types of risk', null, this.types.parent), panel('Flows with risks', null, this.table.node));
    this.node = h('div', { class: 'page' }, h('h1', {}, 'Risks'), activityTabs('risks'), this.summary,
      h('p', { class: 'note' }, 'A risk is a hint, not proof of an attack: deep packet inspection flags unusual connections. ',
        'Look into severe and high risks first; low risks are common on any network.'),
      this.content, this.nothing);
    show(this.nothing, false);
    show(this.content, false);
  }

  close() {
    this.table.close();
  }

  setRoute(route) {
    if (this.table.sortText !== route.get('sort')) this.table.sortText = route.get('sort');
    return this.readAt < 0;
  }

  async refresh() {
    if (Date.now() - this.readAt < MIN_REFRESH_MS && this.table.items.length > MANY) return;
    const { flows, total } = await get('flows', { min_risk: 1, limit: LIMIT });
    this.readAt = Date.now();
    setText(this.summary, `${plural(total, 'flow')} with risks, live or ended within the last hour`
      + (total > flows.length ? ` (latest ${count(flows.length)} shown)` : ''));
    this.types.set(byType(flows));
    this.table.set(flows);
    show(this.content, flows.length > 0);
    show(this.nothing, flows.length === 0);
  }
}

/** The types of risk of flows. */
function byType(flows) {
  const found = new Map();
  for (const flow of flows) {
    for (const risk of flow.risks) {
      const type = found.get(risk.id) ?? { ...risk, flows: 0, last_seen: null, devices: new Map() };
      type.flows += 1;
      if (flow.last_seen !== null && (type.last_seen === null || flow.last_seen > type.last_seen)) type.last_seen = flow.last_seen;
      if (flow.device !== null) type.devices.set(flow.device, flow.device_name ?? flow.device);
      found.set(risk.id, type);
    }
  }
  return [...found.values()].map((type) => ({ ...type, devices: [...type.devices] }));
}
