// The network at a glance: who uses the connection, for what, since when, and whether anything is wrong.

import { get } from './api.js';
import { Chart, readout } from './chart.js';
import { KeyedList, h, icon, setAttribute, setText, show } from './dom.js';
import {
  bytes, bytesFigure, count, deviceId, deviceLabel, duration, figure, now, plural, rateFigure, relativeTime,
} from './format.js';
import { adviceList } from './health.js';
import { deviceHref, downUp, emptyNote, labelled, listOrNote, panel, twoLines } from './parts.js';
import { Steps, rangeLinks, rangeOf, readHistory } from './ranges.js';
import { HIGH } from './severity.js';

const SHOWN = 6;
const LEAST_RATE = 1000; // bits per second below which a connection is called quiet

/** The first view. */
export class Overview {
  constructor(route) {
    this.title = 'Overview';
    this.rangeName = rangeOf(route);
    this.status = null;
    this.headline = h('h1', { class: 'headline' }, 'Looking at the network …');
    this.lead = h('p', { class: 'lead' }, '\u00a0');
    this.figures = {
      down: rateFigure('down'), up: rateFigure('up'), active: figure(), devices: figure(), risks: figure(),
    };
    this.chart = new Chart({
      label: 'Traffic over time', height: 240,
      describe: (index) => this.describe(index), tick: (index) => this.steps?.tick(index) ?? null,
    });
    this.who = new KeyedList(h('ol', { class: 'ranking' }), (device) => deviceId(device), () => whoRow());
    this.what = new KeyedList(h('ol', { class: 'ranking' }), (application) => application.tag, () => whatRow());
    this.healthRows = h('dl', { class: 'health' });
    this.healthPanel = panel('Health', null, this.healthRows);
    this.healthPanel.classList.add('span');
    this.nobody = emptyNote('No device has been seen yet.',
      'netifyd reports every 15 seconds. The first figures show up after that, by themselves.');
    this.check = h('div', {}, h('p', {}, 'If they don’t:'), adviceList('netifyd'));
    this.nobody.append(this.check);
    this.content = h('div', { class: 'page-content' },
      h('dl', { class: 'figures' },
        stat('Download now', labelled('down', '', this.figures.down.node)),
        stat('Upload now', labelled('up', '', this.figures.up.node)),
        stat('Active devices', h('span', {}, this.figures.active.node, h('span', { class: 'of' }, ' of ', this.figures.devices.node)), '#/devices'),
        stat('Connections at high risk', this.figures.risks.node, '#/risks')),
      panel('Traffic', rangeLinks(route), this.chart.node),
      h('div', { class: 'columns three' },
        panel('Who', h('a', { class: 'more', href: '#/devices' }, 'All devices'), this.who.parent),
        panel('For what', h('a', { class: 'more', href: '#/applications' }, 'All applications'), this.what.parent),
        this.healthPanel));
    this.node = h('div', { class: 'page' }, this.headline, this.lead, this.nobody, this.content);
    show(this.nobody, false);
  }

  async refresh() {
    this.steps = new Steps(this.rangeName);
    const busiest = { sort: 'rate', limit: SHOWN };
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
    this.figures.risks.update(risks.total, count, 'live flows with a high risk');
    setAttribute(this.figures.risks.node, 'data-level', risks.total ? 'high' : null);
    this.drawHistory(history);
    this.who.set(network.devices);
    this.what.set(applications.applications);
    setBars(this.who.parent, network.devices);
    setBars(this.what.parent, applications.applications);
    listOrNote(this.content, this.nobody, network.total === 0);
    await this.tellSince(network, active.total);
  }

  /** Since when the busiest devices do what they do: the first of their live flows began then. */
  async tellSince(network, active) {
    const busy = network.devices.filter((device) => mainUse(device) !== null);
    const since = await Promise.all(busy.map(async (device) => {
      const { flows } = await get('flows', {
        device: deviceId(device), application: mainUse(device).tag, active: true, limit: 500, fields: 'first_seen',
      });
      return flows.map((flow) => flow.first_seen).filter(Boolean).sort()[0] ?? null;
    }));
    busy.forEach((device, index) => this.who.parts.get(deviceId(device))?.tellUse(mainUse(device), since[index]));
    this.tellHeadline(network, busy[0], since[0] ?? null, active);
  }

  tellHeadline(network, device, since, active) {
    const { totals } = network;
    const use = device ? mainUse(device) : null;
    if (network.total === 0) {
      setText(this.headline, 'Waiting for traffic');
      setText(this.lead, `${network.gateway} is ready, and has counted nothing so far.`);
    } else if (totals.rate_down + totals.rate_up < LEAST_RATE || use === null) {
      setText(this.headline, 'The connection is quiet.');
      setText(this.lead, `${plural(active, 'device')} of ${count(network.total)} ${active === 1 ? 'is' : 'are'} active.`);
    } else {
      const share = (device.rate_down + device.rate_up) / (totals.rate_down + totals.rate_up);
      const told = since === null ? '' : `, for ${duration(now() - Date.parse(since))}`;
      const words = share > 0.5 ? ' uses most of the connection: ' : ' uses the connection most: ';
      const parts = [deviceLabel(device), words, useName(use), `${told}.`];
      if (this.headline.textContent !== parts.join('')) {
        this.headline.replaceChildren(
          h('a', { href: deviceHref(deviceId(device)) }, h('bdi', {}, parts[0])), parts[1], h('bdi', { class: 'use' }, parts[2]), parts[3]);
      }
      const others = active - 1;
      setText(this.lead, others > 0 ? `${plural(others, 'other device')} ${others === 1 ? 'is' : 'are'} active.` : 'No other device is active.');
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
      ? [`In the ${this.steps.range.words}`, total(this.down), total(this.up)]
      : [this.steps.name(index), this.down[index], this.up[index]];
    return [...readout(['when', name]), sumFigure('down', 'down ', down), sumFigure('up', 'up ', up)];
  }

  setStatus(status) {
    show(this.check, status.checks.netifyd !== 'ok');
    const [netifyd] = status.listeners;
    const { flushes } = status;
    const rows = [
      ['netifyd', status.checks.netifyd, netifyd && [`${plural(status.accounting.live_flows, 'live flow')}, last record `, timeNode(netifyd.last_record)]],
      ['Redis', status.checks.redis, flushes.last_flush && [`last flush ${flushes.flush_ms === null ? '' : `took ${Math.max(Math.round(flushes.flush_ms), 1)} ms, `}`, timeNode(flushes.last_flush)]],
      ['Agent', 'ok', [`version ${status.version}, running for ${duration(status.uptime_s * 1000)}`]],
    ];
    this.healthRows.replaceChildren(...rows.map(([name, check, detail]) => h('div', {},
      h('dt', { 'data-state': check === 'ok' ? 'ok' : 'wrong' }, icon(check === 'ok' ? 'ok' : 'wrong'), name,
        h('span', { class: 'hidden' }, check === 'ok' ? ': all is well' : ': something is wrong')),
      h('dd', {}, ...(check === 'ok' ? detail || ['–'] : [check])))));
  }
}

function stat(label, value, href = null) {
  return h('div', { class: 'stat' }, h('dt', {}, href ? h('a', { href }, label) : label), h('dd', {}, value));
}

function sumFigure(style, word, value) {
  const { node, update } = bytesFigure(style);
  update(value);
  return labelled(style, word, node);
}

function timeNode(text) {
  const { node, update } = relativeTime();
  update(text);
  return node;
}

/** The application that a device uses most now, or null where it is at rest. */
function mainUse(device) {
  let most = null;
  for (const application of device.applications) {
    const speed = application.rate_down + application.rate_up;
    if (speed > 0 && (most === null || speed > most.rate_down + most.rate_up)) most = application;
  }
  return most;
}

/** Its name; where netifyd recognised none, words for that. */
function useName(application) {
  return application.tag === 'Unknown' ? 'an unknown application' : application.name;
}

function row(lines) {
  const both = downUp(rateFigure);
  const bar = h('span', { class: 'bar', 'aria-hidden': 'true' }, h('span', { class: 'down' }), h('span', { class: 'up' }));
  return { node: h('li', {}, h('div', { class: 'ranked' }, lines.node, both.node), bar), both };
}

/** Bars as long as each item's share of the highest rate. */
function setBars(list, items) {
  const most = Math.max(...items.map((item) => item.rate_down + item.rate_up), 1);
  items.forEach((item, index) => {
    const [down, up] = list.children[index].querySelectorAll('.bar span');
    down.style.width = `${((100 * item.rate_down) / most).toFixed(1)}%`;
    up.style.width = `${((100 * item.rate_up) / most).toFixed(1)}%`;
  });
}

function whoRow() {
  let below = '';
  const lines = twoLines((device) => ({ href: deviceHref(deviceId(device)), title: deviceLabel(device), below }));
  const { node, both } = row(lines);
  let shown = null;
  return {
    node,
    update(device) {
      shown = device;
      const use = mainUse(device);
      if (use === null) below = device.active ? 'at rest' : 'silent';
      else if (!below.startsWith(useName(use))) below = useName(use);
      lines.update(device);
      both.update(device.rate_down, device.rate_up);
    },
    tellUse(use, since) {
      below = since === null ? useName(use) : `${useName(use)} · for ${duration(now() - Date.parse(since))}`;
      lines.update(shown);
    },
  };
}

function whatRow() {
  const lines = twoLines((application) => ({
    href: `#/flows?application=${encodeURIComponent(application.tag)}`,
    title: application.name,
    below: application.devices.slice(0, 3).map((user) => user.name ?? user.device).join(', '),
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
