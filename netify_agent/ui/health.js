// Health of agent, Redis and netifyd: the indicator in the header, the error banner, stale figures and the footer.

import { h, setAttribute, setText, show } from './parts/dom.js';
import { duration, now, relativeTime, setAsOf, setRatesKnown } from './parts/format.js';

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
  collector: [
    ['Is the collector running?', 'systemctl status netify-collector'],
    ['Does it log errors?', 'journalctl -u netify-collector -n 20'],
  ],
  absent: [
    ['Does the collector know the gateway?', 'cat /etc/netify-collector/gateways'],
    ['May the token see it?', 'cat /etc/netify-collector/readers'],
  ],
  gateway: [
    ['On the gateway: does the agent report an error?', 'curl -s localhost:7000/status'],
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
  okText = 'Monitoring OK';

  /** `onchange()` is called when the problem may have changed. */
  constructor(live, onchange) {
    this.live = live;
    this.onchange = onchange;
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

  /**
   * The most severe problem, or null: `{name, short, text, reason, since}`. `name`: a key of ADVICE, or null.
   * `since`: time of the latest figures, in milliseconds since the epoch, or null if unknown.
   */
  get problem() {
    const { status } = this;
    const error = [this.statusError, this.viewError].find((each) => each?.status === 0) ?? this.viewError ?? this.statusError;
    const since = this.lastFlush;
    if (error?.status === 0) {
      return { name: 'agent', short: 'Agent unreachable', text: 'The agent is unreachable. Retrying automatically.', reason: error.message, since };
    }
    const failed = (name) => (status && status.checks[name] !== 'ok' ? status.checks[name] : null);
    if (failed('redis')) {
      const text = failed('netifyd')
        ? 'Redis is unreachable, and no data arrives from netifyd.'
        : 'Redis is unreachable. Counting continues; data is saved when it returns.';
      return { name: 'redis', short: 'Redis unreachable', text, reason: failed('redis'), since };
    }
    if (failed('netifyd')) {
      const records = status.listeners.map((listener) => Date.parse(listener.last_record ?? '')).filter(Number.isFinite);
      return {
        name: 'netifyd', short: 'No data from netifyd', text: 'No data from netifyd. New traffic is not counted.',
        reason: failed('netifyd'), since: records.length ? Math.max(...records) : null,
      };
    }
    if (failed('flushes')) {
      return { name: 'redis', short: 'Data not saved', text: 'Redis accepts no data. Counting continues; data is saved when it does.', reason: failed('flushes'), since };
    }
    if (failed('sums')) {
      return { name: 'redis', short: 'Data lost', text: 'Redis has lost data. Totals are incomplete.', reason: failed('sums'), since };
    }
    if (error) return { name: null, short: 'Error', text: error.message, reason: null, since };
    if (since !== null && now() - since > Math.max(STALE_MS, 4000 * this.live.interval)) {
      return { name: 'agent', short: 'Data outdated', text: `No new data for ${duration(now() - since)}.`, reason: null, since };
    }
    return null;
  }

  get lastFlush() {
    const text = this.live.generatedAt ?? this.status?.flushes.last_flush ?? null;
    return text === null ? null : Date.parse(text);
  }

  render() {
    const { problem } = this;
    const state = problem ? 'wrong' : this.status ? 'ok' : 'wait';
    setAttribute(this.pill, 'data-state', state);
    setAttribute(this.pill.querySelector('use'), 'href', `#icon-${state}`);
    setText(this.pill.querySelector('span'), problem ? problem.short : this.status ? this.okText : 'Connecting');
    this.renderBanner(problem);
    this.renderFooter();
    setAttribute(document.documentElement, 'data-stale', problem !== null);
    setAsOf(problem ? problem.since : null);
    setRatesKnown(!['netifyd', 'gateway'].includes(problem?.name));
    this.onchange();
  }

  renderBanner(problem) {
    const text = problem ? `${problem.text} ${problem.reason}` : '';
    if (text !== this.bannerText) {
      this.bannerText = text;
      const open = this.banner.querySelector('details')?.open;
      this.banner.replaceChildren();
      if (problem) {
        const age = problem.since === null ? [] : ['Latest data: ', this.updated.node, '.'];
        this.banner.append(h('div', { class: 'inner' },
          h('p', {}, h('strong', {}, `${problem.text} `), ...age),
          problem.name && h('details', { open }, h('summary', {}, 'Troubleshooting'),
            problem.reason && h('p', { class: 'reason' }, `Reason: ${problem.reason}`), adviceList(problem.name))));
      }
    }
    if (problem?.since) this.updated.update(new Date(problem.since).toISOString());
    show(this.banner, problem !== null);
  }

  renderFooter() {
    const modes = {
      stream: 'Live',
      poll: `Updates every ${duration(this.live.interval * 1000)}`,
      connecting: 'Connecting',
      offline: 'Offline',
    };
    const version = this.status?.version ? `netify-agent ${this.status.version} · ` : '';
    setText(this.footer, `${version}${modes[this.live.mode]} · Times are in your time zone, unless another is named`);
  }
}
