// The Overview page: current rates, traffic over time, top devices and applications, and health.

import { get } from '../agent/api.js';
import { adviceList } from '../health.js';
import { KeyedList, h, icon, setAttribute, setText, show } from '../parts/dom.js';
import {
  areRatesKnown, count, deviceId, deviceLabel, duration, figure, now, nowLabel, plural, rate, rateFigure,
} from '../parts/format.js';
import { readHistory, readPeriod } from '../parts/period.js';
import { PeriodChart } from '../parts/period_chart.js';
import { PeriodControl } from '../parts/period_control.js';
import {
  applicationHref, deviceHref, downUp, emptyNote, labelled, listOrNote, panel, stat, timeNode, twoLines,
} from '../parts/pieces.js';
import { HIGH } from '../parts/severity.js';
import { IS_COPY, address } from '../route.js';

const TOP = 6; // devices and applications in the rankings
const IDLE_BITS_PER_S = 1000; // below this rate the headline names no device
const LARGE_SHARE = 0.25; // of the current traffic; below it the headline names no device

/** The Overview page. */
export class Overview {
  constructor(route, navigate) {
    this.title = 'Overview';
    this.problem = null;
    this.headline = h('h1', { class: 'headline' }, 'Loading …');
    this.lead = h('p', { class: 'lead' }, '\u00a0');
    this.figures = {
      down: rateFigure('down'), up: rateFigure('up'), active: figure(), devices: figure(), risks: figure(),
    };
    this.control = new PeriodControl(navigate);
    this.chart = new PeriodChart({ label: 'Traffic over time', height: 240, navigate });
    this.topDevices = new KeyedList(h('ol', { class: 'ranking' }), deviceId, deviceRow);
    this.topApplications = new KeyedList(h('ol', { class: 'ranking' }), (application) => application.tag, applicationRow);
    this.healthRows = h('dl', { class: 'health' });
    this.healthPanel = panel('Monitoring', null, this.healthRows);
    this.healthPanel.classList.add('span');
    show(this.healthPanel, !IS_COPY);
    this.empty = emptyNote('No devices yet', 'Devices appear as soon as they send traffic. netifyd reports every 15 seconds.');
    this.advice = h('div', {}, h('p', {}, 'If no devices appear:'), adviceList('netifyd'));
    this.empty.append(this.advice);
    this.content = h('div', { class: 'page-content' },
      h('dl', { class: 'figures' },
        stat(nowLabel('Download now'), labelled('down', '', this.figures.down.node)),
        stat(nowLabel('Upload now'), labelled('up', '', this.figures.up.node)),
        stat('Active devices', h('span', {}, this.figures.active.node, h('span', { class: 'of' }, ' of ', this.figures.devices.node)), address('devices', '', { active: 'true' })),
        IS_COPY ? null : stat('High-risk connections (live)', this.figures.risks.node, address('activity', '', { active: 'true', min_risk: HIGH }))),
      panel('Traffic', this.control.node, this.chart.node),
      h('div', { class: 'columns three' },
        panel('Top devices now', h('a', { class: 'more', href: '#/devices' }, 'All devices'), this.topDevices.parent),
        panel('Top applications now', h('a', { class: 'more', href: '#/applications' }, 'All applications'), this.topApplications.parent),
        this.healthPanel));
    this.node = h('div', { class: 'page' }, this.headline, this.lead, this.empty, this.content);
    show(this.empty, false);
  }

  setRoute(route) {
    this.route = route;
    this.control.update(route);
  }

  async refresh() {
    const period = await readPeriod(this.route);
    this.control.show(period);
    const [network, applications, history, risks] = await Promise.all([
      get('', { sort: 'rate', limit: TOP, since: true }),
      get('applications', { sort: 'rate', limit: TOP, devices_by: 'rate' }),
      readHistory('history', period),
      IS_COPY ? { total: null } : get('flows', { min_risk: HIGH, active: true, limit: 1, fields: 'digest' }),
    ]);
    this.network = network;
    this.figures.down.update(network.totals.rate_down);
    this.figures.up.update(network.totals.rate_up);
    this.figures.active.update(network.active, count, 'active devices');
    this.figures.devices.update(network.total, count, 'devices');
    this.figures.risks.update(risks.total, count, 'live high-risk flows');
    setAttribute(this.figures.risks.node, 'data-level', risks.total ? 'high' : null);
    this.chart.draw(period, {
      down: period.sum(history.buckets, (bucket) => bucket.bytes_down),
      up: period.sum(history.buckets, (bucket) => bucket.bytes_up),
      known: period.known(history.buckets),
      problem: history.problem,
    });
    this.applications = applications.applications;
    this.showRankings();
    listOrNote(this.content, this.empty, network.total === 0);
    this.updateHeadline();
  }

  /** `problem`: of Health, or null. */
  setProblem(problem) {
    const changed = problem?.text !== this.problem?.text;
    this.problem = problem;
    if (!this.network) return;
    if (changed) { // rates may have become unknown, or known again
      this.figures.down.update(this.network.totals.rate_down);
      this.figures.up.update(this.network.totals.rate_up);
      this.showRankings();
    }
    this.updateHeadline();
  }

  showRankings() {
    this.topDevices.set(this.network.devices);
    this.topApplications.set(this.applications);
    setBars(this.topDevices.parent, this.network.devices);
    setBars(this.topApplications.parent, this.applications);
  }

  updateHeadline() {
    const { network, problem } = this;
    const { totals } = network;
    const [device] = network.devices;
    const application = device ? topApplication(device) : null;
    const total = totals.rate_down + totals.rate_up;
    const share = device ? (device.rate_down + device.rate_up) / Math.max(total, 1) : 0;
    const others = (number) => (number > 0 ? `${plural(number, 'other device')} active` : 'No other devices active');
    if (problem) {
      setText(this.headline, problem.short);
      setText(this.lead, problem.since === null ? 'Current figures are unknown.'
        : `The figures below are ${duration(now() - problem.since)} old.`);
    } else if (network.total === 0) {
      setText(this.headline, 'Waiting for traffic');
      setText(this.lead, `${network.gateway} has not counted any traffic yet.`);
    } else if (total < IDLE_BITS_PER_S || application === null) {
      setText(this.headline, 'Almost no traffic right now');
      setText(this.lead, `${count(network.active)} of ${plural(network.total, 'device')} active`);
    } else if (share < LARGE_SHARE) {
      setText(this.headline, `${plural(network.active, 'active device')} share ${rate(total)}`);
      setText(this.lead, 'None of them uses a quarter of it.');
    } else {
      const amount = share > 0.5 ? 'most' : `${Math.round(100 * share)}%`;
      const name = h('a', { href: deviceHref(deviceId(device)) }, h('bdi', {}, deviceLabel(device)));
      const use = h('bdi', { class: 'use' }, application.tag === 'Unknown' ? 'an unknown application' : application.name);
      const parts = [name, ` is using ${amount} of the current traffic: `, use, forHowLong(application)];
      if (this.headline.textContent !== parts.map((part) => part.textContent ?? part).join('')) {
        this.headline.replaceChildren(...parts);
      }
      setText(this.lead, others(network.active - Number(device.active)));
    }
  }

  setStatus(status) {
    if (IS_COPY) return;
    show(this.advice, status.checks.netifyd !== 'ok');
    const [netifyd] = status.listeners;
    const { flushes } = status;
    const took = flushes.flush_ms === null ? '' : ` (${Math.max(Math.round(flushes.flush_ms), 1)} ms)`;
    const rows = [
      ['netifyd', status.checks.netifyd, netifyd && [`${plural(status.accounting.live_flows, 'live flow')}, last record `, timeNode(netifyd.last_record)]],
      ['Redis', status.checks.redis, flushes.last_flush && ['Last saved ', timeNode(flushes.last_flush), took]],
      ['Agent', 'ok', [`Version ${status.version}, running for ${duration(status.uptime_s * 1000)}`]],
    ];
    this.healthRows.replaceChildren(...rows.map(([name, check, detail]) => h('div', {},
      h('dt', { 'data-state': check === 'ok' ? 'ok' : 'wrong' }, icon(check === 'ok' ? 'ok' : 'wrong'), name,
        h('span', { class: 'hidden' }, check === 'ok' ? ': OK' : ': problem')),
      h('dd', {}, ...(check === 'ok' ? detail || ['–'] : [check])))));
  }
}

/** ` for 42 min`: since the oldest live flow of an application; empty if unknown. */
function forHowLong(application) {
  return application.since ? ` for ${duration(now() - Date.parse(application.since))}` : '';
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

/** Set the length of each bar, relative to the highest rate. Rates that are not known have no bar. */
function setBars(list, items) {
  const maximum = Math.max(...items.map((item) => item.rate_down + item.rate_up), 1);
  items.forEach((item, index) => {
    const [down, up] = list.children[index].querySelectorAll('.bar span');
    const width = (rate) => (areRatesKnown() ? `${((100 * rate) / maximum).toFixed(1)}%` : '0');
    down.style.width = width(item.rate_down);
    up.style.width = width(item.rate_up);
  });
}

function deviceRow() {
  const lines = twoLines((device) => {
    const application = topApplication(device);
    const below = application !== null ? `${application.name}${forHowLong(application).replace(' for', ' · for')}`
      : device.active ? 'Idle' : 'Inactive';
    return { href: deviceHref(deviceId(device)), title: deviceLabel(device), below };
  });
  const { node, both } = row(lines);
  return {
    node,
    update(device) {
      lines.update(device);
      both.update(device.rate_down, device.rate_up);
    },
  };
}

function applicationRow() {
  const lines = twoLines((application) => ({
    href: applicationHref(application.tag),
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
