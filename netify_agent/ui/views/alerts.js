// The Alerts page: what is active, what was resolved, and whether the receivers were notified.

import { get } from '../agent/api.js';
import { timeColumn } from '../parts/columns.js';
import { h, setText, show } from '../parts/dom.js';
import { compareText, count, duration, figure, plural } from '../parts/format.js';
import { emptyNote, listOrNote, panel, twoLines } from '../parts/pieces.js';
import { Table } from '../parts/table.js';
import { AlertList, bySeverity, notified, severityLabel } from './alert_list.js';

const LIMIT = 10_000; // the maximum of the API, which knows far fewer alerts

/** The Alerts page. */
export class Alerts {
  constructor(route, navigate) {
    this.title = 'Alerts';
    this.active = null; // number of active alerts that are shown
    this.summary = h('p', { class: 'lead', role: 'status' }, '\u00a0');
    this.list = new AlertList();
    this.quiet = emptyNote('No active alerts');
    this.history = new Table({
      caption: 'Resolved alerts', key: (alert) => alert.id, style: 'long-names', sort: { id: 'resolved_at', descending: true },
      onsort: () => navigate({ sort: this.history.sortText }), columns: HISTORY,
    });
    this.noHistory = emptyNote('No resolved alerts');
    this.receivers = new Table({
      caption: 'Receivers of notifications', key: (one) => one.name, style: 'long-names', sort: { id: 'name', descending: false }, columns: RECEIVERS,
    });
    this.noReceivers = emptyNote('No receivers', 'Nobody is notified. The section “notify” of netify-agent.yaml names receivers.');
    this.unconfigured = emptyNote('No alerts are configured', 'The section “alerts” of netify-agent.yaml says what is watched.');
    this.content = h('div', { class: 'page-content' },
      panel('Active', null, this.list.parent, this.quiet),
      panel('Resolved', null, this.history.node, this.noHistory),
      panel('Receivers, since the agent started', null, this.receivers.node, this.noReceivers));
    this.node = h('div', { class: 'page' }, h('h1', {}, 'Alerts'), this.summary, this.unconfigured, this.content);
    for (const node of [this.quiet, this.noHistory, this.noReceivers, this.unconfigured, this.content]) show(node, false);
  }

  close() {
    for (const table of [this.history, this.receivers]) table.close();
  }

  setRoute(route) {
    if (this.history.sortText !== route.get('sort')) this.history.sortText = route.get('sort');
    return this.active === null;
  }

  async refresh() {
    const { alerts } = await get('alerts', { limit: LIMIT });
    const active = alerts.filter((alert) => alert.status === 'firing');
    const resolved = alerts.filter((alert) => alert.status === 'resolved');
    this.active = active.length;
    this.total = alerts.length;
    setText(this.summary, `${plural(active.length, 'active alert')}, ${count(resolved.length)} resolved`);
    this.list.set(active);
    listOrNote(this.list.parent, this.quiet, active.length === 0);
    this.history.set(resolved);
    listOrNote(this.history.node, this.noHistory, resolved.length === 0);
    this.showContent();
  }

  setStatus(status) {
    this.receivers.set(status.receivers);
    listOrNote(this.receivers.node, this.noReceivers, status.receivers.length === 0);
    this.configured = status.alerts.configured;
    this.showContent();
    // Without Redis there are no flushes, but there may be alerts.
    if (this.active !== null && this.active !== status.alerts.active) this.refresh().catch(() => {});
  }

  /** Until an alert is configured, there is nothing to show but how to do that. */
  showContent() {
    if (this.active === null) return;
    const isEmpty = this.total === 0 && !this.configured;
    show(this.unconfigured, isEmpty && this.configured === 0);
    show(this.summary, !isEmpty);
    show(this.content, !isEmpty);
  }
}

/** What was resolved; on narrow screens with its severity and whether the receivers were notified. */
function resolvedCell() {
  const lines = twoLines((alert) => ({ href: null, title: alert.summary, below: alert.alert }));
  const severity = severityLabel();
  const notice = notified();
  lines.node.append(h('span', { class: 'narrow' }, severity.node, notice.node));
  return {
    node: lines.node,
    update(alert) {
      for (const part of [lines, severity, notice]) part.update(alert);
    },
  };
}

const milliseconds = (alert) => Date.parse(alert.resolved_at) - Date.parse(alert.started_at);

const HISTORY = [
  { id: 'alert', label: 'Alert', style: 'main', compare: (a, b) => compareText(a.alert, b.alert), cell: resolvedCell },
  { id: 'severity', label: 'Severity', style: 'severity middle', descending: true, compare: bySeverity, cell: severityLabel },
  { id: 'notified', label: 'Notified', style: 'notified-cell middle', cell: notified },
  timeColumn('started_at', 'Started'),
  { id: 'lasted', label: 'Lasted', style: 'when wide', descending: true, compare: (a, b) => milliseconds(a) - milliseconds(b),
    cell: () => {
      const node = h('span', {});
      return { node, update: (alert) => setText(node, duration(milliseconds(alert))) };
    } },
  timeColumn('resolved_at', 'Resolved', ''),
];

function countColumn(id, label, unit, style = '') {
  return {
    id, label, style: `when ${style}`, descending: true, compare: (a, b) => a[id] - b[id],
    cell: () => {
      const { node, update } = figure();
      return { node, update: (receiver) => update(receiver[id], count, unit) };
    },
  };
}

const RECEIVERS = [
  { id: 'name', label: 'Receiver', style: 'main', compare: (a, b) => compareText(a.name, b.name),
    cell: () => twoLines((receiver) => ({
      href: null, title: receiver.name, below: [
        receiver.error ?? (receiver.sent ? 'OK' : 'Nothing sent yet'),
        receiver.given_up ? `${count(receiver.given_up)} given up` : null,
      ].filter(Boolean).join(' · '),
    })) },
  countColumn('waiting', 'Waiting', 'notifications'),
  countColumn('sent', 'Delivered', 'notifications'),
  countColumn('given_up', 'Given up', 'notifications', 'middle'),
  countColumn('failures', 'Failed tries', 'attempts', 'wide'),
  timeColumn('last_sent', 'Latest', 'middle'),
];
