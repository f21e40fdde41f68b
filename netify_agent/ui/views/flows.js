// Activity, flows: live and recently ended flows, filtered by device, application, state and risk.

import { get } from '../agent/api.js';
import { h, setText, show } from '../parts/dom.js';
import { count, deviceId, deviceLabel, plural } from '../parts/format.js';
import { emptyNote, listOrNote } from '../parts/pieces.js';
import { field, fillSelect, groupChoices } from '../parts/select.js';
import { HIGH, MEDIUM } from '../parts/severity.js';
import { Table } from '../parts/table.js';
import { activityTabs } from './activity_tabs.js';
import { FLOW_COLUMNS, seenFrom } from './flow_columns.js';

const PAGE = 500;
const MIN_REFRESH_MS = 10_000; // for lists longer than one page
const MAX_LIMIT = 10_000; // the maximum of the API
const RISKS = [['1', 'Any risk'], [String(MEDIUM), 'Medium or higher'], [String(HIGH), 'High']];
const STATES = [['true', 'Live'], ['false', 'Ended']];

/** The page of flows. */
export class Flows {
  constructor(route, navigate) {
    this.title = 'Flows';
    this.filters = {};
    this.flows = [];
    this.next = null;
    this.readAt = -Infinity;
    this.choices = { device: [], group: [], application: [], active: STATES, min_risk: RISKS };
    this.summary = h('p', { class: 'lead', role: 'status' }, '\u00a0');
    const select = (name) => h('select', { id: name, onchange: (event) => navigate({ [name]: event.target.value }) });
    this.selects = Object.fromEntries(Object.keys(this.choices).map((name) => [name, select(name)]));
    this.groupField = field('Group', this.selects.group);
    this.table = new Table({ caption: 'Flows, most recent first', key: (flow) => `${flow.digest} ${flow.endpoint}`, style: 'flows', columns: FLOW_COLUMNS,
      onview: (flows) => this.onView(flows), onsort: () => navigate({ sort: this.table.sortText }) });
    this.more = h('button', { type: 'button', class: 'quiet', onclick: () => this.readMore() }, 'Show more');
    this.noMatch = emptyNote('No flows match these filters', 'Flows are listed while live and for one hour after they end.');
    this.node = h('div', { class: 'page' }, h('h1', {}, 'Flows'), activityTabs('flows'), this.summary,
      h('div', { class: 'tools' }, field('Device', this.selects.device), this.groupField, field('Application', this.selects.application),
        field('State', this.selects.active), field('Risk', this.selects.min_risk)),
      this.table.node, this.more, this.noMatch);
    show(this.more, false);
    show(this.noMatch, false);
    this.readChoices();
  }

  close() {
    this.table.close();
  }

  setRoute(route) {
    const number = route.get('min_risk') ?? '';
    const filters = {
      device: route.get('device') || null,
      group: route.get('group') || null,
      application: route.get('application') || null,
      active: ['true', 'false'].includes(route.get('active')) ? route.get('active') : null,
      min_risk: /^\d{1,5}$/.test(number) && Number(number) ? number : null,
    };
    const isOther = JSON.stringify(filters) !== JSON.stringify(this.filters);
    this.filters = filters;
    if (isOther) this.flows = [];
    this.fillSelects();
    if (this.table.sortText !== route.get('sort')) this.table.sortText = route.get('sort');
    this.readAt = -Infinity;
  }

  fillSelects() {
    const all = { device: 'All devices', group: 'All groups', application: 'All applications', active: 'Live and ended', min_risk: 'With or without' };
    for (const [name, select] of Object.entries(this.selects)) fillSelect(select, all[name], this.filters[name], this.choices[name]);
    show(this.groupField, this.choices.group.length > 0 || this.filters.group !== null);
  }

  async readChoices() {
    try {
      const [network, { applications }] = await Promise.all([
        get('', { fields: 'mac,ip,name,groups', sort: 'name' }), get('applications', { fields: 'tag,name', sort: 'name', limit: MAX_LIMIT }),
      ]);
      this.choices.device = network.devices.map((each) => [deviceId(each), deviceLabel(each)]);
      this.choices.group = groupChoices(network.devices);
      this.choices.application = applications.map((application) => [application.tag, application.name]);
      this.fillSelects();
      this.show();
    } catch {
      // The refresh of the table reports the error.
    }
  }

  async refresh() {
    // The API lists flows by time. For any other order all of them are needed.
    const limit = this.table.sort === null ? Math.max(this.flows.length, PAGE) : MAX_LIMIT;
    if (this.flows.length > PAGE && Date.now() - this.readAt < MIN_REFRESH_MS) return;
    const { filters } = this;
    const response = await get('flows', { ...filters, limit: Math.min(limit, MAX_LIMIT) });
    if (filters !== this.filters) return; // the user has changed them meanwhile
    this.readAt = Date.now();
    this.flows = response.flows;
    this.take(response);
  }

  async readMore() {
    if (this.reading || this.next === null) return;
    this.reading = true;
    const { filters } = this;
    try {
      const response = await get('flows', { ...filters, limit: PAGE, cursor: this.next });
      if (filters === this.filters) {
        const known = new Set(this.flows.map(this.table.key));
        this.flows = [...this.flows, ...response.flows.filter((flow) => !known.has(this.table.key(flow)))];
        this.take(response);
      }
    } catch {
      // The button stays. The next refresh reports the error.
    }
    this.reading = false;
  }

  take({ next, total }) {
    this.next = next;
    this.total = total;
    this.show();
  }

  show() {
    if (this.total === undefined) return;
    const name = this.choices.device.find(([id]) => id === this.filters.device)?.[1] ?? null;
    this.table.set(this.flows.map((flow) => {
      const seen = seenFrom(flow, this.filters.device);
      return seen === flow ? flow : { ...seen, device_name: name };
    }));
    const order = this.table.sort === null ? '' : ', sorted among these';
    setText(this.summary, `${plural(this.total, 'flow')}${this.next === null ? '' : ` (latest ${count(this.flows.length)} shown${order})`}`);
    show(this.more, this.next !== null);
    listOrNote(this.table.node, this.noMatch, this.total === 0);
  }

  /** Read the next page when the user scrolls to the end. */
  onView(flows) {
    if (flows.length && flows.at(-1) === this.table.items.at(-1) && window.scrollY > 0) this.readMore();
  }
}
