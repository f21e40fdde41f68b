// The view of risks: the risks that netifyd's inspection found, and the flows that have them.

import { get } from './api.js';
import { KeyedList, h, setAttribute, setText, show } from './dom.js';
import { plural, relativeTime } from './format.js';
import { FLOW_COLUMNS } from './flows.js';
import { deviceHref, emptyNote, panel } from './parts.js';
import { severity } from './severity.js';
import { Table } from './table.js';

const LIMIT = 2000;
const AGAIN_MS = 10_000;
const SHOWN_DEVICES = 4;

/** One kind of risk: `{id, name, flows, score, last_seen}`, and `devices` if known. */
export function riskRow() {
  const level = h('span', { class: 'level' });
  const name = h('span', { class: 'risk-name' });
  const detail = h('span', { class: 'below' });
  const seen = relativeTime();
  const devices = h('span', { class: 'links' });
  const list = new KeyedList(devices, ([id]) => id, ([id]) => {
    const text = h('bdi', {});
    return { node: h('a', { href: deviceHref(id) }, text), update: ([, label]) => setText(text, label) };
  });
  return {
    node: h('li', {}, level, h('div', {}, name, detail, devices), h('span', { class: 'when' }, seen.node)),
    update(risk) {
      const { name: key, word } = severity(risk.score);
      setAttribute(level, 'data-level', key);
      setText(level, word);
      setText(name, risk.name);
      setText(detail, `${plural(risk.flows, 'flow')}, score up to ${risk.score}`);
      list.set((risk.devices ?? []).slice(0, SHOWN_DEVICES));
      seen.update(risk.last_seen);
    },
  };
}

/** The view of all risks. */
export class Risks {
  constructor() {
    this.title = 'Risks';
    this.readAt = 0;
    this.summary = h('p', { class: 'lead', role: 'status' }, '\u00a0');
    this.kinds = new KeyedList(h('ul', { class: 'risks' }), (risk) => risk.id, riskRow);
    this.table = new Table({
      caption: 'Flows with a risk', key: (flow) => flow.digest, style: 'flows', sort: { id: 'risk', descending: true },
      columns: FLOW_COLUMNS.map((column) => (column.id === 'risk' ? { ...column, style: 'figure' }
        : column.id === 'bytes_down' ? { ...column, style: 'figure middle' } : column)),
    });
    this.nothing = emptyNote('No risks found.', 'The inspection flagged no live or recent flow.');
    this.content = h('div', { class: 'page-content' },
      panel('Kinds of risk', null, this.kinds.parent), panel('Flows', null, this.table.node));
    this.node = h('div', { class: 'page' }, h('h1', {}, 'Risks'), this.summary,
      h('p', { class: 'note' }, 'A risk is a hint, not proof of an attack: the inspection flags unusual connections. ',
        'Look into high risks today; low risks are common on any network.'),
      this.content, this.nothing);
    show(this.nothing, false);
    show(this.content, false);
  }

  close() {
    this.table.close();
  }

  async refresh() {
    if (Date.now() - this.readAt < AGAIN_MS && this.table.items.length > 500) return;
    const { flows, total } = await get('flows', { min_risk: 1, limit: LIMIT });
    this.readAt = Date.now();
    setText(this.summary, `${plural(total, 'flow')} with a risk, live or ended in the last hour`
      + (total > flows.length ? `; the latest ${flows.length} are shown` : ''));
    this.kinds.set(kinds(flows));
    this.table.set(flows);
    show(this.content, flows.length > 0);
    show(this.nothing, flows.length === 0);
  }
}

/** The kinds of risk of flows, highest score first. */
function kinds(flows) {
  const found = new Map();
  for (const flow of flows) {
    for (const { id, name } of flow.risks) {
      const kind = found.get(id) ?? { id, name, flows: 0, score: 0, last_seen: null, devices: new Map() };
      kind.flows += 1;
      kind.score = Math.max(kind.score, flow.risk_score);
      if (flow.last_seen !== null && (kind.last_seen === null || flow.last_seen > kind.last_seen)) kind.last_seen = flow.last_seen;
      if (flow.device !== null) kind.devices.set(flow.device, flow.device_name ?? flow.device);
      found.set(id, kind);
    }
  }
  return [...found.values()]
    .map((kind) => ({ ...kind, devices: [...kind.devices] }))
    .sort((one, other) => other.score - one.score || other.flows - one.flows);
}
