// Whether what is shown can be believed: the mark at the top, and a banner where something is wrong.

import { h, setAttribute, setText, show } from './dom.js';
import { duration, now, relativeTime } from './format.js';

const STALE_MS = 60_000; // or four intervals, if that is longer: when the API calls a device silent

/** What to look at, by the check of /status that failed. */
export const ADVICE = {
  netifyd: [
    ['Is netifyd running?', 'systemctl status netifyd'],
    ['Does it offer its socket where the agent looks?', 'netify-agent check'],
    ['What does the agent say?', 'journalctl -u netify-agent -n 20'],
  ],
  redis: [
    ['Is Redis running?', 'systemctl status redis-server'],
    ['Does it answer where the agent looks?', 'netify-agent check'],
  ],
  agent: [
    ['Is the agent running?', 'systemctl status netify-agent'],
    ['What did it say last?', 'journalctl -u netify-agent -n 20'],
  ],
};

/** The advice as a list, each question with the command that answers it. */
export function adviceList(name) {
  return h('ol', { class: 'advice' },
    ...ADVICE[name].map(([question, command]) => h('li', {}, question, ' ', h('code', {}, command))));
}

/** The state of agent, Redis and netifyd, as the page tells it. */
export class Health {
  constructor(live) {
    this.live = live;
    this.gateway = null;
    this.status = null;
    this.viewError = null;
    this.statusError = null;
    this.pill = document.getElementById('health');
    this.banner = document.getElementById('banner');
    this.foot = document.getElementById('foot');
    this.since = relativeTime();
    this.told = '';
  }

  /** What the view has asked for was refused or not answered, or all was well (null). */
  setView(error) {
    this.viewError = error;
    this.tell();
  }

  /** The same for /status. */
  failed(error) {
    this.statusError = error;
    this.tell();
  }

  /** `status`: the document of /status. */
  set(status) {
    this.status = status;
    this.gateway = status.gateway;
    this.statusError = null;
    setText(document.getElementById('gateway'), status.gateway);
    this.tell();
  }

  /** What is wrong: `{name, short, text}`, the worst only; null where nothing is. */
  get problem() {
    const { status } = this;
    const error = [this.statusError, this.viewError].find((one) => one?.status === 0) ?? this.viewError ?? this.statusError;
    if (error?.status === 0) {
      return { name: 'agent', short: 'No answer', text: 'The agent does not answer. The page tries again by itself.' };
    }
    if (status && status.checks.redis !== 'ok') {
      return { name: 'redis', short: 'Redis is away', text: `Redis takes nothing: ${status.checks.redis}. Nothing is lost meanwhile.` };
    }
    if (status && status.checks.netifyd !== 'ok') {
      return {
        name: 'netifyd', short: 'netifyd is away',
        text: `No records come from netifyd, so no new traffic is counted: ${status.checks.netifyd}`,
      };
    }
    const failed = status && Object.entries(status.checks).find(([, result]) => result !== 'ok');
    if (failed) return { name: failed[0] === 'sums' ? 'redis' : 'agent', short: 'Not ready', text: `${failed[0]}: ${failed[1]}.` };
    if (error) return { name: null, short: 'An error', text: error.message };
    const last = this.lastFlush;
    if (last !== null && now() - last > Math.max(STALE_MS, 4000 * this.live.interval)) {
      return { name: 'agent', short: 'Old figures', text: `There was no flush for ${duration(now() - last)}.` };
    }
    return null;
  }

  get lastFlush() {
    const text = this.live.generatedAt ?? this.status?.flushes.last_flush ?? null;
    return text === null ? null : Date.parse(text);
  }

  tell() {
    const problem = this.problem;
    const state = problem ? 'wrong' : this.status ? 'ok' : 'wait';
    setAttribute(this.pill, 'data-state', state);
    setAttribute(this.pill.querySelector('use'), 'href', `#icon-${state}`);
    setText(this.pill.querySelector('span'), problem ? problem.short : this.status ? 'All is well' : 'Looking');
    this.tellBanner(problem);
    this.tellFoot();
  }

  tellBanner(problem) {
    const said = problem ? `${problem.name} ${problem.text}` : '';
    if (said !== this.told) {
      this.told = said;
      const open = this.banner.querySelector('details')?.open;
      this.banner.replaceChildren();
      if (problem) {
        const age = this.lastFlush === null ? [] : ['What is shown is from ', this.since.node, '.'];
        this.banner.append(h('div', { class: 'inner' },
          h('p', {}, h('strong', {}, `${problem.text} `), ...age),
          problem.name && h('details', { open }, h('summary', {}, 'What to check'), adviceList(problem.name))));
      }
    }
    if (this.lastFlush !== null) this.since.update(new Date(this.lastFlush).toISOString());
    show(this.banner, problem !== null);
  }

  tellFoot() {
    const ways = {
      stream: 'Updated by each flush',
      poll: `Updated every ${duration(this.live.interval * 1000)}`,
      connecting: 'Connecting',
      away: 'Not updated',
    };
    const version = this.status ? `netify-agent ${this.status.version} · ` : '';
    setText(this.foot, `${version}${ways[this.live.mode]} · times are in your time zone, figures are the API’s`);
  }
}
