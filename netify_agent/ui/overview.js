// The Overview page: current rates, traffic over time, top devices and applications, and health.

import { get } from './api.js';
import { Chart, readout } from './chart.js';
import { KeyedList, h, icon, setAttribute, setText, show } from './dom.js';
import { count, deviceId, deviceLabel, duration, figure, now, plural, rateFigure } from './format.js';
import { adviceList } from './health.js';
import {
  deviceHref, downUp, emptyNote, fixedBytes, labelled, listOrNote, panel, stat, timeNode, twoLines,
} from './parts.js';
import { Steps, rangeLinks, rangeOf, readHistory } from './ranges.js';
import { HIGH } from './severity.js';

const TOP = 6; // devices and applications in the rankings
const IDLE_BITS_PER_S = 1000; // below this rate the headline names no device

/** The Overview page. */
export class Overview {
  constructor(route) {
    this.title = 'Overview';
    this.rangeName = rangeOf(route);
    this.headline = h('h1', { class: 'headline' }, 'Loading …');
    this.lead = h('p', { class: 'lead' }, '\u00a0');
    this.figures = {
      down: rateFigure('down'), up: rateFigure('up'), active: figure(), devices: figure(), risks: figure(),
    };
    this.chart = new Chart({
      label: 'Traffic over time', height: 240,
      describe: (index) => this.describe(index), tick: (index) => this.steps?.tick(index) ?? null,
    });
    this.topDevices = new KeyedList(h('ol', { class: 'ranking' }), deviceId, deviceRow);
    this.topApplications = new KeyedList(h('ol', { class: 'ranking' }), (application) => application.tag, applicationRow);
    this.healthRows = h('dl', { class: 'health' });
    this.healthPanel = panel('Health', null, this.healthRows);
    this.healthPanel.classList.add('span');
    this.empty = emptyNote('No devices yet', 'Devices appear as soon as they send traffic. netifyd reports every 15 seconds.');
    this.advice = h('div', {}, h('p', {}, 'If no devices appear:'), adviceList('netifyd'));
    this.empty.append(this.advice);
    this.content = h('div', { class: 'page-content' },
      h('dl', { class: 'figures' },
        stat('Download now', labelled('down', '', this.figures.down.node)),
        stat('Upload now', labelled('up', '', this.figures.up.node)),
        stat('Active devices', h('span', {}, this.figures.active.node, h('span', { class: 'of' }, ' of ', this.figures.devices.node)), '#/devices'),
        stat('High-risk connections (live)', this.figures.risks.node, '#/risks')),
      panel('Traffic', rangeLinks(route), this.chart.node),
      h('div', { class: 'columns three' },
        panel('Top devices now', h('a', { class: 'more', href: '#/devices' }, 'All devices'), this.topDevices.parent),
        panel('Top applications now', h('a', { class: 'more', href: '#/applications' }, 'All applications'), this.topApplications.parent),
        this.healthPanel));
    this.node = h('div', { class: 'page' }, this.headline, this.lead, this.empty, this.content);
    show(this.empty, false);
  }

  async refresh() {
    this.steps = new Steps(this.rangeName);
    const busiest = { sort: 'rate', limit: TOP };
    const [network, active, applications, history, risks] = await Promise.all([
      get('', busiest),
      get('', { active: true, limit: 1, fields: 'mac' }),
      get('applications', busiest),
      readHistory('history', this.steps),
      get('flows', { min_risk: HIGH, active: true, limit: 1, fields: 'digest' }),
    ]);
    this.figures.down.update(network.totals.rate_down);
    this.figures.up.update(network.totals.rate_up);
    this.figures.active.update(active.total, count, 'active devices');
    this.figures.devices.update(network.total, count, 'devices');
    this.figures.risks.update(risks.total, count, 'live high-risk flows');
    setAttribute(this.figures.risks.node, 'data-level', risks.total ? 'high' : null);
    this.drawHistory(history);
    this.topDevices.set(network.devices);
    this.topApplications.set(applications.applications);
    setBars(this.topDevices.parent, network.devices);
    setBars(this.topApplications.parent, applications.applications);
    listOrNote(this.content, this.empty, network.total === 0);
    await this.updateUse(network, active.total);
  }

  /** Show for how long the busiest devices have used their top application: since its oldest live flow. */
  async updateUse(network, active) {
    const busy = network.devices.filter((device) => topApplication(device) !== null);
    const since = await Promise.all(busy.map(async (device) => {
      const { flows } = await get('flows', {
        device: deviceId(device), application: topApplication(device).tag, active: true, limit: 500, fields: 'first_seen',
      });
      return flows.map((flow) => flow.first_seen).filter(Boolean).sort()[0] ?? null;
    }));
    busy.forEach((device, index) =>
      this.topDevices.parts.get(deviceId(device))?.updateUse(topApplication(device), since[index]));
    this.updateHeadline(network, busy[0], since[0] ?? null, active);
  }

  updateHeadline(network, device, since, active) {
    const { totals } = network;
    const application = device ? topApplication(device) : null;
    if (network.total === 0) {
      setText(this.headline, 'Waiting for traffic');
      setText(this.lead, `${network.gateway} has not counted any traffic yet.`);
    } else if (totals.rate_down + totals.rate_up < IDLE_BITS_PER_S || application === null) {
      setText(this.headline, 'Almost no traffic right now');
      setText(this.lead, `${count(active)} of ${plural(network.total, 'device')} active`);
    } else {
      const share = (device.rate_down + device.rate_up) / (totals.rate_down + totals.rate_up);
      const words = share > 0.5 ? ' is using most of the bandwidth: ' : ' is using the most bandwidth: ';
      const name = h('bdi', {}, deviceLabel(device));
      const parts = [h('a', { href: deviceHref(deviceId(device)) }, name), words, h('bdi', { class: 'use' }, application.tag === 'Unknown' ? 'an unknown application' : application.name),
        since === null ? '' : ` for ${age(since)}`];
      if (this.headline.textContent !== parts.map((part) => part.textContent ?? part).join('')) {
        this.headline.replaceChildren(...parts);
      }
      setText(this.lead, active > 1 ? `${plural(active - 1, 'other device')} active` : 'No other devices active');
    }
  }

  drawHistory({ buckets, problem }) {
    const { steps } = this;
    this.problem = problem;
    this.down = steps.sum(buckets, (bucket) => bucket.bytes_down);
    this.up = steps.sum(buckets, (bucket) => bucket.bytes_up);
    this.chart.set(steps.length, [
      { style: 'down', values: this.down },
      { style: 'up', values: this.up, below: true },
    ]);
  }

  describe(index) {
    if (this.problem) return readout(['when', this.problem]);
    if (!this.down) return readout(['when', '\u00a0']);
    const total = (values) => values.reduce((sum, value) => sum + value, 0);
    const [name, down, up] = index === null
      ? [this.steps.range.title, total(this.down), total(this.up)]
      : [this.steps.name(index), this.down[index], this.up[index]];
    return [...readout(['when', name]), fixedBytes('down', 'download ', down), fixedBytes('up', 'upload ', up)];
  }

  setStatus(status) {
    show(this.advice, status.checks.netifyd !== 'ok');
    const [netifyd] = status.listeners;
    const { flushes } = status;
    const took = flushes.flush_ms === null ? '' : ` (${Math.max(Math.round(flushes.flush_ms), 1)} ms)`;
    const rows = [
      ['netifyd', status.checks.netifyd, netifyd && [`${plural(status.accounting.live_flows, 'live flow')}, last record `, timeNode(netifyd.last_record)]],
      ['Redis', status.checks.redis, flushes.last_flush && ['Last flush ', timeNode(flushes.last_flush), took]],
      ['Agent', 'ok', [`Version ${status.version}, running for ${duration(status.uptime_s * 1000)}`]],
    ];
    this.healthRows.replaceChildren(...rows.map(([name, check, detail]) => h('div', {},
      h('dt', { 'data-state': check === 'ok' ? 'ok' : 'wrong' }, icon(check === 'ok' ? 'ok' : 'wrong'), name,
        h('span', { class: 'hidden' }, check === 'ok' ? ': OK' : ': problem')),
      h('dd', {}, ...(check === 'ok' ? detail || ['–'] : [check])))));
  }
}

function age(since) {
  return duration(now() - Date.parse(since));
}

/** The application with the highest rate of a device, or null if the device is idle. */
function topApplication(device) {
  let top = null;
  for (const application of device.applications) {
    const rate = application.rate_down + application.rate_up;
    if (rate > 0 && (top === null || rate > top.rate_down + top.rate_up)) top = application;
  }
  return top;
}

function row(lines) {
  const both = downUp(rateFigure);
  const bar = h('span', { class: 'bar', 'aria-hidden': 'true' }, h('span', { class: 'down' }), h('span', { class: 'up' }));
  return { node: h('li', {}, h('div', { class: 'ranked' }, lines.node, both.node), bar), both };
}

/** Set the length of each bar, relative to the highest rate. */
function setBars(list, items) {
  const maximum = Math.max(...items.map((item) => item.rate_down + item.rate_up), 1);
  items.forEach((item, index) => {
    const [down, up] = list.children[index].querySelectorAll('.bar span');
    down.style.width = `${((100 * item.rate_down) / maximum).toFixed(1)}%`;
    up.style.width = `${((100 * item.rate_up) / maximum).toFixed(1)}%`;
  });
}

function deviceRow() {
  let below = '';
  const lines = twoLines((device) => ({ href: deviceHref(deviceId(device)), title: deviceLabel(device), below }));
  const { node, both } = row(lines);
  let shown = null;
  return {
    node,
    update(device) {
      shown = device;
      const application = topApplication(device);
      if (application === null) below = device.active ? 'Idle' : 'Inactive';
      else if (!below.startsWith(application.name)) below = application.name;
      lines.update(device);
      both.update(device.rate_down, device.rate_up);
    },
    updateUse(application, since) {
      below = since === null ? application.name : `${application.name} · for ${age(since)}`;
      lines.update(shown);
    },
  };
}

function applicationRow() {
  const lines = twoLines((application) => ({
    href: `#/flows?application=${encodeURIComponent(application.tag)}`,
    title: application.name,
    below: application.devices.slice(0, 3).map((device) => device.name ?? device.device).join(', '),
  }));
  const { node, both } = row(lines);
  return {
    node,
    update(application) {
      lines.update(application);
      both.update(application.rate_down, application.rate_up);
    },
  };
}
