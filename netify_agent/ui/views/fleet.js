// The Fleet page at a collector: its gateways, those with problems first. A row opens the dashboard of its gateway.

import { get } from '../agent/api.js';
import { nowColumn } from '../parts/columns.js';
import { csvLink } from '../parts/csv_link.js';
import { h, setAttribute, setText, show } from '../parts/dom.js';
import { bytesFigure, compareText, count, date, duration, figure, plural, rateFigure, relativeTime } from '../parts/format.js';
import { downUp, emptyNote, labelled, listOrNote, searchField, stat, twoLines } from '../parts/pieces.js';
import { field, fillSelect } from '../parts/select.js';
import { Table } from '../parts/table.js';

const LIMIT = 10_000; // the maximum of the API
const MANY = 500; // a list of more gateways than that is read less often
const MIN_REFRESH_MS = 60_000;
const FIELDS = 'gateway,state,last_contact,version,clock_skew,devices,active,rate_up,rate_down,month,plan,alerts';
const LEVELS = { critical: 'high', warning: 'medium', info: 'low' };
const SKEW_S = 5; // a clock that is wrong by more is a problem
const STATES = {
  silent: { rank: 3, word: 'Silent' },
  new: { rank: 1, word: 'Nothing received yet' },
  online: { rank: 0, word: 'Online' },
};

/** How bad a gateway is: a silent one is worst, then one whose clock is wrong. */
const rank = (gateway) => (gateway.state === 'online' && isSkewed(gateway) ? 2 : STATES[gateway.state].rank);
/** How urgent the alerts of a gateway are: one critical alert counts more than any number of others. */
const firing = ({ alerts }) => (alerts ? alerts.critical * 1e6 + alerts.warning * 1e3 + alerts.info : 0);
const isSkewed = ({ clock_skew: skew }) => skew !== null && Math.abs(skew) > SKEW_S;
const contact = (gateway) => Date.parse(gateway.last_contact ?? 0);
const used = ({ month }) => (month ? month.bytes_up + month.bytes_down : -1);

/** The Fleet page. */
export class Fleet {
  constructor(route, navigate) {
    this.title = 'Fleet';
    this.document = null;
    this.readAt = -Infinity;
    this.summary = h('p', { class: 'lead', role: 'status' }, '\u00a0');
    this.figures = { online: figure(), all: figure(), down: rateFigure('down'), up: rateFigure('up'), active: figure(), devices: figure() };
    const of = (one, other) => h('span', {}, one.node, h('span', { class: 'of' }, ' of ', other.node));
    this.search = searchField('Search gateways', 'Name of a gateway', (text) => navigate({ q: text }));
    this.state = h('select', { id: 'state', onchange: () => navigate({ state: this.state.value }) });
    this.csv = csvLink('Download CSV');
    this.table = new Table({
      caption: 'Gateways', key: (gateway) => gateway.gateway, style: 'fleet', sort: { id: 'state', descending: true },
      onsort: () => navigate({ sort: this.table.sortText }), columns: COLUMNS,
    });
    this.empty = emptyNote('No gateways', 'Your token gives access to no gateway of this collector.');
    this.noMatch = emptyNote('No gateways match these filters');
    this.content = h('div', {},
      h('dl', { class: 'figures' },
        stat('Online', of(this.figures.online, this.figures.all)),
        stat('Active devices', of(this.figures.active, this.figures.devices)),
        stat('Download now', labelled('down', '', this.figures.down.node)),
        stat('Upload now', labelled('up', '', this.figures.up.node))),
      h('div', { class: 'tools' }, this.search.node, field('State', this.state)),
      h('div', { class: 'about' }, h('p', { class: 'note' }, 'Figures that are not current are in italics, as of the last message.'), this.csv.node));
    this.node = h('div', { class: 'page' }, h('h1', {}, 'Fleet'), this.summary, this.content, this.table.node, this.empty, this.noMatch);
    for (const node of [this.empty, this.noMatch]) show(node, false);
  }

  close() {
    this.table.close();
  }

  setRoute(route) {
    this.route = route;
    if (this.search.input.value !== (route.get('q') ?? '')) this.search.input.value = route.get('q') ?? '';
    if (this.table.sortText !== route.get('sort')) this.table.sortText = route.get('sort');
    if (this.document) this.showList(true);
    return this.document === null;
  }

  async refresh() {
    if (this.document?.total > MANY && Date.now() - this.readAt < MIN_REFRESH_MS) return;
    this.document = await get('gateways', { limit: LIMIT, fields: FIELDS });
    this.readAt = Date.now();
    this.showList(false);
  }

  /** `byUser`: the user has changed what is shown, so the order may change. */
  showList(byUser) {
    const { gateways, totals, total } = this.document;
    const search = this.search.input.value.trim().toLowerCase();
    const state = Object.hasOwn(STATES, this.route.get('state') ?? '') ? this.route.get('state') : null;
    fillSelect(this.state, 'All states', state, Object.entries(STATES).map(([name, { word }]) => [name, word]));
    const found = gateways.filter((each) => (state === null || each.state === state) && each.gateway.toLowerCase().includes(search));
    if (byUser) this.table.reset(found);
    else this.table.set(found);
    this.figures.online.update(totals.online, count, 'gateways');
    this.figures.all.update(totals.gateways, count, 'gateways');
    this.figures.active.update(totals.active, count, 'devices of gateways that are online');
    this.figures.devices.update(totals.devices, count, 'devices');
    this.figures.down.update(totals.rate_down);
    this.figures.up.update(totals.rate_up);
    const skewed = gateways.filter(isSkewed).length;
    const problems = [
      totals.silent ? `${count(totals.silent)} silent` : null,
      skewed ? `${count(skewed)} with a wrong clock` : null,
      totals.new ? `${count(totals.new)} that sent nothing yet` : null,
    ].filter(Boolean).join(', ');
    const shown = gateways.length < total ? ` (${count(gateways.length)} of them are listed)` : '';
    setText(this.summary, `${plural(total, 'gateway')}${shown}${total ? `: ${problems || 'all online'}` : ''}`);
    this.csv.update('gateways', { search: search || null, state, limit: LIMIT, format: 'csv' });
    show(this.content, total > 0);
    listOrNote(this.table.node, this.empty, total === 0);
    if (total) listOrNote(this.table.node, this.noMatch, found.length === 0);
  }
}

/** The gateway with the version of its agent. Marks the row: figures of a gateway that is not online are not current. */
function gatewayCell() {
  const lines = twoLines((gateway) => ({
    href: `../gateways/${encodeURIComponent(gateway.gateway)}/ui/`,
    title: gateway.gateway,
    below: gateway.version === null ? '' : `netify-agent ${gateway.version}`,
  }));
  const dot = h('span', { class: 'dot', 'aria-hidden': 'true' });
  const node = h('span', { class: 'with-dot' }, dot, lines.node);
  return {
    node,
    update(gateway) {
      setAttribute(node, 'data-old', gateway.state !== 'online');
      setAttribute(dot, 'data-active', gateway.state === 'online');
      lines.update(gateway);
    },
  };
}

/** The state in words, with the age of the last message, and a clock that is wrong. */
function stateCell() {
  const word = h('span', {});
  const when = h('span', { class: 'below' });
  const time = relativeTime();
  const skew = h('span', { class: 'below', 'data-level': 'medium' });
  return {
    node: h('span', { class: 'two-lines' }, word, when, skew),
    update(gateway) {
      setText(word, STATES[gateway.state].word);
      setAttribute(word, 'data-level', gateway.state === 'silent' ? 'high' : gateway.state === 'new' ? 'low' : 'ok');
      time.update(gateway.last_contact);
      if (!time.node.parentNode) when.append('Last message ', time.node);
      show(when, gateway.last_contact !== null);
      const seconds = gateway.clock_skew;
      setText(skew, isSkewed(gateway) ? `Clock ${duration(Math.abs(seconds) * 1000)} ${seconds > 0 ? 'fast' : 'slow'}` : '');
      show(skew, isSkewed(gateway));
    },
  };
}

function devicesCell() {
  const active = figure();
  const all = figure();
  const of = h('span', { class: 'of' }, ' of ');
  return {
    node: h('span', {}, active.node, of, all.node),
    update(gateway) {
      active.update(gateway.active, count, 'active devices');
      all.update(gateway.devices, count, 'devices');
      for (const node of [active.node, of]) show(node, gateway.active !== null);
    },
  };
}

/** The plan of which most is used, and the alerts that fire, by severity. */
function planCell() {
  const share = h('span', {});
  const plan = h('bdi', { class: 'below' });
  return {
    node: h('span', { class: 'two-lines' }, share, plan),
    update({ plan: fullest }) {
      setText(share, fullest ? `${Math.floor(100 * fullest.share)}%` : '–');
      setAttribute(share, 'data-level', fullest && fullest.used > fullest.limit ? 'high' : null);
      setText(plan, fullest ? fullest.plan : '');
    },
  };
}

function alertsCell() {
  const node = h('span', { class: 'two-lines' });
  const lines = ['critical', 'warning', 'info'].map((severity) => [severity, h('span', { 'data-level': LEVELS[severity] })]);
  const none = h('span', {}, '–');
  node.append(none, ...lines.map(([, line]) => line));
  return {
    node,
    update({ alerts }) {
      for (const [severity, line] of lines) {
        setText(line, `${count(alerts?.[severity] ?? 0)} ${severity}`);
        show(line, alerts?.[severity] > 0);
      }
      show(none, firing({ alerts }) === 0);
    },
  };
}

/** Bytes of the calendar month that the latest message belongs to, with its first day. */
function monthCell() {
  const both = downUp(bytesFigure);
  const since = h('span', { class: 'below' });
  return {
    node: h('span', {}, both.node, since),
    update({ month }) {
      both.update(month?.bytes_down ?? null, month?.bytes_up ?? null);
      setText(since, month ? `since ${date(Date.parse(month.start))}` : '');
    },
  };
}

const COLUMNS = [
  { id: 'name', label: 'Gateway', style: 'main', compare: (a, b) => compareText(a.gateway, b.gateway), cell: gatewayCell },
  { id: 'state', label: 'State', style: 'state', descending: true, cell: stateCell,
    compare: (a, b) => rank(a) - rank(b) || firing(a) - firing(b) || contact(b) - contact(a) || compareText(b.gateway, a.gateway) },
  { ...nowColumn(), style: 'figure middle', compare: (a, b) => (a.rate_down + a.rate_up) - (b.rate_down + b.rate_up) },
  { id: 'devices', label: 'Devices', style: 'figure wide', descending: true, compare: (a, b) => a.devices - b.devices, cell: devicesCell },
  { id: 'alerts', label: 'Alerts', style: 'alerts middle', descending: true, compare: (a, b) => firing(a) - firing(b), cell: alertsCell },
  { id: 'plan', label: 'Plan', style: 'plan middle', descending: true, compare: (a, b) => (a.plan?.share ?? -1) - (b.plan?.share ?? -1), cell: planCell },
  { id: 'month', label: 'Month', style: 'figure', descending: true, compare: (a, b) => used(a) - used(b), cell: monthCell },
];
