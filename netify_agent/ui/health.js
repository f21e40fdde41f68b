// Health of agent, Redis and netifyd: the indicator in the header, the error banner and the footer.

import { h, setAttribute, setText, show } from './dom.js';
import { duration, now, relativeTime } from './format.js';

const STALE_MS = 60_000; // or four intervals, if longer; the API uses the same limit for inactive devices

/** Troubleshooting steps, by failed check of /status. */
export const ADVICE = {
  netifyd: [
    ['Is netifyd running?', 'systemctl status netifyd'],
    ['Can the agent connect to its socket?', 'netify-agent check'],
    ['Does the agent log errors?', 'journalctl -u netify-agent -n 20'],
  ],
  redis: [
    ['Is Redis running?', 'systemctl status redis-server'],
    ['Can the agent connect to it?', 'netify-agent check'],
  ],
  agent: [
    ['Is the agent running?', 'systemctl status netify-agent'],
    ['Does it log errors?', 'journalctl -u netify-agent -n 20'],
  ],
};

/** A list of troubleshooting steps, each with the command to run. */
export function adviceList(name) {
  return h('ol', { class: 'advice' },
    ...ADVICE[name].map(([question, command]) => h('li', {}, question, ' ', h('code', {}, command))));
}

/** Combines /status, request errors and the age of the data into one displayed state. */
export class Health {
  constructor(live) {
    this.live = live;
    this.gateway = null;
    this.status = null;
    this.viewError = null;
    this.statusError = null;
    this.pill = document.getElementById('health');
    this.banner = document.getElementById('banner');
    this.footer = document.getElementById('foot');
    this.updated = relativeTime();
    this.bannerText = '';
  }

  /** `error`: why the view could not be refreshed, or null after a success. */
  setViewError(error) {
    this.viewError = error;
    this.render();
  }

  /** `error`: why /status could not be read. */
  setStatusError(error) {
    this.statusError = error;
    this.render();
  }

  /** `status`: the document of /status. */
  setStatus(status) {
    this.status = status;
    this.gateway = status.gateway;
    this.statusError = null;
    setText(document.getElementById('gateway'), status.gateway);
    this.render();
  }

  /** The most severe problem as `{name, short, text}`, or null. `name` is a key of ADVICE, or null. */
  get problem() {
    const { status } = this;
    const error = [this.statusError, this.viewError].find((each) => each?.status === 0) ?? this.viewError ?? this.statusError;
    if (error?.status === 0) {
      return { name: 'agent', short: 'Agent unreachable', text: 'The agent is unreachable. Retrying automatically.' };
    }
    if (status && status.checks.redis !== 'ok') {
      return {
        name: 'redis', short: 'Redis unavailable',
        text: `Redis is unavailable (${status.checks.redis}). Counting continues; data is saved when it returns.`,
      };
    }
    if (status && status.checks.netifyd !== 'ok') {
      return {
        name: 'netifyd', short: 'No data from netifyd',
        text: `No data from netifyd (${status.checks.netifyd}). New traffic is not counted.`,
      };
    }
    const failed = status && Object.entries(status.checks).find(([, result]) => result !== 'ok');
    if (failed) return { name: failed[0] === 'sums' ? 'redis' : 'agent', short: 'Not ready', text: `${failed[0]}: ${failed[1]}.` };
    if (error) return { name: null, short: 'Error', text: error.message };
    const last = this.lastFlush;
    if (last !== null && now() - last > Math.max(STALE_MS, 4000 * this.live.interval)) {
      return { name: 'agent', short: 'Data outdated', text: `No new data for ${duration(now() - last)}.` };
    }
    return null;
  }

  get lastFlush() {
    const text = this.live.generatedAt ?? this.status?.flushes.last_flush ?? null;
    return text === null ? null : Date.parse(text);
  }

  render() {
    const problem = this.problem;
    const state = problem ? 'wrong' : this.status ? 'ok' : 'wait';
    setAttribute(this.pill, 'data-state', state);
    setAttribute(this.pill.querySelector('use'), 'href', `#icon-${state}`);
    setText(this.pill.querySelector('span'), problem ? problem.short : this.status ? 'Healthy' : 'Connecting');
    this.renderBanner(problem);
    this.renderFooter();
  }

  renderBanner(problem) {
    const text = problem ? `${problem.name} ${problem.text}` : '';
    if (text !== this.bannerText) {
      this.bannerText = text;
      const open = this.banner.querySelector('details')?.open;
      this.banner.replaceChildren();
      if (problem) {
        const age = this.lastFlush === null ? [] : ['Last update: ', this.updated.node, '.'];
        this.banner.append(h('div', { class: 'inner' },
          h('p', {}, h('strong', {}, `${problem.text} `), ...age),
          problem.name && h('details', { open }, h('summary', {}, 'Troubleshooting'), adviceList(problem.name))));
      }
    }
    if (this.lastFlush !== null) this.updated.update(new Date(this.lastFlush).toISOString());
    show(this.banner, problem !== null);
  }

  renderFooter() {
    const modes = {
      stream: 'Live',
      poll: `Updates every ${duration(this.live.interval * 1000)}`,
      connecting: 'Connecting',
      offline: 'Offline',
    };
    const version = this.status ? `netify-agent ${this.status.version} · ` : '';
    setText(this.footer, `${version}${modes[this.live.mode]} · Times are in your local time zone`);
  }
}
