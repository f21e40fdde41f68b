// The Usage page: the traffic of a period compared with the period before, and its ranking.

import { get } from '../agent/api.js';
import { csvLink } from '../parts/csv_link.js';
import { h, setAttribute, setText, show } from '../parts/dom.js';
import { bytesFigure, figure } from '../parts/format.js';
import {
  between, covered, periodParameters, readHistory, readPeriod, readPeriodBefore, timesText,
} from '../parts/period.js';
import { PeriodChart } from '../parts/period_chart.js';
import { PeriodControl } from '../parts/period_control.js';
import { Balance, emptyNote, labelled, listOrNote, panel, stat } from '../parts/pieces.js';
import { IS_COPY } from '../route.js';
import { PlanList } from './plan_list.js';
import { changeText, KINDS, Ranking, rowOf } from './usage_ranking.js';

const MOST_BARS = 48; // a month in days, a week in days, a day in hours
const LIMIT = 10_000; // the maximum of the API
const MOST_PLANS = 12; // shown; those with the largest share
const BALANCE = {
  rows: ['', 'Rows of this list'],
  forgotten: ['+', 'Forgotten devices', 'removed from the list of devices after a long silence'],
  unattributed: ['+', 'Without a device', 'netifyd did not say whose connections these were'],
  local: ['−', 'Between devices', 'counted for both of them'],
  repeated: ['−', 'In several groups', 'counted in each of them'],
  totals: ['=', 'Gateway', 'without local traffic'],
};

/** Empty for a gateway that sent no plans to its collector. */
function noPlans(error) {
  if (!IS_COPY || error.status !== 503) throw error;
  return { plans: [], total: 0 };
}

const total = (bucket) => bucket.bytes_up + bucket.bytes_down;

/** The Usage page. */
export class Usage {
  constructor(route, navigate) {
    this.title = 'Usage';
    this.shown = null;
    this.lead = h('p', { class: 'lead', role: 'status' }, '\u00a0');
    this.control = new PeriodControl(navigate);
    this.figures = { down: bytesFigure('down'), up: bytesFigure('up'), local: bytesFigure(), change: figure() };
    this.changeLabel = h('span', {}, 'Change');
    this.chartTitle = h('span', {}, 'Traffic');
    this.chart = new PeriodChart({ label: 'Traffic in the period', height: 240, navigate });
    this.before = h('p', { class: 'unit before-key' }, 'Period before');
    this.tabs = Object.entries(KINDS).map(([by, { label }]) => [by, h('a', {}, label)]);
    this.csv = csvLink('Download CSV');
    this.compared = h('p', { class: 'note' });
    this.ranking = new Ranking(navigate);
    this.plans = new PlanList();
    this.empty = emptyNote('No traffic in this period');
    this.balance = new Balance('How the list adds up', BALANCE);
    this.node = h('div', { class: 'page usage' }, h('h1', {}, 'Usage'), this.lead,
      h('div', { class: 'tools' }, this.control.node),
      h('div', { class: 'page-content' },
        h('dl', { class: 'figures' },
          stat('Download', labelled('down', '', this.figures.down.node)),
          stat('Upload', labelled('up', '', this.figures.up.node)),
          stat('Local traffic', this.figures.local.node),
          stat(this.changeLabel, this.figures.change.node)),
        this.plans.node,
        panel(this.chartTitle, this.before, this.chart.node),
        panel('Used by', this.csv.node, h('nav', { class: 'tabs', 'aria-label': 'Ranking' }, ...this.tabs.map(([, link]) => link)),
          this.compared, this.ranking.node, this.empty),
        this.balance.node));
    for (const node of [this.empty, this.before, this.balance.node]) show(node, false);
  }

  close() {
    this.ranking.close();
  }

  setRoute(route) {
    this.route = route;
    this.control.update(route);
    this.by = Object.hasOwn(KINDS, route.get('by') ?? '') ? route.get('by') : 'device';
    for (const [by, link] of this.tabs) {
      setAttribute(link, 'href', route.with({ by: by === 'device' ? null : by, sort: null }));
      setAttribute(link, 'aria-current', by === this.by ? 'true' : null);
    }
    return this.ranking.setRoute(route) || this.shown !== this.selection;
  }

  /** What is read for the route. */
  get selection() {
    return JSON.stringify([this.by, periodParameters(this.route)]);
  }

  async refresh() {
    const { by, selection, route } = this;
    const period = await readPeriod(route, MOST_BARS);
    const before = await readPeriodBefore(period, MOST_BARS);
    const [history, historyBefore] = await Promise.all([readHistory('history', period), readHistory('history', before)]);
    const parameters = { by, ...period.usageParameters, previous: true, to_date: true, limit: LIMIT };
    const [usage, plans] = await Promise.all([get('usage', parameters),
      get('plans', { limit: MOST_PLANS }).catch(noPlans)]);
    if (selection !== this.selection) return; // the user has moved on; another refresh follows
    this.shown = selection;
    this.control.show(period);
    this.csv.update('usage', { ...parameters, format: 'csv' });
    setText(this.lead, timesText(period, usage));
    const missing = missingOf(historyBefore, usage);
    this.showFigures(usage, missing);
    this.plans.set(plans);
    this.drawChart(period, history, before, historyBefore, allowance(plans.plans, period));
    this.ranking.set(by, usage, route, missing !== null);
    listOrNote(this.ranking.node, this.empty, usage.usage.length === 0);
    this.showBalance(by, usage);
  }

  /** `missing`: what to say about missing data of the period before, or null. */
  showFigures({ totals, previous_period: used, timezone }, missing) {
    const all = { ...rowOf(totals), isPartial: missing !== null };
    this.figures.down.update(all.bytes_down);
    this.figures.up.update(all.bytes_up);
    this.figures.local.update(all.local);
    this.figures.change.update(all.isPartial ? null : total(all) - all.before, () => changeText(all), 'bytes');
    const before = covered(used, timezone);
    setText(this.changeLabel, `vs. ${before}`);
    setText(this.compared, `Without local traffic. Before${missing === null ? ' and change' : ''}: ${before}. ${missing ?? ''}`);
    setText(this.chartTitle, all.local ? 'Traffic, with local traffic' : 'Traffic');
  }

  /** `level`: of `Chart`. */
  drawChart(period, history, before, historyBefore, level) {
    const known = before.known(historyBefore.buckets);
    const sums = before.sum(historyBefore.buckets, total);
    const values = Array.from({ length: period.length }, (_, index) => (known[index] ? sums[index] : null));
    const hasLine = historyBefore.buckets.length > 0;
    const down = period.sum(history.buckets, (bucket) => bucket.bytes_down);
    const up = period.sum(history.buckets, (bucket) => bucket.bytes_up);
    this.chart.draw(period, {
      down, up, known: period.known(history.buckets), problem: history.problem,
      layers: [{ label: 'Download', style: 'down', values: down }, { label: 'Upload', style: 'up', values: up }],
      line: hasLine ? { label: 'Before', values } : null,
      level,
    });
    show(this.before, hasLine);
  }

  /** Of devices and groups, the rows and what belongs to none of them add up to the gateway's traffic. */
  showBalance(by, usage) {
    const isShown = (by === 'device' || by === 'group') && usage.usage.length > 0 && usage.usage.length === usage.total;
    show(this.balance.node, isShown);
    if (!isShown) return;
    const names = ['forgotten', 'unattributed', 'local', 'totals'];
    const part = Object.fromEntries(names.map((name) => [name, rowOf(usage[name])]));
    const rows = sumOf(usage.usage.map(rowOf));
    const repeated = Object.fromEntries(['bytes_down', 'bytes_up'].map((side) => [side,
      rows[side] + part.forgotten[side] + part.unattributed[side] - part.local[side] - part.totals[side]]));
    const unlessZero = (row) => (total(row) === 0 ? null : row);
    this.balance.update({ rows, ...part, local: unlessZero(part.local), repeated: unlessZero(repeated) });
  }
}

/** What a plan of all traffic allows for each bar of its period, as a level of the chart; null without such a plan. */
function allowance(plans, period) {
  const plan = plans.find((each) => each.per === period.kind && each.direction === 'both'
    && [each.device, each.group, each.application, each.category].every((scope) => scope === null));
  return plan ? { label: `${plan.plan}: limit per ${period.unit}`, value: plan.limit / period.length } : null;
}

/** What to say if there is no data of the period before, or not from its start; null if there is. */
function missingOf({ buckets, problem }, { previous_period: before, timezone }) {
  if (problem) return null; // the sums come from other steps of the history
  if (!buckets.length) return 'There is no data for that time.';
  const begin = Date.parse(buckets[0].start);
  return begin > Date.parse(before.covered_start)
    ? `That period has data from ${between(begin, Date.parse(before.covered_end), timezone)} only, so nothing is compared.` : null;
}

function sumOf(rows) {
  const sum = (side) => rows.reduce((all, row) => all + row[side], 0);
  return { bytes_down: sum('bytes_down'), bytes_up: sum('bytes_up') };
}

