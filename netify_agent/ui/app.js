// The page: which view is open, what keeps it up to date, and what is said when that fails.

import { get } from './api.js';
import { h, setAttribute } from './dom.js';
import { refreshTimes } from './format.js';
import { Health } from './health.js';
import { Live } from './live.js';
import { emptyNote } from './parts.js';
import { Overview } from './overview.js';

const TIMES_MS = 5000;
const STATUS_MS = 15_000;

// The first view comes with the page, the others when they are opened.
const VIEWS = {
  overview: async () => Overview,
  devices: async (route) => (route.name
    ? (await import('./device.js')).Device
    : (await import('./devices.js')).Devices),
  applications: async () => (await import('./applications.js')).Applications,
  flows: async () => (await import('./flows.js')).Flows,
  risks: async () => (await import('./risks.js')).Risks,
};

/** Where the hash points: `#/devices/02:00:00:00:50:11?range=week`. */
class Route {
  constructor(hash) {
    const [path, query = ''] = hash.replace(/^#\/?/, '').split('?');
    const [view, ...name] = path.split('/');
    this.view = view || 'overview';
    this.path = path;
    this.query = new URLSearchParams(query);
    try {
      this.name = decodeURIComponent(name.join('/'));
    } catch {
      this.name = '';
    }
  }

  /** The same place with other parameters; null takes one away. */
  with(parameters) {
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(parameters)) {
      if (value === null || value === '') query.delete(name);
      else query.set(name, value);
    }
    return `#/${this.path}${query.size ? `?${query}` : ''}`;
  }
}

class App {
  constructor() {
    this.main = document.getElementById('main');
    this.view = null;
    this.turn = 0;
    this.waiting = undefined;
    this.refreshing = false;
    this.live = new Live((flush) => this.flushed(flush));
    this.health = new Health(this.live);
  }

  start() {
    window.addEventListener('hashchange', () => this.open());
    document.querySelector('.skip').addEventListener('click', (event) => {
      event.preventDefault(); // the hash is the view's
      this.main.focus();
    });
    this.open();
    this.live.start();
    setInterval(refreshTimes, TIMES_MS);
    setInterval(() => this.lookAtHealth(), STATUS_MS);
  }

  async open() {
    const before = this.route;
    const route = new Route(location.hash);
    const turn = ++this.turn;
    const View = Object.hasOwn(VIEWS, route.view) ? await VIEWS[route.view](route) : null;
    if (turn !== this.turn) return;
    this.view?.close?.();
    this.route = route;
    for (const link of document.querySelectorAll('[data-view]')) {
      setAttribute(link, 'aria-current', link.dataset.view === route.view ? 'page' : null);
    }
    this.view = View ? new View(route) : null;
    this.main.replaceChildren(this.view?.node ?? h('div', { class: 'page' }, h('h1', {}, 'Nothing here'),
      emptyNote('There is no such view.', h('a', { href: '#/' }, 'Back to the overview'))));
    this.titled();
    if (before && before.path !== route.path) {
      window.scrollTo(0, 0);
      const heading = this.main.querySelector('h1');
      setAttribute(heading, 'tabindex', '-1');
      heading.focus({ preventScroll: true });
    } else if (before) {
      this.main.querySelector('.ranges [aria-current]')?.focus({ preventScroll: true });
    }
    this.waiting = null;
    if (!this.refreshing) await this.refresh();
  }

  titled() {
    const title = `${this.view?.title ?? 'Nothing here'} · ${this.health.gateway ?? 'netify-agent'}`;
    if (document.title !== title) document.title = title;
  }

  /** A flush has changed what `flush` says, or nobody knows what (null). */
  flushed(flush) {
    this.lookAtHealth();
    this.waiting = this.waiting === undefined ? flush : null; // two at once: the view asks for all
    if (!this.refreshing) this.refresh();
  }

  /** Bring the view up to date; one at a time, and the last of those that were wanted meanwhile. */
  async refresh() {
    this.refreshing = true;
    while (this.waiting !== undefined) {
      const { view, waiting } = this;
      this.waiting = undefined;
      if (!view) break;
      try {
        await view.refresh(waiting);
        if (view === this.view) this.health.setView(null);
        this.titled();
      } catch (error) {
        if (view === this.view) this.health.setView(error);
      }
    }
    this.refreshing = false;
    if (!this.looked) await this.lookAtHealth();
  }

  async lookAtHealth() {
    if (document.hidden || this.looking) return;
    this.looking = true;
    try {
      const status = await get('status');
      this.looked = true;
      this.health.set(status);
      this.view?.setStatus?.(status);
    } catch (error) {
      this.health.failed(error);
    }
    this.looking = false;
  }
}

new App().start();
